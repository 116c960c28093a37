"""The reward-weighted likelihood: SFT is the case of every reward 1."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from restpg_jax.training import batches

LEAST = -1e30  # below any logit


def token_losses(logits_BTV, targets_BT):
  """Negative log-likelihood of each target, float32, same shape as targets."""
  logp_BTV = jax.nn.log_softmax(logits_BTV.astype(jnp.float32))
  return -jnp.take_along_axis(logp_BTV, targets_BT[..., None], -1)[..., 0]


def streamed_losses(
  hidden_BTD, targets_BT, head_VD, logits: Callable, *, chunks: int
):
  """`token_losses`, with so many chunks of the vocabulary one after another.

  logits(head_vD, hidden_BTD) -> [B, T, v] for words v. Chunk n has every word
  of number n, n + chunks, ..; gradients compute its logits once more. So the
  logits of all words are never there at once, and of the head, and of its
  gradient, no more than a chunk has to be whole on a device.
  """
  V, D = head_VD.shape
  odd = -V % chunks  # rows of zeros that belong to no word
  whole_VD = jnp.pad(head_VD, ((0, odd), (0, 0))) if odd else head_VD
  head_CvD = whole_VD.reshape(-1, chunks, D).swapaxes(0, 1)

  def further(seen, chunk):
    top_BT, mass_BT, target_BT = seen
    n, head_vD = chunk
    logits_BTv = logits(head_vD, hidden_BTD.astype(dtype))
    word_v = jnp.arange(len(head_vD)) * chunks + n
    if odd:
      logits_BTv = jnp.where(word_v < V, logits_BTv, LEAST)
    above_BT = jax.lax.stop_gradient(
      jnp.maximum(top_BT, jnp.max(logits_BTv, axis=-1))
    )
    more_BT = jnp.sum(jnp.exp(logits_BTv - above_BT[..., None]), axis=-1)
    mass_BT = mass_BT * jnp.exp(top_BT - above_BT) + more_BT
    is_target = targets_BT[..., None] == word_v
    target_BT += jnp.sum(jnp.where(is_target, logits_BTv, 0), axis=-1)
    return (above_BT, mass_BT, target_BT), None

  # The gradients of the chunks add up in float32.
  dtype, hidden_BTD = hidden_BTD.dtype, hidden_BTD.astype(jnp.float32)
  zeros_BT = jnp.zeros(targets_BT.shape, jnp.float32)
  (top_BT, mass_BT, target_BT), _ = jax.lax.scan(
    jax.checkpoint(further, prevent_cse=False),
    (zeros_BT + LEAST, zeros_BT, zeros_BT),
    (jnp.arange(chunks), head_CvD),
  )
  return top_BT + jnp.log(mass_BT) - target_BT


def weighted(
  hidden_BTD, batch: batches.Batch, head_VD, logits: Callable, *, most: int
) -> jax.Array:
  """sum(r * nll) over the targets of a batch (Algorithm 1, line 11).

  hidden: before each target; `most` logits are there at once. To be divided by
  the number of target tokens with r > 0 of the whole step; dividing by the sum
  of rewards would take a common reward out.
  """
  chunks = chunks_of(len(head_VD), most // batch.target_BT.size)
  if chunks == 1:
    losses_BT = token_losses(logits(head_VD, hidden_BTD), batch.target_BT)
  else:
    losses_BT = streamed_losses(
      hidden_BTD, batch.target_BT, head_VD, logits, chunks=chunks
    )
  return jnp.sum(batch.weight_BT * losses_BT)


def chunks_of(vocabulary: int, most: int) -> int:
  """The fewest chunks of at most so many words.

  Equal ones, unless that takes more than twice as many: then the last word of
  some is none. A vocabulary of 32,003, a prime, and 10,000  ->  4
  """
  least = -(-vocabulary // max(1, most))
  equal = (n for n in range(least, 2 * least + 1) if vocabulary % n == 0)
  return next(equal, least)
