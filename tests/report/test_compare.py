"""Facts about restpg_jax/report/compare.py, in what a report holds."""

import dataclasses
import math

import pytest

from restpg_jax import config, errors
from restpg_jax.report import answers, build, compare
from tests import runs

pytestmark = pytest.mark.usefixtures('no_warnings')


def test_differences_between_methods_and_iterations(tmp_path):
  tests = runs.two_methods(tmp_path)['significance']
  (pair,) = tests['methods']
  assert (pair['a'], pair['b']) == ('rest_pg', 'sft')
  assert pair['examples'] == 4
  # E-mail: 0.1, 0.3, 0.8, mean 0.4, stderr sqrt(0.26 / 2 / 3) = 0.2082.
  email = pair['reward'][runs.EMAIL]
  assert email['difference'] == pytest.approx(0.4)
  assert email['t'] == pytest.approx(0.4 / math.sqrt(0.26 / 6))
  assert 0.15 < email['p'] < 0.25  # t = 1.92, 2 degrees of freedom
  assert email['d'] == pytest.approx(0.4 / math.sqrt(0.26 / 2))
  assert email['relative'] == pytest.approx(0.4 / 0.2)
  assert email['low'] == pytest.approx(0.1)  # of three, often all the least
  assert email['high'] == pytest.approx(0.8)
  assert pair['reward'][runs.TOPIC] == {
    'n': 1,
    'difference': 0.4,
    'relative': pytest.approx(0.4 / 0.6),
    **dict.fromkeys(('stderr', 't', 'p', 'd', 'low', 'high')),
  }
  assert pair['reward']['macro']['difference'] == pytest.approx(0.4)
  assert pair['true_score']['macro']['p'] is None  # all equal: no spread
  (gain,) = tests['iterations']
  assert (gain['method'], gain['from'], gain['to']) == ('rest_pg', 0, 1)
  assert gain['reward']['macro']['difference'] == pytest.approx(0.8 - 0.2)


def test_other_examples_are_not_compared(tmp_path):
  """Ids repeat between data sets: the texts decide what is the same."""
  shared, here = runs.example(runs.EMAIL, 0), runs.example(runs.EMAIL, 1)
  other = runs.example(runs.EMAIL, 1, input='something else')
  runs.finish(
    tmp_path,
    'sft',
    [([shared, here], [runs.answer(shared, 0.2), runs.answer(here, 0.3)])],
  )
  runs.finish(
    tmp_path,
    'rest_pg',
    [([shared, other], [runs.answer(shared, 0.7), runs.answer(other, 1.0)])],
  )
  runs.finish(tmp_path, 'rest_em', [([other], [runs.answer(other, 0.5)])])
  results = build.build_report(tmp_path)
  assert results['significance']['methods'] == []
  assert (
    'Not compared with each other, for they were tested on different examples: '
    'sft | rest_em | rest_pg.'
  ) in results['notes']


def test_two_test_sets_side_by_side_are_refused():
  one, two = runs.example(runs.EMAIL, 0), runs.example(runs.EMAIL, 1)
  scored = [
    answers.Answer(e, 0, '', 'x', True, 0.5, None, {}) for e in (one, two)
  ]
  a = answers.Evaluation('sft', 0, tuple(scored))
  b = answers.Evaluation('rest_pg', 0, tuple(scored[:1]))
  with pytest.raises(errors.InputError) as caught:
    compare.compare(a, b)
  assert str(caught.value) == (
    'sft and rest_pg were tested on different examples (2 and 1, 1 in common) '
    'and are not compared; run both on the same test data'
  )


def test_different_rewards_are_not_compared_and_settings_are_named(tmp_path):
  one = runs.example(runs.EMAIL, 0)
  runs.finish(tmp_path, 'sft', [([one], [runs.answer(one, 0.7)])])
  reward = {**dataclasses.asdict(config.Reward()), 'name': 'rouge'}
  runs.finish(
    tmp_path, 'rest_pg', [([one], [runs.answer(one, 0.9)])], reward=reward
  )
  results = build.build_report(tmp_path)
  (pair,) = results['significance']['methods']
  assert pair['reward'] is None
  assert pair['true_score']['macro']['difference'] == 0.0
  assert 'different settings: reward.name.' in ' '.join(results['notes'])


def test_rewards_and_settings_that_were_not_used_differ_in_nothing(tmp_path):
  one = runs.example(runs.EMAIL, 0)
  reward = {**dataclasses.asdict(config.Reward()), 'name': 'rouge'}
  other = reward | {'dtype': 'bfloat16', 'max_input': 9}
  runs.finish(
    tmp_path, 'sft', [([one], [runs.answer(one, 0.7)])], reward=reward
  )
  draw = {'m': 8, 'rounds': (4, 8)}  # there is no E-step
  runs.finish(
    tmp_path, 'rest_pg', [([one], [runs.answer(one, 0.9)])],
    reward=other, draw=draw,
  )  # fmt: skip
  results = build.build_report(tmp_path)
  (pair,) = results['significance']['methods']
  assert pair['reward']['macro']['difference'] == pytest.approx(0.2)
  assert 'different settings' not in ' '.join(results['notes'])
