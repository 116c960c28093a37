"""The reward-weighted likelihood: SFT is the case of every reward 1."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from restpg_jax.training import batches


def token_losses(logits_BTV, targets_BT):
  """Negative log-likelihood of each target, float32, same shape as targets."""
  logp_BTV = jax.nn.log_softmax(logits_BTV.astype(jnp.float32))
  return -jnp.take_along_axis(logp_BTV, targets_BT[..., None], -1)[..., 0]


def weighted(
  hidden_BLD,
  batch: batches.Batch,
  logits: Callable[[jax.Array], jax.Array],
  *,
  places: int,
) -> jax.Array:
  """sum(r * nll) over the targets of a batch (section 3.2, Eq. 5).

  logits: hidden states [B, t, D] -> [B, t, V]. It sees about `places` of all
  rows at a time, and gradients compute these logits once more: never are those
  of all places there at once. To be divided by the number of target tokens
  with r > 0 of the whole step; dividing by the sum of rewards would take a
  common reward out.
  """
  B, T = batch.place_BT.shape
  chunks = -(-T // max(1, places // B))
  t = -(-T // chunks)

  def of_chunk(place_Bt, target_Bt, weight_Bt):
    hidden_BtD = jnp.take_along_axis(hidden_BLD, place_Bt[..., None], axis=1)
    return jnp.sum(weight_Bt * token_losses(logits(hidden_BtD), target_Bt))

  arrays = batch.place_BT, batch.target_BT, batch.weight_BT
  if chunks == 1:
    return of_chunk(*arrays)
  room = (0, 0), (0, chunks * t - T)
  chunked = [
    jnp.pad(x, room).reshape(B, chunks, t).swapaxes(0, 1) for x in arrays
  ]

  def add(total, chunk):
    return total + of_chunk(*chunk), None

  return jax.lax.scan(jax.checkpoint(add), jnp.float32(0), chunked)[0]
