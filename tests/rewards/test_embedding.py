"""Facts about restpg_jax/rewards/embedding.py."""

import numpy as np
import pytest

from restpg_jax.rewards import embedding


def test_cosines_by_hand():
  a = np.array([[3, 4], [1, 0], [1, 0], [0, 0]], np.float32)
  b = np.array([[6, 8], [0, 2], [-5, 0], [1, 1]], np.float32)
  assert embedding.cosines(a, b) == pytest.approx([1.0, 0.0, -1.0, 0.0])


def test_they_are_plain_floats_and_never_above_one():
  a = np.random.default_rng(0).normal(size=(100, 9)).astype(np.float32)
  values = embedding.cosines(a, a * np.float32(0.1))
  assert max(values) <= 1.0 and min(values) > 1 - 1e-6
  assert {type(value) for value in values} == {float}
