"""The reward-weighted likelihood: SFT is the case of every reward 1."""

import jax
import jax.numpy as jnp

from restpg_jax.training import batches


def token_losses(logits_BTV, targets_BT):
  """Negative log-likelihood of each target, float32, same shape as targets."""
  logp_BTV = jax.nn.log_softmax(logits_BTV.astype(jnp.float32))
  return -jnp.take_along_axis(logp_BTV, targets_BT[..., None], -1)[..., 0]


def weighted_loss(logits_BTV, batch: batches.Batch):
  """sum(r * nll) / number of target tokens with r > 0 (section 3.2, Eq. 5).

  Dividing by the number, not by the sum of rewards, keeps a common reward in.
  """
  losses_BT = token_losses(logits_BTV, batch.target_BT)
  count = jnp.maximum(jnp.sum(batch.weight_BT > 0), 1)
  return jnp.sum(batch.weight_BT * losses_BT) / count
