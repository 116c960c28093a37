"""Facts about restpg_jax/rewards/judge.py."""

import numpy as np
import pytest

from restpg_jax import errors
from restpg_jax.rewards import judge


def test_labels_are_those_of_the_papers_criteria():
  assert judge.LABELS == (1, 3, 5, 7, 10)


@pytest.mark.parametrize(
  ('best', 'reward'), [(0, 0.1), (1, 0.3), (2, 0.5), (3, 0.7), (4, 1.0)]
)
def test_the_likeliest_label_over_ten(best, reward):
  logp = np.full((1, 5), -3.0)
  logp[0, best] = -0.5
  assert judge.rewards(logp) == [reward]


def test_one_reward_a_row_and_ties_go_to_the_lower_label():
  logp = np.array([[-1, -2, -9, -9, -1], [-9, -9, -4, -4, -9.0]])
  assert judge.rewards(logp) == [0.1, 0.5]
  assert judge.rewards(np.zeros((0, 5))) == []


def test_the_expected_label_over_ten():
  # Other texts than the five have .6 in the first row, next to 1 in the second.
  P_NL = np.array([[0, 0, 0.1, 0, 0.3], [2e-20, 0, 0, 2e-20, 0]])
  with np.errstate(divide='ignore'):
    logp_NL = np.log(P_NL)
  rewards = judge.rewards(logp_NL, 'expected')
  # (.25 * 5 + .75 * 10) / 10, (.5 * 1 + .5 * 7) / 10
  np.testing.assert_allclose(rewards, [0.875, 0.4])
  assert judge.rewards(logp_NL, 'argmax') == [1.0, 0.1]
  assert judge.rewards(np.zeros((0, 5)), 'expected') == []


def test_an_unknown_rule_names_the_known_ones():
  judge.check_rule('expected')
  with pytest.raises(errors.InputError) as e:
    judge.check_rule('mean')
  assert str(e.value) == (
    "reward.rule is 'mean'; it must be 'argmax' or 'expected'"
  )
