"""Facts about restpg_jax/training/batches.py."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restpg_jax.training import batches


def test_only_the_target_counts():
  row = batches.Row.of([2, 8, 9], [5, 1], 0.7)
  assert row.tokens == (2, 8, 9, 5, 1)
  assert row.weights == (0.0, 0.0, 0.0, 0.7, 0.7)


def test_shape_is_the_least_multiple_that_holds_every_row():
  rows = [
    batches.Row.of([2] * 10, [5] * 7, 1.0),
    batches.Row.of([2], [5] * 15, 0.3),
  ]
  assert batches.Shape.of(rows) == batches.Shape(length=32, targets=16)
  assert batches.Shape.of(rows, 1) == batches.Shape(length=17, targets=15)
  longer = [*rows, batches.Row.of([2], [5] * 17, 1.0)]
  assert batches.Shape.of(longer) == batches.Shape(length=32, targets=32)


def test_pack_by_hand():
  rows = [
    batches.Row.of([2, 8], [5, 6, 1], 1.0),
    batches.Row((2, 4, 7, 9), (1.0, 0.5, 0.0, 0.25)),
  ]
  batch = batches.pack(rows, batches.Shape(length=6, targets=4))
  np.testing.assert_array_equal(
    batch.tokens_BL, [[2, 8, 5, 6, 1, 0], [2, 4, 7, 9, 0, 0]]
  )
  # A place is the index of the token before; the first token has none.
  np.testing.assert_array_equal(batch.place_BT, [[1, 2, 3, 0], [0, 2, 0, 0]])
  np.testing.assert_array_equal(batch.target_BT, [[5, 6, 1, 0], [4, 9, 0, 0]])
  np.testing.assert_array_equal(
    batch.weight_BT, [[1, 1, 1, 0], [0.5, 0.25, 0, 0]]
  )
  assert [x.dtype.name for x in batch] == ['int32', 'int32', 'int32', 'float32']


def test_a_reward_of_0_leaves_nothing_to_learn():
  row = batches.Row.of([2, 8], [5, 6], 0.0)
  batch = batches.pack([row], batches.Shape(length=4, targets=2))
  np.testing.assert_array_equal(batch.weight_BT, [[0, 0]])
  assert batches.Shape.of([row], 1).targets == 0


def test_a_row_over_the_shape_is_refused():
  with pytest.raises(ValueError):
    batches.pack([batches.Row.of([2], [5] * 9, 1.0)], batches.Shape(8, 16))


def steps(count, size, number, seed=0):
  return [
    batches.rows_of_step(count, seed=seed, step=n, size=size)
    for n in range(number)
  ]


def test_batches_are_a_function_of_seed_and_step():
  forward = steps(10, 4, 20)
  backward = [
    batches.rows_of_step(10, seed=0, step=n, size=4)
    for n in reversed(range(20))
  ]
  assert forward == backward[::-1]
  assert forward != steps(10, 4, 20, seed=1)


def test_a_batch_goes_over_the_end_of_an_epoch():
  flat = list(itertools.chain(*steps(10, 4, 5)))  # two epochs
  assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
  assert flat[:10] != flat[10:]  # a new order each epoch


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 3))
def test_each_row_comes_once_an_epoch(count, size, seed):
  number = 3 * count  # steps that end where an epoch does
  flat = list(itertools.chain(*steps(count, size, number, seed)))
  assert len(flat) == number * size
  for start in range(0, len(flat), count):
    assert sorted(flat[start : start + count]) == list(range(count))
