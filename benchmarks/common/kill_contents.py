"""What a workdir holds: whole after a kill, and what is compared at the end."""

import collections
import hashlib
import json
import pathlib
from collections.abc import Iterator

import jax

from common import kill_points
from restpg_jax.io import checkpoints

NOTES = 'hosts', 'compiled', '.lock', 'error.log'  # no results
PAGES = 'index.html', 'report.md'  # they hold times


def write_contents(workdir: pathlib.Path, to: pathlib.Path) -> None:
  """Writes what must be the same after any kills, by name."""
  to.write_text(json.dumps(dict(contents(workdir)), indent=1))


def contents(workdir: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Yields name and hash or text: files, weights, items of append logs."""
  for path in sorted(workdir.rglob('*')):
    name = str(path.relative_to(workdir))
    parts = path.relative_to(workdir).parts
    if parts[0] in NOTES or ({'params', 'optimizer'} & {*parts[:-1]}):
      continue
    if path.name in ('params', 'optimizer'):
      leaves = jax.tree_util.tree_leaves_with_path(checkpoints.load_tree(path))
      content = hashlib.sha256()
      for key, leaf in leaves:
        content.update(str(key).encode() + leaf.tobytes())
      yield name, content.hexdigest()
    elif path.is_dir() and path.name in kill_points.LOGS:
      lines = [
        line.decode().rpartition(', "crc"')[0]
        for file in path.glob('*.jsonl')
        for line in file.read_bytes().splitlines()
      ]
      yield name, '\n'.join(sorted(lines))
    elif (
      path.is_file()
      and path.parent.name not in kill_points.LOGS
      and (text := settled(path)) is not None
    ):
      yield name, text


def settled(path: pathlib.Path) -> str | None:
  """Returns a file's text without times and rates; None: it is all of these."""
  training = path.parent.name.startswith('train-')
  if path.name.startswith('metrics') and not training:
    return None
  if path.name.startswith('goodput') or path.name in PAGES:
    return None
  if path.parent.name == 'figures':  # charts of what results.json holds
    return None
  text = path.read_text()
  if path.name == 'metrics.jsonl':
    lines = map(json.loads, text.splitlines())
    return '\n'.join(json.dumps(line | {'goodput': None}) for line in lines)
  if path.suffix != '.json':
    return text
  value = json.loads(text)
  # Orbax gives its files names by chance, and sizes that follow from these.
  times = 'seconds', 'finished', 'number', 'stages', 'speed', 'goodput', 'cost'
  for key in (*times, 'bytes'):
    value.pop(key, None)
  for name in list(value.get('files', ())):
    if name.startswith('model/'):
      del value['files'][name]
  for key in ('items_per_s', 'tokens_per_s', 'occupancy'):
    value.get('summary', {}).pop(key, None)
  return json.dumps(value, sort_keys=True)


def kept_in(workdir: pathlib.Path) -> collections.Counter:
  """Counts what is whole on disk: samples, judged answers, training steps."""
  kept = collections.Counter()
  for folder, kind in (
    ('drawn', 'samples'),
    ('answers', 'samples'),
    ('rewards', 'judged'),
  ):
    for path in workdir.rglob(f'{folder}/*.jsonl'):
      lines = path.read_bytes().splitlines(keepends=True)
      kept[kind] += sum(line.endswith(b'}\n') for line in lines)
  for path in workdir.glob('*/train-*'):
    if (path / 'DONE.json').exists():
      kept['steps'] += json.loads((path / 'DONE.json').read_text())['summary'][
        'made'
      ]
    else:
      saved = [
        int(folder.parent.parent.name.removeprefix('step_'))
        for folder in path.glob('*/step_*/model/model.json')
      ]
      kept['steps'] += max(saved, default=0)
  return kept
