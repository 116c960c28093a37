"""Facts about restpg_jax/training/batches.py."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restpg_jax.models import splash
from restpg_jax.training import batches, packing


def test_only_the_target_counts():
  row = batches.TrainingRow.of([2, 8, 9], [5, 1], 0.7)
  assert row.tokens == (2, 8, 9, 5, 1)
  assert row.weights == (0.0, 0.0, 0.0, 0.7, 0.7)


def test_a_length_counts_the_targets_that_are_predicted():
  assert batches.TrainingRow.of([2, 8, 9], [5, 1], 0.7).length == (5, 2)
  assert batches.TrainingRow((2, 4, 7), (1.0, 0.5, 0.0)).length == (3, 1)
  assert batches.TrainingRow.of([2, 8], [5, 6], 0.0).length == (4, 0)


def test_an_output_that_waits_becomes_its_row():
  prompt, target = (np.array(ids, np.int32) for ids in ([2, 8, 9], [5, 1]))
  for reward in (0.7, 0.0):
    output = batches.TrainingExample(prompt, target, reward, 'e 3')
    row = batches.TrainingRow.of([2, 8, 9], [5, 1], reward, 'e 3')
    assert output.row() == row
    assert output.length == row.length


def test_pack_by_hand():
  rows = [
    [
      batches.TrainingRow.of([2, 8], [5, 6, 1], 1.0),
      batches.TrainingRow((2, 4, 7, 9), (1.0, 0.5, 0.0, 0.25)),
    ],
    [],
  ]
  batch = batches.pack_rows(
    rows, packing.BatchShape(rows=2, length=10, targets=6)
  )
  nothing = [0] * 10
  np.testing.assert_array_equal(
    batch.tokens_BL, [[2, 8, 5, 6, 1, 2, 4, 7, 9, 0], nothing]
  )
  np.testing.assert_array_equal(
    batch.segment_BL, [[1, 1, 1, 1, 1, 2, 2, 2, 2, 0], nothing]
  )
  np.testing.assert_array_equal(
    batch.position_BL, [[0, 1, 2, 3, 4, 0, 1, 2, 3, 0], nothing]
  )
  # A place is the index of the token before; the first token has none.
  np.testing.assert_array_equal(batch.index_BT, [[1, 2, 3, 5, 7, 0], [0] * 6])
  np.testing.assert_array_equal(batch.target_BT, [[5, 6, 1, 4, 9, 0], [0] * 6])
  np.testing.assert_array_equal(
    batch.weight_BT, [[1, 1, 1, 0.5, 0.25, 0], [0] * 6]
  )
  assert {x.dtype.name for x in batch[:5]} == {'int32'}
  assert batch.weight_BT.dtype == np.float32


def test_turned_rows_are_the_same_rows():
  row = batches.TrainingRow.of([2, 8], [5, 6, 1], 1.0)
  batch = batches.pack_rows([[row]], packing.BatchShape(1, 8, 4))
  turned = batches.load_balanced(batch, splash.turns(8, 2))
  np.testing.assert_array_equal(turned.tokens_BL, [[2, 8, 0, 0, 5, 6, 1, 0]])
  np.testing.assert_array_equal(turned.position_BL, [[0, 1, 0, 0, 2, 3, 4, 0]])
  np.testing.assert_array_equal(turned.segment_BL, [[1, 1, 0, 0, 1, 1, 1, 0]])
  np.testing.assert_array_equal(turned.index_BT, [[1, 4, 5, 0]])
  np.testing.assert_array_equal(turned.target_BT, batch.target_BT)


def test_a_reward_of_0_leaves_nothing_to_learn():
  row = batches.TrainingRow.of([2, 8], [5, 6], 0.0)
  batch = batches.pack_rows([[row]], packing.BatchShape(1, 4, 2))
  np.testing.assert_array_equal(batch.weight_BT, [[0, 0]])
  assert batches.targets([row, batches.TrainingRow.of([2], [5, 1], 0.1)]) == 2


def test_a_row_over_the_shape_is_refused():
  with pytest.raises(ValueError):
    batches.pack_rows(
      [[batches.TrainingRow.of([2], [5] * 9, 1.0)]],
      packing.BatchShape(1, 8, 16),
    )


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
