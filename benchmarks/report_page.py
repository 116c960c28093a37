"""Size of a report's page, and seconds to open and milliseconds to filter it.

  python benchmarks/report_page.py [--samples=10000] [--variants=8]
      [--iterations=1] [--rounds=5] [--keep=FOLDER]

Writes the records of finished methods with made-up texts of LongLaMP's lengths
(Table 2; reasoning of 200 words; five documents an input), as many samples in
all, and what a reasoner wrote for 1,000 training inputs; builds the report and
opens it in headless Chromium, a fresh one each round. To open is to load the
page, with the first input shown and painted; each filter ends when it is
painted, too. The first search comes at once and waits for the texts, which are
unpacked after loading; all others come when they are.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np
from common import browser, flags
from etils import epath

from restpg_jax import config, experiments, paper, types
from restpg_jax.io import records
from restpg_jax.preflight import workload
from restpg_jax.report import build

MB = 10**6
OUTPUT = {'opening': 'Summary:', 'marker': 'Answer:'}
REASONING = (200, 60)  # words, with their deviation
DOCUMENTS = 5
TRAINING = 1_000
VOCABULARY = 30_000
# Each sets a control and says that it was changed, as a person's hand does.
FILTERS = {
  'search, one word': ('search', 'input', '{rare}'),
  'search, three words': ('search', 'input', '{common} {rare} {other}'),
  'search, nothing fits': ('search', 'input', 'nowhereatall'),
  'search, all fit': ('search', 'input', '{common}'),
  'search, emptied': ('search', 'input', ''),
  'task': ('task', 'change', 'product_review'),
  'task, all': ('task', 'change', ''),
  'score range': ('least', 'input', '0.7'),
  'score range, open': ('least', 'input', ''),
  'order by difference': ('order', 'change', 'larger'),
  'measure': ('measure', 'change', 'rouge1'),
  'all iterations': ('iteration', 'change', 'all'),
}
DRIVER = """
var painted = () => new Promise(
    (done) => requestAnimationFrame(() => setTimeout(done)));
var shown = async () => {
  while (!document.querySelector('#sample .column')) await painted();
  await painted();
};
var unpacked = async () => {
  while (document.querySelector('script.texts')) await painted();
};
var set = async (control, event, value) => {
  const node = document.getElementById(control);
  const began = performance.now();
  node.value = value;
  node.dispatchEvent(new Event(event, {bubbles: true}));
  const count = document.getElementById('count');
  do await painted(); while (count.textContent.startsWith('reading'));
  return performance.now() - began;
};
"""


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--samples', type=int, default=10_000)
  parser.add_argument('--variants', type=int, default=8)
  parser.add_argument('--iterations', type=int, default=1)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--keep', type=pathlib.Path)
  args = parser.parse_args()
  with contextlib.ExitStack() as stack:
    folder = args.keep or pathlib.Path(
      stack.enter_context(tempfile.TemporaryDirectory())
    )
    write(epath.Path(folder), args)
    began = time.monotonic()
    build.build_report(folder)
    print(f'built in {time.monotonic() - began:.1f} s')
    page = folder / 'report' / 'index.html'
    print(f'size {page.stat().st_size / MB:.1f} MB')
    measure(page, args.rounds)


def measure(path: pathlib.Path, rounds: int) -> None:
  """Prints medians and maxima over the rounds."""
  words = {'common': word(3), 'rare': word(9000), 'other': word(200)}
  taken: dict[str, list[float]] = {}
  for _ in range(rounds):
    with browser.chromium() as page:

      def change(name: str, *control: str, page: browser.Page = page) -> None:
        script = f'set(...{json.dumps(control)})'
        taken.setdefault(name, []).append(page.evaluate(script))

      began = time.monotonic()
      page.open(path.as_uri())
      page.evaluate(DRIVER)
      page.evaluate('shown()')
      taken.setdefault('open', []).append(1000 * (time.monotonic() - began))
      change('first search, at once', 'search', 'input', words['rare'])
      page.evaluate('unpacked()')
      for name, (control, event, value) in FILTERS.items():
        change(name, control, event, value.format(**words))
      if page.errors:
        raise RuntimeError(f'the console says {page.errors}')
  for name, each in taken.items():
    median, most = statistics.median(each), max(each)
    print(f'{name:<24} {median:8.0f} ms, at most {most:.0f}')


def write(workdir: epath.Path, args: argparse.Namespace) -> None:
  """Writes the records and stages from which a report is built."""
  rng = np.random.default_rng(0)
  num_runs = args.variants * args.iterations
  test = examples(rng, 'test', args.samples // num_runs)
  records.write(workdir / 'test' / 'examples.jsonl', test)
  for n in range(args.variants):
    method = list(paper.TITLES)[n % 4]
    output = OUTPUT if n % 2 else None
    runs = []
    for t in range(args.iterations):
      folder = f'{n}/eval{t}'
      write_answers(workdir / folder, rng, test, reasons=bool(output))
      runs.append(
        {
          't': t,
          'examples': 'test',
          **dict.fromkeys(('answers', 'scores', 'measures'), folder),
        }
      )
    cfg = dataclasses.asdict(config.Config(seed=n // 4))
    record = {'method': method, 'config': cfg, 'seconds': 1.0}
    experiments.note(workdir, record | {'output': output, 'iterations': runs})
  write_reasoning(workdir, rng)


def write_answers(
  folder: epath.Path, rng: np.random.Generator, test, *, reasons: bool
) -> None:
  """Writes scored.jsonl and measured.jsonl of one evaluation."""
  scored, measured = [], []
  for example in test:
    answer = text(rng, len(example.output.split()))
    if reasons:
      answer = joined(text(rng, *draw(rng, REASONING)), answer)
    reward = float(rng.choice((0.1, 0.3, 0.5, 0.7, 1.0)))
    scored.append(types.Trajectory(example.id, 0, answer, reward=reward))
    values = {key: rng.random() for key in ('rouge1', 'rougeL', 'meteor')}
    measured.append({'example_id': example.id, 'j': 0, 'values': values})
  records.write(folder / 'scored.jsonl', scored)
  records.write(folder / 'measured.jsonl', measured)


def write_reasoning(workdir: epath.Path, rng: np.random.Generator) -> None:
  """Writes the stage `reason` and its inputs."""
  train = examples(rng, 'train', TRAINING)
  records.write(workdir / 'train' / 'examples.jsonl', train)
  targets = [
    types.Trajectory(
      e.id, 0, joined(text(rng, *draw(rng, REASONING)), e.output), reward=1.0
    )
    for e in train
  ]
  records.write(workdir / 'reason' / 'trajectories.jsonl', targets)
  count = {'expected': TRAINING, 'made': TRAINING}
  done = {'name': 'reason', 'fingerprint': 'reason', 'cfg': None}
  done |= {'inputs': [{'path': 'train', 'fingerprint': 'train'}]}
  done |= {'summary': count, 'seconds': 1.0, 'versions': {}}
  records.write_json(workdir / 'reason' / 'DONE.json', done)


def joined(reasoning: str, answer: str) -> str:
  return f'{OUTPUT["opening"]}\n{reasoning}\n{OUTPUT["marker"]}\n{answer}'


def examples(
  rng: np.random.Generator, split: str, count: int
) -> list[types.Example]:
  """Returns examples of all tasks in turn, as long as Table 2 has them."""
  stats = list(paper.LONGLAMP.values())
  return [
    types.Example(
      id=f'{types.TASKS[n % 4]}/{split}/{n // 4}',
      task=types.TASKS[n % 4],
      input=text(rng, *draw(rng, stats[n % 4].input)),
      output=text(rng, *draw(rng, stats[n % 4].output)),
      context=tuple(
        text(rng, size)
        for size in draw(rng, stats[n % 4].output, count=DOCUMENTS)
      ),
    )
    for n in range(count)
  ]


def draw(
  rng: np.random.Generator, stats: tuple[float, float], count: int = 1
) -> list[int]:
  return [int(n) + 1 for n in workload.draw_words(rng, stats, count)]


def text(rng: np.random.Generator, size: int) -> str:
  """Returns so many words, as frequent as in a language, in sentences."""
  ranks = np.minimum(rng.zipf(1.2, size), VOCABULARY) - 1
  return '. '.join(
    ' '.join(word(rank) for rank in ranks[n : n + 12]).capitalize()
    for n in range(0, size, 12)
  )


@functools.cache
def word(rank: int) -> str:
  """Returns the word of that rank; every 20th is a name."""
  rng = np.random.default_rng(int(rank))
  letters = rng.choice([*'etaoinshrdlucmfwyp'], 2 + len(str(rank)) * 2)
  made_up = ''.join(letters)
  return made_up.title() if rank % 20 == 19 else made_up


if __name__ == '__main__':
  main()
