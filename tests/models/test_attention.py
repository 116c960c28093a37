"""Facts about restpg_jax/models/attention.py."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax.models import attention


@pytest.mark.parametrize('t', [0, 2, 3, 4, 7])
def test_a_step_has_the_same_window_over_all_parts(t):
  """Positions 0..5 are the prompt, 6..13 the suffix; `t` is fed at 6 + t."""
  rng = np.random.default_rng(4)
  k, v = rng.normal(size=(2, 14, 8)).astype(np.float32)
  q = rng.normal(size=(1, 1, 1, 8)).astype(np.float32)
  begun, c = t // 4 * 4, t % 4  # chunks of 4
  here = 6 + t
  cache = attention.Cache(
    *cached(k[:6], v[:6], length=9, axes=(1, 1)),
    *cached(k[6 : 6 + begun], v[6 : 6 + begun], length=8, axes=(1, 1, 1)),
    *chunk(k[here - c : here], v[here - c : here], length=4),
  )
  place = attention.StepPositions(np.array([6]), np.array([[begun]]), c)
  itself = (x[here].reshape(1, 1, 1, 8) for x in (k, v))
  y, _ = attention.shared_prefix_attention(
    q, *itself, cache, place, block=4, window=jnp.int32(4)
  )
  inside = slice(here - 3, here + 1)
  weights = np.exp(k[inside] @ q[0, 0, 0])
  np.testing.assert_allclose(
    y[0, 0, 0], weights / weights.sum() @ v[inside], rtol=1e-5
  )


def cached(k, v, *, length, axes):
  """Keys [.., H, length] and values [.., length, H], garbage behind them."""
  k, v = (padded(x, length) for x in (k, v))
  return k.T.reshape(*axes, *k.T.shape), v.reshape(*axes, *v.shape)


def chunk(k, v, *, length):
  return [padded(x, length).reshape(1, 1, 1, length, -1) for x in (k, v)]


def padded(x, length):
  return np.concatenate(
    [x, np.full((length - len(x), x.shape[1]), 9.0, np.float32)]
  )


@pytest.mark.parametrize('window', [None, 4])
def test_rows_behind_a_prefix_that_they_share(window):
  """Positions 0..5 are the prefix, padded to 8; rows of 3 tokens follow it or,
  the last one, nothing. Their third token does not see the second."""
  rng = np.random.default_rng(4)
  k, v = rng.normal(size=(2, 9, 1, 8)).astype(np.float32)
  q = rng.normal(size=(3, 2, 8)).astype(np.float32)
  garbage = np.full((2, 1, 8), 9.0, np.float32)  # pads the prefix
  prefix = [
    np.stack([np.full((8, 1, 8), 7.0), np.concatenate([x[:6], garbage])])
    for x in (k, v)
  ]
  behind = attention.SuffixPositions(
    prefix_C=jnp.array([1, 1, 0]),
    length_C=jnp.array([6, 6, 0]),
    position_CR=jnp.array([[6, 7, 7], [6, 7, 7], [0, 1, 1]]),
    seen_CRR=jnp.array([[[1, 0, 0], [1, 1, 0], [1, 0, 1]]] * 3, bool),
  )
  q, own_k, own_v = (jnp.stack([x] * 3) for x in (q, k[6:], v[6:]))
  y = attention.suffix_attention(
    q, own_k, own_v, prefix, behind, window=window and jnp.int32(window)
  )
  near = 0 if window is None else 4  # tokens 3..6 of 0..6, 4..7 of 0..7
  for r, seen in enumerate(([*range(7)], [*range(8)], [*range(7), 8])):
    seen = seen[-near:]
    for head in range(2):
      weights = np.exp(k[seen, 0] @ q[0, r, head])
      expected = weights / weights.sum() @ v[seen, 0]
      np.testing.assert_allclose(y[0, r, head], expected, rtol=1e-5)
      np.testing.assert_array_equal(y[1, r, head], y[0, r, head])
  np.testing.assert_allclose(y[2, 0], v[[6, 6], 0], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('length', [1, 127, 128, 129, 300, 1100])
@pytest.mark.parametrize('window', [None, 40])
def test_in_blocks_it_is_the_same(length, window):
  rng = np.random.default_rng(length)
  q = rng.normal(size=(2, length, 4, 8)).astype(np.float32)
  k, v = rng.normal(size=(2, 2, length, 2, 8)).astype(np.float32)
  how = {'window': window and jnp.int32(window), 'cap': 3.0}
  np.testing.assert_allclose(
    attention.blockwise_causal_attention(q, k, v, **how),
    attention.causal_attention(q, k, v, **how),
    atol=2e-6,
  )


def test_scores_are_capped_before_they_are_masked():
  # Scores of the second token: 4 and 2, capped at 2: 2 tanh(2), 2 tanh(1).
  q = jnp.full((1, 2, 1, 2), 2.0)
  k = jnp.array([[[[1.0, 1.0]], [[1.0, 0.0]]]])
  v = jnp.array([[[[1.0, 0.0]], [[0.0, 1.0]]]])
  y = attention.causal_attention(q, k, v, cap=2.0)[0, :, 0]
  np.testing.assert_array_equal(y[0], [1, 0])  # a capped mask leaks the future
  share = 1 / (1 + math.exp(2 * math.tanh(1) - 2 * math.tanh(2)))
  np.testing.assert_allclose(y[1], [share, 1 - share], rtol=1e-6)

  cache = attention.Cache(
    *cached(k[0, :1, 0], v[0, :1, 0], length=4, axes=(1, 1)),
    *(jnp.full((1, 1, 1, 2, 2), 9.0),) * 4,
  )
  place = attention.StepPositions(jnp.array([1]), jnp.array([[0]]), 0)
  y, _ = attention.shared_prefix_attention(
    q[:, 1:], k[:, 1:], v[:, 1:], cache, place, block=8, cap=2.0
  )
  np.testing.assert_allclose(y[0, 0, 0], [share, 1 - share], rtol=1e-6)


def test_scores_of_rows_behind_a_prefix_are_capped_before_they_are_masked():
  q = jnp.full((1, 1, 1, 2), 2.0)  # scores as above, of prefix and row
  prefix_k = jnp.array([[[[1.0, 1.0]], [[9.0, 9.0]]]])
  prefix_v = jnp.array([[[[1.0, 0.0]], [[9.0, 9.0]]]])
  k, v = jnp.array([[[[1.0, 0.0]]]]), jnp.array([[[[0.0, 1.0]]]])
  one = jnp.array([1])
  behind = attention.SuffixPositions(
    one * 0, one, one[None], jnp.ones((1, 1, 1), bool)
  )
  y = attention.suffix_attention(q, k, v, (prefix_k, prefix_v), behind, cap=2.0)
  share = 1 / (1 + math.exp(2 * math.tanh(1) - 2 * math.tanh(2)))
  np.testing.assert_allclose(y[0, 0, 0], [share, 1 - share], rtol=1e-6)


def test_scores_are_capped_in_float32():
  # Scores 44 and 44.25: capped at 50 they are 35.32 and 35.44, which a
  # bfloat16, with steps of 0.25 there, cannot tell apart as it should.
  q = jnp.full((1, 2, 1, 2), 4.0, jnp.bfloat16)
  k = jnp.array([[[[5.5, 5.5]], [[5.5, 5.5625]]]], jnp.bfloat16)
  v = jnp.array([[[[1.0, 0.0]], [[0.0, 1.0]]]], jnp.bfloat16)
  y = attention.causal_attention(q, k, v, cap=50.0)
  assert y.dtype == jnp.bfloat16
  a, b = (50 * math.tanh(score / 50) for score in (44, 44.25))
  np.testing.assert_allclose(
    np.float32(y[0, 1, 0, 1]), 1 / (1 + math.exp(a - b)), atol=0.002
  )
