"""Facts about restpg_jax/sampling/keys.py."""

import itertools

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from restpg_jax.sampling import keys

ONE = dict(seed=0, purpose='draw', iteration=1, example_id='a/b/0', j=2)


def test_a_key_written_out():
  key = keys.row_key(**ONE)
  assert key.dtype == np.uint32
  # The first 8 bytes of blake2b('0\0draw\0001\0a/b/0\0002'), little-endian.
  assert key.tolist() == [613154672, 4020527594]


def test_every_part_matters():
  others = dict(
    seed=1, purpose='test', iteration=2, example_id='a/b/1', j=3
  ).items()
  found = {tuple(keys.row_key(**ONE | {k: v})) for k, v in others}
  assert len(found | {tuple(keys.row_key(**ONE))}) == 6


def test_no_two_rows_of_a_run_share_a_key():
  rows = itertools.product(
    range(3), ('draw', 'test'), range(13), ('x/1', 'x/11', 'x/1/1'), range(13)
  )
  found = [
    tuple(
      keys.row_key(seed=s, purpose=p, iteration=i, example_id=e, j=j).tolist()
    )
    for s, p, i, e, j in rows
  ]
  assert len(set(found)) == len(found) == 3 * 2 * 13 * 3 * 13


@given(st.text(st.characters(exclude_categories=['Cs'])), st.integers(0, 999))
def test_a_key_is_a_function_of_what_the_sample_means(example_id, j):
  row = ONE | {'example_id': example_id, 'j': j}
  first, second = keys.row_key(**row), keys.row_key(**row)
  np.testing.assert_array_equal(first, second)
  assert first.shape == (2,)


def test_jax_takes_it_for_a_threefry_key():
  key = jax.random.wrap_key_data(keys.row_key(**ONE), impl='threefry2x32')
  assert 0 <= jax.random.uniform(key) < 1
