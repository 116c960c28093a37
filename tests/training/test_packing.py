"""Facts about restpg_jax/training/packing.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restpg_jax.training import packing

WORK = packing.PackingCost(devices=1, attention=0.0)


def lengths(*tokens):
  return [packing.Length(n, 1) for n in tokens]


def test_best_fit_by_hand():
  # 5 opens a row of 8, 4 another; 3 fits both and fills the first; 2 and 1.
  rows = packing.in_rows(lengths(5, 3, 4, 2, 1), packing.BatchShape(1, 8, 9))
  assert rows == [(0, 1), (2, 3, 4)]


def test_targets_must_fit_too():
  sizes = [packing.Length(4, 3), packing.Length(4, 3), packing.Length(2, 1)]
  assert packing.in_rows(sizes, packing.BatchShape(1, 16, 4)) == [(0, 2), (1,)]


def test_the_last_micro_batch_is_filled_with_empty_rows():
  found = packing.groups(
    lengths(2, 8, 7), range(3), packing.BatchShape(2, 8, 8)
  )
  assert [group.rows for group in found] == [((1,), (2,)), ((0,), ())]
  assert packing.slots(found) == 32


def test_what_is_left_over_may_have_another_shape():
  shapes = [packing.BatchShape(2, 8, 8), packing.BatchShape(1, 4, 8)]
  found = packing.pack(lengths(8, 8, 3), shapes, WORK)
  assert [(g.shape, g.rows) for g in found] == [
    (shapes[0], ((0,), (1,))),
    (shapes[1], ((2,),)),
  ]


def test_long_rows_must_pay_for_what_they_see():
  sizes = lengths(*[4] * 8)
  shapes = [packing.BatchShape(8, 4, 8), packing.BatchShape(1, 32, 8)]
  free, dear = packing.PackingCost(1, 0.0), packing.PackingCost(1, 1.0)
  assert packing.pack(sizes, shapes[1:], free)[0].shape.length == 32
  assert packing.pack(sizes, shapes, dear)[0].shape.length == 4


LENGTHS = st.integers(1, 100).flatmap(
  lambda n: st.builds(packing.Length, st.just(n), st.integers(0, n - 1))
)


@given(st.lists(LENGTHS, min_size=1, max_size=60), st.integers(1, 4))
def test_each_example_comes_once_and_no_row_overflows(sizes, devices):
  work = packing.PackingCost(devices, 1e-3)
  shapes = packing.choose_shapes(sizes, [range(len(sizes))], work)
  assert 1 <= len(shapes) <= packing.SHAPES
  found = packing.pack(sizes, shapes, work)
  numbers = [n for group in found for row in group.rows for n in row]
  assert sorted(numbers) == list(range(len(sizes)))
  for group in found:
    assert group.shape in shapes
    assert group.shape.rows % devices == 0
    assert len(group.rows) == group.shape.rows
    for row in group.rows:
      assert sum(sizes[n].tokens for n in row) <= group.shape.length
      assert sum(sizes[n].targets for n in row) <= group.shape.targets


@given(
  st.lists(LENGTHS, min_size=1, max_size=9),
  st.integers(1, 9),
  st.sampled_from([0, 1, 3]),
  st.sampled_from([16, 128]),
  st.sampled_from([1, 4]),
)
def test_no_micro_batch_is_larger_than_the_largest(
  sizes, far, rows, least, context_parallel
):
  sizes = [packing.Length(64 * n, t) for n, t in sizes]
  longest = max(one.tokens for one in sizes) + 64 * far
  how = dict(rows=rows, length=0, multiple=least)
  most = packing.largest(longest, context_parallel=context_parallel, **how)
  work = packing.PackingCost(1, 0.0, context_parallel)
  for shape in packing.candidates(sizes, work, **how):
    assert shape.rows * shape.length <= most.rows * most.length
    assert shape.targets <= shape.length


@given(st.lists(LENGTHS, min_size=1, max_size=60))
def test_any_step_fits_the_shapes_that_some_steps_chose(sizes):
  chosen = packing.choose_shapes(sizes, [[0]], WORK)
  assert packing.pack(sizes, chosen, WORK)


def test_rows_and_length_are_taken_as_they_are_said():
  (shape,) = packing.choose_shapes(
    lengths(30, 50), [[0, 1]], packing.PackingCost(4, 0.0), rows=3, length=200
  )
  assert (shape.rows, shape.length) == (12, 200)


def test_lengths_are_multiples_of_lanes_where_that_is_asked():
  found = packing.choose_shapes(lengths(30, 50), [[0, 1]], WORK, multiple=128)
  assert all(shape.length % 128 == 0 for shape in found)


@pytest.mark.parametrize(
  'devices, least', [(1, 0.92), (2, 0.92), (4, 0.92), (8, 0.9)]
)
def test_rows_are_nearly_full_where_a_batch_fills_several(devices, least):
  """64 examples of 300 to 6,656 tokens, 2,000 on average."""
  rng = np.random.default_rng(0)
  tokens = np.clip(rng.lognormal(7.45, 0.5, 6400), 300, 6656).astype(int)
  sizes = [packing.Length(int(n), int(n) // 4) for n in tokens]
  steps = [range(n, n + 64) for n in range(0, 6400, 64)]
  work = packing.PackingCost(devices, 2e-5)
  shapes = packing.choose_shapes(sizes, steps[:8], work, multiple=128)
  slots = sum(
    packing.slots(packing.pack([sizes[n] for n in step], shapes, work))
    for step in steps
  )
  assert sum(tokens) / slots > least
