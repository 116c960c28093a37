"""Computes the reward-weighted likelihood; in SFT every reward is 1."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from restpg_jax import integers
from restpg_jax.training import batches

MASKED = -1e30  # below any logit; finite, so that no difference is NaN


def token_losses(logits_BTV: jax.Array, targets_BT: batches.Array) -> jax.Array:
  """Returns the negative log-likelihood of each target, float32 [B, T]."""
  logp_BTV = jax.nn.log_softmax(logits_BTV.astype(jnp.float32))
  return -jnp.take_along_axis(logp_BTV, targets_BT[..., None], -1)[..., 0]


def streamed_losses(
  hidden_BTD: jax.Array,
  targets_BT: batches.Array,
  head_VD: jax.Array,
  logits: Callable[[jax.Array, jax.Array], jax.Array],
  *,
  chunks: int,
) -> jax.Array:
  """Computes `token_losses` with one chunk of the vocabulary after another.

  logits(head_vD, hidden_BTD) -> [B, T, v] for tokens v. Chunk n has the tokens
  n, n + chunks, ..; gradients compute its logits once more. So the logits of
  all tokens are never there at once, and no more than a chunk of the head, and
  of its gradient, has to be whole on a device.
  """
  V, D = head_VD.shape
  odd = -V % chunks  # rows of zeros that belong to no token
  whole_VD = jnp.pad(head_VD, ((0, odd), (0, 0))) if odd else head_VD
  head_CvD = whole_VD.reshape(-1, chunks, D).swapaxes(0, 1)

  def further(carry, chunk):
    top_BT, mass_BT, target_BT = carry
    n, head_vD = chunk
    logits_BTv = logits(head_vD, hidden_BTD.astype(dtype))
    token_v = jnp.arange(len(head_vD)) * chunks + n
    if odd:
      logits_BTv = jnp.where(token_v < V, logits_BTv, MASKED)
    above_BT = jax.lax.stop_gradient(
      jnp.maximum(top_BT, jnp.max(logits_BTv, axis=-1))
    )
    more_BT = jnp.sum(jnp.exp(logits_BTv - above_BT[..., None]), axis=-1)
    mass_BT = mass_BT * jnp.exp(top_BT - above_BT) + more_BT
    is_target = targets_BT[..., None] == token_v
    target_BT += jnp.sum(jnp.where(is_target, logits_BTv, 0), axis=-1)
    return (above_BT, mass_BT, target_BT), None

  # The gradients of the chunks add up in float32.
  dtype, hidden_BTD = hidden_BTD.dtype, hidden_BTD.astype(jnp.float32)
  zeros_BT = jnp.zeros(targets_BT.shape, jnp.float32)
  (top_BT, mass_BT, target_BT), _ = jax.lax.scan(
    jax.checkpoint(further, prevent_cse=False),
    (zeros_BT + MASKED, zeros_BT, zeros_BT),
    (jnp.arange(chunks), head_CvD),
  )
  return top_BT + jnp.log(mass_BT) - target_BT


def weighted(
  hidden_BTD: jax.Array,
  batch: batches.Batch,
  head_VD: jax.Array,
  logits: Callable[[jax.Array, jax.Array], jax.Array],
  *,
  max_logits: int,
) -> jax.Array:
  """Returns sum(r * nll) over the targets of a batch (Algorithm 1, line 11).

  `hidden` are the states before each target; about `max_logits` logits are
  there at once. The sum is to be divided by the number of target tokens with
  r > 0 of the whole step; dividing by the sum of rewards would take a common
  reward out.
  """
  chunks = chunks_of(len(head_VD), max_logits // batch.target_BT.size)
  if chunks == 1:
    losses_BT = token_losses(logits(head_VD, hidden_BTD), batch.target_BT)
  else:
    losses_BT = streamed_losses(
      hidden_BTD, batch.target_BT, head_VD, logits, chunks=chunks
    )
  return jnp.sum(batch.weight_BT * losses_BT)


def chunks_of(vocab_size: int, max_size: int) -> int:
  """Returns the smallest number of chunks of at most `max_size` tokens.

  They are equal, unless that takes more than twice as many: then some lack
  their last token. 32,003 tokens, a prime, and 10,000  ->  4
  """
  fewest = integers.cdiv(vocab_size, max(1, max_size))
  equal = (n for n in range(fewest, 2 * fewest + 1) if vocab_size % n == 0)
  return next(equal, fewest)
