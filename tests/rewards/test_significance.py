"""Facts about restpg_jax/rewards/significance.py."""

import math
import warnings

import pytest

from restpg_jax.rewards import significance


@pytest.fixture(autouse=True)
def no_warnings():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    # Of whatever is collected meanwhile, other tests' files among it.
    warnings.simplefilter('ignore', ResourceWarning)
    yield


def test_mean_and_standard_error():
  assert significance.mean([0.0, 0.0, 1.0, 1.0]) == 0.5
  assert significance.stderr([0.0, 0.0, 1.0, 1.0]) == pytest.approx(
    math.sqrt(1 / 12)
  )
  assert significance.macro_stderr([0.3, 0.4]) == pytest.approx(0.25)


def test_what_is_not_defined_is_none():
  assert significance.mean([]) is None
  assert significance.stderr([0.7]) is None
  assert significance.macro_stderr([0.3, None]) is None
  assert significance.macro_stderr([]) is None
  assert significance.paired([], []).difference is None


def test_paired_by_hand():
  # Differences 0, 1, 2: mean 1, sd 1, stderr 1/sqrt(3), t = sqrt(3). With
  # 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2) = 1 - sqrt(3/5).
  result = significance.paired([1.0, 3.0, 5.0], [1.0, 2.0, 3.0])
  assert result.n == 3
  assert result.difference == pytest.approx(1.0)
  assert result.stderr == pytest.approx(1 / math.sqrt(3))
  assert result.t == pytest.approx(math.sqrt(3))
  assert result.p == pytest.approx(1 - math.sqrt(3 / 5))


def test_sides_swapped_change_only_the_sign():
  a, b = [0.1, 0.7, 1.0, 0.3], [0.3, 0.1, 0.7, 0.5]
  one, two = significance.paired(a, b), significance.paired(b, a)
  assert one.difference == pytest.approx(-two.difference)
  assert one.t == pytest.approx(-two.t)
  assert one.p == pytest.approx(two.p)


@pytest.mark.parametrize(
  'a, b, difference, stderr',
  [
    ([0.7], [0.3], 0.4, None),  # one pair
    ([0.7, 0.3], [0.7, 0.3], 0.0, 0.0),  # the same policy twice
    ([0.3, 0.5, 1.0], [0.1, 0.3, 0.8], 0.2, 0.0),  # equal up to rounding
  ],
)
def test_no_spread_is_no_test_and_no_warning(a, b, difference, stderr):
  result = significance.paired(a, b)
  assert result.difference == pytest.approx(difference)
  assert result.stderr == (
    None if stderr is None else pytest.approx(stderr, abs=1e-12)
  )
  assert result.t is None and result.p is None


def test_macro_gives_each_task_the_same_weight():
  # Means of the differences 1.0 and 0.2, so macro 0.6; plain mean 0.4.
  a = {'x': [1.0], 'y': [0.6, 0.0, 0.0]}
  b = {'x': [0.0], 'y': [0.0, 0.0, 0.0]}
  result = significance.paired_macro(a, b)
  assert result.n == 4
  assert result.difference == pytest.approx(0.6)
  # Weighted differences 2, 0.4, 0, 0: variance 2.72 / 3, over n = 4.
  assert result.stderr == pytest.approx(math.sqrt(2.72 / 3 / 4))
  assert result.t == pytest.approx(0.6 / math.sqrt(2.72 / 3 / 4))


def test_macro_of_equal_tasks_is_the_plain_test():
  a = {'x': [0.1, 0.9], 'y': [0.5, 0.3], 'empty': []}
  b = {'x': [0.3, 0.1], 'y': [0.1, 0.1], 'empty': []}
  plain = significance.paired([0.1, 0.9, 0.5, 0.3], [0.3, 0.1, 0.1, 0.1])
  assert significance.paired_macro(a, b) == plain
  assert significance.paired_macro({'x': []}, {'x': []}).n == 0


def test_effect_size_and_relative_difference():
  # Differences 0, 1, 2: mean 1, standard deviation 1; b has a mean of 2.
  result = significance.paired([1.0, 3.0, 5.0], [1.0, 2.0, 3.0])
  assert result.d == pytest.approx(1.0)
  assert result.relative == pytest.approx(0.5)
  assert significance.paired([0.5, 0.5], [0.0, 0.0]).relative is None
  assert significance.paired([0.5, 0.5], [0.0, 0.0]).d is None


def test_bootstrap_agrees_with_the_standard_error_of_many():
  apart = {
    'x': [n % 10 / 10 for n in range(400)],  # mean 0.45, deviation 0.2872
    'y': [1.0, 0.0] * 50,  # mean 0.5, deviation 0.5
  }
  means = {'x': ['x'], 'macro': ['x', 'y']}
  ends = significance.bootstrap(apart, means)
  assert ends == significance.bootstrap(apart, means)  # each time the same
  assert ends['x'] == pytest.approx(
    (0.45 - 1.96 * 0.01436, 0.45 + 1.96 * 0.01436), abs=0.003
  )
  half = 1.96 * math.hypot(0.01436, 0.05) / 2  # tasks are drawn by themselves
  assert ends['macro'] == pytest.approx((0.475 - half, 0.475 + half), abs=0.005)


def test_bootstrap_leaves_out_what_one_pair_cannot_tell():
  apart = {'x': [0.1, 0.2, 0.3], 'y': [0.5]}
  ends = significance.bootstrap(
    apart, {'x': ['x'], 'y': ['y'], 'macro': ['x', 'y']}
  )
  assert ends == {'x': pytest.approx((0.1, 0.3))}
  assert significance.bootstrap({'y': [0.5]}, {'y': ['y']}) == {}


def test_runs_have_an_interval_by_students_t():
  # Mean 0.6, standard error 0.1 / sqrt(3); t(0.975; 2) = 4.3027.
  result = significance.over_runs([0.5, 0.6, 0.7])
  half = 4.3027 * 0.1 / math.sqrt(3)
  assert (result.n, result.mean) == (3, pytest.approx(0.6))
  assert result.low == pytest.approx(0.6 - half, abs=1e-4)
  assert result.high == pytest.approx(0.6 + half, abs=1e-4)
  one, same = significance.over_runs([0.5]), significance.over_runs([0.5] * 3)
  assert (one.mean, one.stderr, one.low) == (0.5, None, None)
  assert (same.mean, same.stderr, same.low) == (0.5, 0.0, None)


def test_pairs_of_runs_are_tested_as_pairs():
  # Differences 0.1, 0.2, 0.3: mean 0.2, standard error 0.1 / sqrt(3).
  result = significance.paired_runs([0.5, 0.5, 0.9], [0.4, 0.3, 0.6])
  assert result.t == pytest.approx(0.2 / 0.1 * math.sqrt(3))
  assert result.p == pytest.approx(0.0742, abs=1e-4)
  assert result.low == pytest.approx(
    0.2 - 4.3027 * 0.1 / math.sqrt(3), abs=1e-4
  )
