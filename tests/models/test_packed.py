"""Facts about restpg_jax/models/packed.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax.models import packed, splash

RNG = np.random.default_rng(0)
WAYS = {
  'blocks': packed.blocks,
  'splash': functools.partial(splash.splash, interpret=True),
  'dot_product': functools.partial(packed.dot_product, kernel='xla'),
}


def parts(q, k, v, segment, local, **how):
  """`splash` over two parts of turned rows, and the whole turned back."""
  order = splash.turns(q.shape[1], 2)
  q, k, v, segment = (x[:, order] for x in (q, k, v, segment))
  y = [
    splash.splash(
      *(one, k, v, segment, local),
      **how,
      part=jnp.int32(n),
      parts=2,
      interpret=True,
    )
    for n, one in enumerate(jnp.split(q, 2, axis=1))
  ]
  return jnp.concatenate(y, axis=1)[:, np.argsort(order)]


WAYS['parts'] = parts


def arrays(length, heads=2, kv_heads=1, size=128):
  """q, k, v and segments: three texts a row, the last one padded."""
  q = RNG.normal(0, 0.2, (2, length, heads, size))
  k, v = RNG.normal(0, 1, (2, 2, length, kv_heads, size))
  ends = [[length // 3, length // 2, length], [40, 41, length - 9]]
  segment = np.zeros((2, length), np.int32)
  for row, (a, b, c) in zip(segment, ends, strict=True):
    row[:a], row[a:b], row[b:c] = 1, 2, 3
  return *(jnp.asarray(x, jnp.float32) for x in (q, k, v)), segment


def by_text(q, k, v, segment, window, cap):
  """What each text gives by itself, in float64; padding is its own text."""
  out = np.zeros(q.shape)
  group = q.shape[2] // k.shape[2]
  for b, n in np.ndindex(len(q), q.shape[2]):
    for text in range(4):
      (at,) = np.nonzero(segment[b] == text)
      if not len(at):
        continue
      scores = np.float64(q[b, at, n]) @ np.float64(k[b, at, n // group]).T
      if cap:
        scores = cap * np.tanh(scores / cap)
      apart = at[:, None] - at
      seen = (apart >= 0) & (apart < (window or len(at)))
      weights = np.where(seen, np.exp(scores), 0)
      weights /= weights.sum(1, keepdims=True)
      out[b, at, n] = weights @ np.float64(v[b, at, n // group])
  return out


@pytest.mark.slow
@pytest.mark.parametrize('cap', [0.0, 3.0])
@pytest.mark.parametrize('near', [None, True, False])
def test_a_text_sees_itself_only(near, cap):
  q, k, v, segment = arrays(64, heads=4, kv_heads=2, size=8)
  local = None if near is None else jnp.bool(near)
  y = packed.naive(q, k, v, segment, local, window=7, cap=cap)
  expected = by_text(q, k, v, segment, 7 if near else None, cap)
  np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
  'name, cap',
  [('blocks', 0.0), ('blocks', 3.0), ('splash', 0.0)]
  + [('splash', 3.0), ('dot_product', 0.0), ('parts', 0.0), ('parts', 3.0)],
)
@pytest.mark.parametrize('near', [None, True, False])
def test_all_ways_and_their_gradients_are_those_of_naive(name, near, cap):
  q, k, v, segment = arrays(512 if name == 'parts' else 384)
  local = None if near is None else jnp.bool(near)
  weight = RNG.normal(size=q.shape)  # of the result, to make it one number

  def both(attend):
    def total(q, k, v, segment, local, weight):
      y = attend(q, k, v, segment, local, window=50, cap=cap)
      return jnp.sum(y * weight), y

    run = jax.grad(total, argnums=(0, 1, 2), has_aux=True)
    return jax.jit(run)(q, k, v, segment, local, weight)

  for ours, exact in zip(
    jax.tree.leaves(both(WAYS[name])),
    jax.tree.leaves(both(packed.naive)),
    strict=True,
  ):
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=3e-5)


@pytest.mark.slow
def test_gradients_of_blocks_do_not_keep_the_scores_of_all_pairs():
  q, k, v, segment = arrays(1024, size=8)

  def kept(attend):
    """Numbers that the forward pass leaves for the backward pass."""

    def pull_back(q, k, v):
      def call(*qkv):
        return attend(*qkv, segment, None, window=0, cap=0.0)

      return jax.vjp(call, q, k, v)[1]

    leaves = jax.tree.leaves(jax.eval_shape(pull_back, q, k, v))
    return sum(leaf.size for leaf in leaves)

  pairs = 2 * 2 * 1024 * 1024  # of all rows and heads
  assert kept(packed.naive) > pairs
  assert kept(packed.blocks) < pairs / 8


GPU = {'cap': 0.0, 'dtype': 'bfloat16'}


@pytest.mark.parametrize(
  'name, platform, changed, message',
  [
    ('splash', 'cpu', {}, 'runs on a TPU only, this is a cpu'),
    ('dot_product', 'tpu', {}, 'runs on a GPU only, this is a tpu'),
    ('dot_product', 'gpu', {'dtype': 'float32'}, 'needs train.compute_dtype'),
    ('dot_product', 'gpu', {'cap': 50.0}, 'this model caps scores at 50'),
    ('dot_product', 'gpu', {}, ''),
    ('splash', 'tpu', {'cap': 50.0, 'dtype': 'float32'}, ''),
    ('blocks', 'gpu', {'cap': 50.0, 'dtype': 'float32'}, ''),
  ],
)
def test_what_cannot_be_had_is_told(name, platform, changed, message):
  found = packed.fault(name, platform, **GPU | changed)
  assert message in found
  assert bool(message) == bool(found)


def test_the_default_can_be_had():
  model = dict(head_size=128, cap=0.0, dtype='bfloat16')
  assert packed.default('cpu', **model) == 'blocks'
  assert packed.default('tpu', **model) == 'splash'
  assert packed.default('gpu', **model) == 'dot_product'
  assert packed.default('gpu', **model | {'cap': 50.0}) == 'blocks'
  assert packed.default('gpu', **model | {'head_size': 256}) == 'blocks'
