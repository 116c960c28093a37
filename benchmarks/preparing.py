"""Peak memory and seconds of preparing a file with one giant field.

  python benchmarks/preparing.py [--gigabytes=2] [--field=300] [--rounds=3]

Writes a split of topics of that size with one field of so many megabytes, once
as each form that a split may have, and in a process of its own prepares it
(`prepare`), and reads it as a run does: the source, and what was prepared. The
bound that must hold is 2 GB. Needs twice --gigabytes in the folder for
temporary files.
"""

import contextlib
import functools
import io
import itertools
import json
import pathlib
import random
import shutil
import statistics
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
from common import flags, memory, processes, timing
from etils import epath

from restpg_jax import config, verb_args
from restpg_jax.commands import prepare
from restpg_jax.data import longlamp

GB, MB = memory.GB, 10**6
FORMS = ('json', 'jsonl', 'parquet', 'pair')
NAME = 'topic_writing_user'
ITEMS = 50  # of a profile; LongLaMP's mean
LENGTH = 2_000  # characters of a text of a profile
GROUP = 1000  # rows of a row group; what the hub's client writes


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--gigabytes', type=float, default=2.0)
  parser.add_argument('--field', type=int, default=300, help='megabytes')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--form', choices=FORMS)
  args = parser.parse_args()
  forms = [args.form] if args.form else FORMS
  print('form     what              peak GB   seconds  MB/s   GB on disk')
  for form in forms:
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder)
      processes.call(write, folder, form, args.gigabytes * GB, args.field * MB)
      size = sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
      runs = {what.__name__: [] for what in (prepared, read, read_prepared)}
      for _ in range(args.rounds):
        for what in (prepared, read, read_prepared):
          runs[what.__name__].append(processes.call(measured, what, folder))
      for name, each in runs.items():
        peak = max(peak for peak, _ in each)
        seconds = statistics.median(seconds for _, seconds in each)
        print(
          f'{form:<8} {name:<16} {peak:8.2f}  {seconds:8.1f}  '
          f'{size / MB / seconds:5.0f}  {size / GB:8.2f}',
          flush=True,
        )


def measured(function, folder: pathlib.Path) -> tuple[float, float]:
  """Returns peak memory in GB and seconds, of this process."""
  _, seconds = timing.timed(function, folder)
  return memory.peak() / GB, seconds.wall


def prepared(folder: pathlib.Path) -> None:
  shutil.rmtree(folder / 'to', ignore_errors=True)
  args = verb_args.PrepareArgs(
    source=str(folder), to=str(folder / 'to'), jobs='1'
  )
  with contextlib.redirect_stdout(io.StringIO()):
    prepare.prepare_data(args, config.Data())


def read(folder: pathlib.Path) -> None:
  examples, _ = longlamp.read_examples(folder, setting='user', split='train')
  for _ in examples:
    pass


def read_prepared(folder: pathlib.Path) -> None:
  read(folder / 'to' / 'longlamp')


def write(folder: pathlib.Path, form: str, size: float, field: float) -> None:
  """Writes the split train in a form, val and test of one row."""
  task = epath.Path(folder / NAME)
  task.mkdir()
  for split in ('val', 'test'):
    (task / f'{split}.jsonl').write_text(json.dumps(row(0, LENGTH)))
  rows = stream(size, field)
  if form == 'parquet':
    write_parquet(task / 'train-0.parquet', rows)
  elif form == 'jsonl':
    write_json(task / 'train.jsonl', rows, ('', '\n', '\n'))
  else:
    name = {'json': 'train.json', 'pair': 'train_questions.json'}[form]
    write_json(task / name, rows, ('[', ',\n', ']'))
  if form == 'pair':
    golds = (
      {'id': r['id'], 'output': r['output']} for r in stream(size, field)
    )
    write_json(task / 'train_outputs.json', golds, ('[', ',\n', ']'))


def stream(size: float, field: float):
  """Yields rows of `size` bytes in all, the giant field in the middle one."""
  count = max(2, int((size - field) / len(json.dumps(row(0, LENGTH)))))
  for n in range(count):
    yield row(n, int(field) if n == count // 2 else LENGTH)


def row(n: int, length: int) -> dict:
  """Returns row n; one text of its profile has `length` characters."""
  starts = range(n * 7919, n * 7919 + ITEMS * 104_729, 104_729)
  profile = [{'summary': text(s, 40), 'content': text(s)} for s in starts]
  profile[3]['content'] = text(0, length)
  return {
    'id': str(n),
    'author': f'u{n}',
    'input': f'Generate the content for a reddit post {n}',
    'output': text(n, LENGTH),
    'profile': profile,
  }


def text(start: int, length: int = LENGTH) -> str:
  """Returns a piece of an endless text."""
  start %= len(pool())
  times = (start + length) // len(pool()) + 1
  return (pool() * times)[start : start + length]


@functools.cache
def pool() -> str:
  """Returns some megabytes of words, with what JSON must escape and UTF-8."""
  rng = random.Random(0)
  letters = 'etaoinshrdlucmfwyp'
  words = [
    ''.join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(9**5)
  ]
  for n, odd in enumerate(('"so"', 'naïve\n', '\\', 'a – b')):
    words[n::50] = [odd] * len(words[n::50])
  return ' '.join(words)


def write_json(path: epath.Path, rows, marks: tuple[str, str, str]) -> None:
  opening, between, end = marks
  with path.open('w') as f:
    f.write(opening)
    for n, fields in enumerate(rows):
      f.write((between if n else '') + json.dumps(fields, ensure_ascii=False))
    f.write(end)


def write_parquet(path: epath.Path, rows) -> None:
  schema = pa.Table.from_pylist([row(0, LENGTH)]).schema
  with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
    while group := list(itertools.islice(rows, GROUP)):
      writer.write_table(pa.Table.from_pylist(group, schema))


if __name__ == '__main__':
  main()
