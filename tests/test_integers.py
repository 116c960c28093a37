"""Facts about restpg_jax/integers.py."""

import pytest

from restpg_jax import integers


@pytest.mark.parametrize(
  'a, b, quotient, multiple',
  [(0, 3, 0, 0), (1, 3, 1, 3), (3, 3, 1, 3), (7, 3, 3, 9), (-1, 3, 0, 0)],
)
def test_division_and_multiples_round_up(a, b, quotient, multiple):
  assert integers.cdiv(a, b) == quotient
  assert integers.round_up(a, b) == multiple


def test_large_integers_stay_exact():
  assert integers.cdiv(10**30 + 1, 10**15) == 10**15 + 1
