"""The verb judge: texts in, scores out, whole or not there."""

import json

import pytest

from restpg_jax import main, outcomes
from restpg_jax.audit import judge
from restpg_jax.io import partial_file
from tests import runs
from tests.audit import stub_reward

STUB = 'tests.audit.stub_reward:build'
ROWS = (
  {'id': 'a', 'input': 'i', 'output': 'red boats', 'answer': 'red cars'},
  {'input': 'i', 'output': 'red boats', 'answer': 'red boats'},
  {'id': 7, 'input': 'i', 'output': 'red boats', 'answer': None},
  {'input': 'i', 'output': 'red boats', 'answer': 'red cars'},
)


@pytest.fixture
def workdir(tmp_path):
  one = runs.example(runs.TOPIC, 0)
  reward = runs.settings()['reward'] | {'name': STUB}
  runs.finish(
    tmp_path / 'w', 'sft', [([one], [runs.answer(one, 0.5)])], reward=reward
  )
  stub_reward.CALLS.clear()
  return tmp_path / 'w'


def run(workdir, rows=ROWS, name='out.jsonl'):
  source = workdir.parent / 'in.jsonl'
  source.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
  return main.main(
    [
      *('judge', f'--workdir={workdir}', f'--input={source}'),
      f'--output={workdir.parent / name}',
    ]
  )


def test_a_line_a_row_in_order_and_equal_texts_once(workdir, capsys):
  assert run(workdir) == outcomes.DONE
  text = (workdir.parent / 'out.jsonl').read_text()
  assert [json.loads(line) for line in text.splitlines()] == [
    {'id': 'a', 'reward': 0.5, 'cut': False},
    {'id': 2, 'reward': 1.0, 'cut': False},
    {'id': 7, 'reward': 0.0, 'cut': False},
    {'id': 4, 'reward': 0.5, 'cut': False},
  ]
  assert [len(call) for call in stub_reward.CALLS] == [2]
  assert capsys.readouterr().out == (
    f'{workdir.parent}/out.jsonl: 4 scores by the reward of sft ({STUB}), 1 '
    'without an answer; 4 made now, mean 0.500, of them 0 cut at the limit of '
    'the judge\n'
  )


def test_a_killed_call_goes_on(workdir, monkeypatch):
  monkeypatch.setattr(judge, 'PIECE', 2)
  append, left = partial_file.PartialFile.append, [2]

  def killed(self, items):
    left[0] -= 1
    if not left[0]:
      raise KeyboardInterrupt
    append(self, items)

  monkeypatch.setattr(partial_file.PartialFile, 'append', killed)
  assert run(workdir) == outcomes.INTERRUPTED
  assert not (workdir.parent / 'out.jsonl').exists()
  monkeypatch.setattr(partial_file.PartialFile, 'append', append)
  stub_reward.CALLS.clear()
  assert run(workdir) == outcomes.DONE
  assert [len(call) for call in stub_reward.CALLS] == [1]  # the last two rows
  lines = (workdir.parent / 'out.jsonl').read_text().splitlines()
  assert [json.loads(line)['reward'] for line in lines] == [0.5, 1, 0, 0.5]


@pytest.mark.parametrize(
  ('row', 'words'),
  [
    ({'output': 'x', 'answer': 'y'}, 'row 1 (line 1): input is missing'),
    ({'input': 'x', 'answer': 'y'}, 'row 1 (line 1): output is missing'),
    ({'input': 'x', 'output': 'y'}, 'row 1 (line 1): answer is missing'),
    (
      {'input': 'x', 'output': 'y', 'answer': 3},
      'row 1 (line 1): answer is a int',
    ),
    (
      {'input': 'x', 'output': ' ', 'answer': 'y'},
      'row 1 (line 1): output is empty',
    ),
    (
      {'id': [], 'input': 'x', 'output': 'y', 'answer': 'z'},
      'row 1 (line 1): id is a list',
    ),
  ],
)
def test_a_row_that_cannot_be_used(workdir, capsys, row, words):
  assert run(workdir, [row, *ROWS]) == outcomes.BAD_INPUT
  (line,) = capsys.readouterr().err.splitlines()
  assert words in line
  assert stub_reward.CALLS == []
  assert not (workdir.parent / 'out.jsonl.part').exists()


def test_flags_that_are_wrong(workdir, capsys):
  assert main.main(['judge', f'--workdir={workdir}']) == outcomes.BAD_INPUT
  assert 'judge needs' in capsys.readouterr().err
  assert run(workdir, []) == outcomes.BAD_INPUT
  assert 'it has no rows' in capsys.readouterr().err
  assert run(workdir, name='in.jsonl') == outcomes.BAD_INPUT
  assert 'is there already' in capsys.readouterr().err
