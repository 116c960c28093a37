"""Facts about restpg_jax/report/demonstrations.py: Figures 12 and 13."""

from restpg_jax import types
from restpg_jax.io import records
from restpg_jax.report import demonstrations
from tests import runs

METHODS = [{'output': None}, {'output': runs.OUTPUT}]


def reasoned(workdir, folder='reason-1', checkpoint='gemma/7b-it', **changes):
  """A finished stage `reason`; returns its DONE.json as reports read it."""
  examples = [
    runs.example(runs.EMAIL, row, output='Answer:\nred boats')
    for row in range(3)
  ]
  records.write(workdir / 'train' / 'examples.jsonl', examples)
  targets = [
    types.Trajectory(
      e.id, 0, f'Summary:\nlikes {n}\nAnswer:\n{e.output}', reward=1.0
    )
    for n, e in enumerate(examples)
    if n != 1  # dropped: its reasoning was never usable
  ]
  records.write(workdir / folder / 'trajectories.jsonl', targets)
  return {
    'name': 'reason',
    'folder': folder,
    'cfg': {'reason': {'model': {'checkpoint': checkpoint}}},
    'inputs': [{'path': 'train', 'fingerprint': 'a'}],
    **changes,
  }


def test_reasoning_stands_with_its_input(tmp_path):
  stages = [{'name': 'base'}, reasoned(tmp_path)]
  (run,) = demonstrations.read_reasoned(tmp_path, METHODS, stages)
  assert (run.method, run.t) == ('reasoner 7b-it', None)
  assert [(s.example.id, s.reasoning, s.answer) for s in run.samples] == [
    (f'{runs.EMAIL}/test/0', 'likes 0', None),
    (f'{runs.EMAIL}/test/2', 'likes 2', None),
  ]


def test_several_are_told_apart(tmp_path):
  stages = [reasoned(tmp_path, f'reason-{n}') for n in (1, 2)]
  shown = demonstrations.read_reasoned(tmp_path, METHODS, stages)
  assert [run.method for run in shown] == [
    'reasoner 7b-it (1)',
    'reasoner 7b-it (2)',
  ]


def test_what_is_not_there_is_left_out(tmp_path):
  stages = [reasoned(tmp_path), reasoned(tmp_path, inputs=[{'path': 'gone'}])]
  assert len(demonstrations.read_reasoned(tmp_path, METHODS, stages)) == 1
  assert demonstrations.read_reasoned(tmp_path, METHODS[:1], stages) == []
  (tmp_path / 'reason-1' / 'trajectories.jsonl').unlink()
  assert demonstrations.read_reasoned(tmp_path, METHODS, stages) == []
