"""Draws a token from logits: temperature, top-k, nucleus (arXiv 1904.09751).

Nothing is sorted. A token is drawn from all of the vocabulary and kept if it
belongs to the allowed set, which one sum over the vocabulary tells: tokens
above it must hold less than `top_p` of the mass and be fewer than `top_k`. If
it does not belong, neither does anything below it, so the next draw is from
those above it alone. What is drawn so has exactly the probabilities of the
allowed set; two or three draws are enough for a batch.
"""

import math

import jax
import jax.numpy as jnp

from restpg_jax import integers


def sample(
  keys: jax.Array,
  logits: jax.Array,
  *,
  temperature: float,
  top_p: float,
  top_k: int = 0,
) -> jax.Array:
  """Draws one token a row: keys [..] and float32 logits [.., V] -> int32 [..].

  temperature 0 takes the likeliest token; top_p 1 and top_k 0 keep all. Both
  are measured on the whole distribution (at that temperature).
  """
  if temperature == 0:
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)
  V = logits.shape[-1]
  probs_NV = jax.nn.softmax(logits / temperature).reshape(-1, V)
  keys_N = keys.reshape(-1)

  def attempt(state):
    n, floor_N, token_N, done_N = state
    folded = jax.vmap(lambda key: jax.random.fold_in(key, n))(keys_N)
    uniform_N = jax.vmap(jax.random.uniform)(folded)
    above = jnp.where(probs_NV > floor_N[:, None], probs_NV, 0)
    new_N = invert(above, uniform_N)
    token_N = jnp.where(done_N, token_N, new_N)
    p_N = jnp.take_along_axis(probs_NV, token_N[:, None], -1)[:, 0]
    done_N = ~(p_N <= floor_N)  # rounding; a row of NaN is done
    if top_p < 1:
      done_N &= belongs(probs_NV, p_N, top_p)
    if top_k:
      done_N &= jnp.sum(probs_NV > p_N[:, None], axis=-1) < top_k
    floor_N = jnp.where(done_N, floor_N, jnp.maximum(floor_N, p_N))
    return n + 1, floor_N, token_N, done_N

  # Each attempt raises `floor` or ends; the likeliest token always belongs.
  N = len(probs_NV)
  start = (
    jnp.int32(0),
    jnp.zeros(N, probs_NV.dtype),
    jnp.zeros(N, jnp.int32),
    jnp.zeros(N, bool),
  )
  end = jax.lax.while_loop(lambda state: ~jnp.all(state[-1]), attempt, start)
  return end[2].reshape(logits.shape[:-1])


def belongs(probs_NV: jax.Array, p_N: jax.Array, top_p: float) -> jax.Array:
  """Says whether tokens of probability p are in the nucleus of their row.

  probs .5 .3 .15 .05, top_p .7: .5 and .3 are, since 0 and .5 are above them.
  Tokens that tie with the last one belong.
  """
  above_NV = jnp.where(probs_NV > p_N[:, None], probs_NV, 0)
  return jnp.sum(above_NV, axis=-1) < top_p


def invert(mass_NV: jax.Array, uniform_N: jax.Array) -> jax.Array:
  """Returns where a row's running mass passes `uniform` of its total.

  mass .5 .3 .2, uniform .6  ->  1

  It takes two sums of about sqrt(V) terms, over blocks and inside one, and
  never returns a token without mass.
  """
  N, V = mass_NV.shape
  width = 2 ** math.ceil(math.log2(V) / 2)
  blocks = integers.cdiv(V, width)
  padded = jnp.pad(mass_NV, ((0, 0), (0, blocks * width - V)))
  mass_NBW = padded.reshape(N, blocks, width)
  block_mass_NB = jnp.sum(mass_NBW, axis=-1)
  total_N = jnp.sum(block_mass_NB, axis=-1)
  block_N, rest_N = _passed(block_mass_NB, uniform_N * total_N)
  inside_NW = jnp.take_along_axis(mass_NBW, block_N[:, None, None], 1)[:, 0]
  token_N, _ = _passed(inside_NW, rest_N)
  # No mass at all, as in a row of NaN, ends behind the last token.
  return jnp.minimum(block_N * width + token_N, V - 1).astype(jnp.int32)


def _passed(
  mass_NM: jax.Array, target_N: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns where the running sum passes the target, and what was left."""
  M = mass_NM.shape[-1]
  running_NM = jnp.matmul(
    mass_NM, jnp.triu(jnp.ones((M, M))), precision=jax.lax.Precision.HIGHEST
  )
  # Rounding may put the target at the very end, where nothing passes it.
  below_N = jnp.nextafter(running_NM[:, -1], jnp.float32(0))
  target_N = jnp.minimum(target_N, below_N)
  n_N = jnp.sum(running_NM <= target_N[:, None], axis=-1)
  before_NM = running_NM - mass_NM
  left_N = target_N - jnp.take_along_axis(before_NM, n_N[:, None], -1)[:, 0]
  return n_N, jnp.maximum(left_N, 0)
