"""How much of an update reaches the weights, and would in bfloat16."""

import jax
import jax.numpy as jnp

# Below this share of changed weights an update is mostly lost to rounding.
# Measured at the paper's rate of 5e-6: above 0.99 in float32, below 0.1 in
# bfloat16, so that neither comes near it by chance.
LEAST = 0.5


def changed(params, updates, grads) -> dict[str, jax.Array]:
  """Shares, 0 to 1, of the weights that `params + updates` really changes.

  changed          as they are stored (float32 masters)
  changed_in_bf16  were they stored in bfloat16: an update of less than about
                   |w| / 512 rounds away

  Counted are weights with a gradient: those of words that do not occur only
  decay, by less than float32 can show. No gradient at all: both are 0.
  """
  leaves = [
    [_count(g != 0), _count(_moves(p, u, g, p.dtype)), _count(_moves(p, u, g))]
    for p, u, g in zip(
      *map(jax.tree.leaves, (params, updates, grads)), strict=True
    )
  ]
  counted, stored, halved = map(sum, zip(*leaves, strict=True))
  least = jnp.maximum(counted, 1)
  return {'changed': stored / least, 'changed_in_bf16': halved / least}


def _moves(param, update, grad, dtype=jnp.bfloat16):
  """Where w + u is another number than w, both rounded to `dtype`.

  A cast there and back would not do: XLA may leave such a pair out.
  """
  info = jnp.finfo(dtype)

  def rounded(x):
    return jax.lax.reduce_precision(x, info.nexp, info.nmant)

  before = rounded(param.astype(jnp.float32))
  return (rounded(before + update) != before) & (grad != 0)


def _count(mask):
  """As float32: a stacked tensor can have more than 2^31 weights."""
  rows = jnp.sum(jnp.atleast_1d(mask), axis=-1, dtype=jnp.int32)
  return jnp.sum(rows.astype(jnp.float32))
