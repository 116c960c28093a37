"""Facts about restpg_jax/report/e_steps.py and e_step_figures.py."""

import dataclasses

import pytest

from restpg_jax import config, types
from restpg_jax.io import records
from restpg_jax.report import e_step_figures, e_steps
from tests import runs

REWARDS = {'a': (0.1, 1.0, 0.5, 1.0), 'b': (0.3, 0.3, 0.1, 0.1)}
RULE = dataclasses.asdict(config.Select(threshold=1.0))


def sample(example: str, j: int, reward: float) -> types.Trajectory:
  text = 'Summary:\nlikes red\nAnswer:\nfour words of text'
  if reward == 0.1:
    text = 'never got there'
  return types.Trajectory(
    example, j, text, ended=reward > 0.1, tokens=10 * (j + 1), reward=reward
  )


def method(**changed):
  return {
    'label': 'rest_pg',
    'method': 'rest_pg',
    'config': runs.settings(),
    'output': runs.OUTPUT,
    'iterations': [
      {'t': t, 'answers': f'a{t}', 'scores': f's{t}'} for t in (0, 1)
    ],
    **changed,
  }


def stages(rounds, inputs=('scored',)):
  """What a report knows of an E-step and of the evaluation behind it."""
  return [
    {
      'name': 'e_step1/select',
      'fingerprint': 'select1',
      'folder': 'selected',
      'cfg': {'select': RULE, 'rounds': list(rounds)},
      'inputs': [{'path': path, 'fingerprint': path} for path in inputs],
    },
    {
      'name': 'eval1/score',
      'fingerprint': 'scores1',
      'folder': 's1',
      'cfg': None,
      'inputs': [{'path': 'selected', 'fingerprint': 'select1'}],
    },
  ]


def write(workdir, kept, folder='scored', js=range(4), only='ab'):
  samples = [sample(e, j, REWARDS[e][j]) for e in only for j in js]
  records.write(workdir / folder / 'scored.jsonl', samples)
  chosen = [sample(e, j, REWARDS[e][j]) for e, j in kept]
  records.write(workdir / 'selected' / 'trajectories.jsonl', chosen)


def test_numbers_of_an_e_step(tmp_path):
  write(tmp_path, [('a', 1), ('a', 3)])
  (row,) = e_steps.read(tmp_path, [method()], stages([4]))
  assert (row['method'], row['t'], row['m']) == ('rest_pg', 1, 4)
  assert (row['inputs'], row['samples']) == (2, 8)
  assert row['reward'][0] == pytest.approx((0.65 + 0.2) / 2)
  assert row['accepted'] == pytest.approx([0.25, 0.25])  # of .5 and 0
  # Input a: 1 - C(2, k) / C(4, k); input b: 0.
  passed = {k: pair[0] for k, pair in row['pass_at'].items()}
  assert passed == pytest.approx({'1': 1 / 4, '2': (1 - 1 / 6) / 2, '4': 1 / 2})
  assert row['rewards'] == {'0.1': 3, '0.3': 2, '0.5': 1, '1': 2}
  assert row['kept'] == {'0': 1, '2': 1}
  assert row['frac_reward_zero_std'][0] == 0
  assert row['completions/mean_length'][0] == 25
  assert row['completions/clipped_ratio'][0] == pytest.approx(3 / 8)
  assert row['reasoning_words'][0] == 2 and row['answer_words'][0] == 4
  assert row['without_answer'] == 3
  assert sum(n for _, n, *_ in row['reward_by_length']) == 8


def test_a_smaller_budget_reads_only_its_part_of_a_larger_store(tmp_path):
  write(tmp_path, [('a', 1)])
  (row,) = e_steps.read(tmp_path, [method()], stages([2]))
  assert (row['m'], row['samples']) == (2, 4)
  assert row['accepted'][0] == 0.25  # j = 1 of input a
  assert row['rewards'] == {'0.1': 1, '0.3': 2, '1': 1}
  assert row['frac_reward_zero_std'][0] == 0.5  # .3 and .3
  assert list(row['pass_at']) == ['1', '2']


def test_rounds_are_read_together(tmp_path):
  write(tmp_path, [], js=range(2))
  write(tmp_path, [('a', 1), ('a', 3)], 'later', js=(2, 3), only='a')
  two = stages([2, 4], ['scored', 'later'])
  (row,) = e_steps.read(tmp_path, [method()], two)
  assert row['samples'] == 6
  assert row['kept'] == {'0': 1, '2': 1}
  assert row['pass_at']['4'][0] == 0.5


def test_what_was_counted_is_not_read_again(tmp_path):
  write(tmp_path, [('a', 1)])
  rows = e_steps.read(tmp_path, [method()], stages([4]))
  (tmp_path / 'scored' / 'scored.jsonl').unlink()
  assert e_steps.read(tmp_path, [method()], stages([4])) == []
  assert e_steps.read(tmp_path, [method()], stages([4]), rows) == rows
  old = [{**row, 'version': 0} for row in rows]
  assert e_steps.read(tmp_path, [method()], stages([4]), old) == []


@pytest.mark.parametrize(
  'k, n, accepted, chance',
  [
    (1, 4, 1, 1 / 4),
    (2, 4, 1, 1 / 2),
    (4, 4, 1, 1),
    (4, 4, 0, 0),
    (8, 4, 0, 0),
  ],
)
def test_pass_at(k, n, accepted, chance):
  assert e_steps.pass_at(k, n, accepted) == pytest.approx(chance)


def test_charts_of_an_e_step(tmp_path):
  write(tmp_path, [('a', 1), ('a', 3)])
  rows = e_steps.read(tmp_path, [method()], stages([4]))
  drawn = {c.name: c for c in e_step_figures.figures(rows, [method()])}
  assert list(drawn) == [
    *('e_step_rewards', 'e_step_accepted', 'e_step_pass', 'e_step_kept'),
    *('e_step_frac_reward_zero_std', 'e_step_reward_std', 'e_step_words'),
    *('e_step_mean_length', 'e_step_clipped_ratio'),
    'e_step_reward_by_length',
  ]
  (series,) = drawn['e_step_rewards'].panels[0].series
  assert drawn['e_step_rewards'].names == ('0.1', '0.3', '0.5', '1')
  assert [p.y for p in series.points] == [3 / 8, 2 / 8, 1 / 8, 2 / 8]
  (series,) = drawn['e_step_pass'].panels[0].series
  assert [p.x for p in series.points] == [1, 2, 4]
  (series,) = drawn['e_step_accepted'].panels[0].series
  assert [(p.x, p.y) for p in series.points] == [(1, 0.25)]


def test_no_e_step_no_chart():
  assert list(e_step_figures.figures([], [method()])) == []
