"""Facts about restpg_jax/preflight/compiling.py: the programs of a run."""

import pathlib

from restpg_jax import cli, config
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import compiling, memory, run

ROOT = pathlib.Path(__file__).parents[2]


def paper():
  return cli.load_config(str(ROOT / 'configs/paper.py'))


def test_the_papers_judges_are_at_most_24_programs():
  cfg = paper()
  counts = compiling.shapes(
    cfg, ['judge', 'test_judge', 'embed'], layouts.Layout.of(cfg.compute), ()
  )
  assert 16 <= counts['judge'] + counts['test_judge'] <= 24
  assert counts['embed'] == 512 // 32


def test_programs_of_drawing_and_training(monkeypatch):
  monkeypatch.setattr(layouts.Layout, 'usable', 90 * 2**30)
  cfg = paper()
  layout = layouts.Layout.of(config.Compute())
  counts = compiling.shapes(cfg, ['reason', 'answer', 'train'], layout, [True])
  both = compiling.shapes(cfg, ['train'], layout, [True, False])
  assert counts['reason/start'] == counts['reason/advance'] == 1
  assert 1 <= counts['answer/start'] == counts['answer/advance'] <= 2
  assert counts['train/update'] == 1
  # At most three shapes, each with sums of earlier micro-batches or without.
  assert 1 <= counts['train/rows'] <= 6
  assert counts['train/rows'] <= both['train/rows'] <= 12


def test_seconds_by_hand():
  rows = [
    memory.ProgramReport('judge', compile_seconds=20.0),
    memory.ProgramReport('train/update', fault='too large'),
    memory.ProgramReport('reason'),  # cannot begin: nothing to compile
  ]
  times = compiling.compile_times(rows, {'judge': 12, 'train/update': 1})
  assert [time.total for time in times] == [240.0, 0.0]
  assert [line.split() for line in run.compile_table(times).splitlines()] == [
    ['compiled', 'shapes', 's', 'each', 's'],
    ['judge', '12', '20.0', '240'],
    ['train/update', '1', '-', '0'],
    'all 13 240 by this machine, 2 at a time; other shapes as long'.split(),
  ]
