"""Measures how much of an update reaches the weights, and would in bfloat16."""

from typing import Any

import jax
import jax.numpy as jnp

Params = Any  # a tree of float32 arrays

# Below this share of changed weights an update is mostly lost to rounding.
# Measured at the paper's rate of 5e-6: above 0.99 in float32, below 0.1 in
# bfloat16, so that neither comes near it by chance.
LEAST = 0.5


def changed(
  params: Params, updates: Params, grads: Params
) -> dict[str, jax.Array]:
  """Returns the shares, 0 to 1, of the weights that the updates change.

  changed          as they are stored (float32 masters)
  changed_in_bf16  were they stored in bfloat16: an update of less than about
                   |w| / 512 rounds away

  Only weights with a gradient are counted: those of tokens that do not occur
  only decay, by less than float32 can show. Without any gradient both are 0.
  """
  leaves = [
    [_count(g != 0), _count(_moves(p, u, g, p.dtype)), _count(_moves(p, u, g))]
    for p, u, g in zip(
      *map(jax.tree.leaves, (params, updates, grads)), strict=True
    )
  ]
  counted, stored, halved = map(sum, zip(*leaves, strict=True))
  divisor = jnp.maximum(counted, 1)
  return {'changed': stored / divisor, 'changed_in_bf16': halved / divisor}


def _moves(
  param: jax.Array,
  update: jax.Array,
  grad: jax.Array,
  dtype: jax.typing.DTypeLike = jnp.bfloat16,
) -> jax.Array:
  """Says where w + u is another number than w, both rounded to `dtype`.

  A cast there and back would not do: XLA may leave such a pair out.
  """
  info = jnp.finfo(dtype)

  def rounded(x: jax.Array) -> jax.Array:
    return jax.lax.reduce_precision(x, info.nexp, info.nmant)

  before = rounded(param.astype(jnp.float32))
  return (rounded(before + update) != before) & (grad != 0)


def _count(mask: jax.Array) -> jax.Array:
  """Counts in float32: a stacked tensor can have more than 2^31 weights."""
  rows = jnp.sum(jnp.atleast_1d(mask), axis=-1, dtype=jnp.int32)
  return jnp.sum(rows.astype(jnp.float32))
