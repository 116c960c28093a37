"""Correlations and shares."""

import math

import pytest

from restpg_jax.rewards import correlation


def test_pearson_and_its_interval():
  r = correlation.pearson([1, 2, 3, 4, 5], [1, 3, 2, 5, 4])
  assert r.r == pytest.approx(0.8)
  z, width = math.atanh(0.8), 1.959964 / math.sqrt(2)
  assert (r.low, r.high) == pytest.approx(
    (math.tanh(z - width), math.tanh(z + width))
  )


def test_what_is_constant_has_no_correlation():
  assert correlation.pearson([1, 1, 1], [1, 2, 3]).r is None
  assert correlation.spearman([], []).r is None
  assert correlation.partial([1, 2, 3], [1, 2, 4], [1, 1, 1]) is None


def test_ranks_do_not_see_distances():
  assert correlation.spearman([1, 2, 3, 4], [1, 10, 100, 1000]).r == 1


def test_a_correlation_by_way_of_a_third():
  given = [0, 0, 1, 1]
  a, b = [0, 1, 2, 3], [1, 0, 3, 2]
  assert correlation.pearson(a, b).r == pytest.approx(0.6)
  assert correlation.partial(a, b, given) == pytest.approx(-1)


def test_with_one_gap_it_is_twice_the_agreement_less_one():
  choices = [1] * 73 + [-1] * 27
  assert correlation.of_choices([0.6] * 100, choices) == pytest.approx(0.46)
  # Whichever text stood first.
  swapped = [-1, 1, 1, -1], [-1, 1, -1, -1]
  assert correlation.of_choices(*swapped) == pytest.approx(0.5)


def test_a_share_and_its_interval():
  share = correlation.share(73, 100)
  assert (share.share, share.low, share.high) == pytest.approx(
    (0.73, 0.6357, 0.8073), abs=1e-4
  )
  assert correlation.share(0, 0).share is None
