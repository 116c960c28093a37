"""Log-probabilities of a few short label sequences after each prompt."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def build(model, labels: Sequence[Sequence[int]], not_after: np.ndarray):
  """score(params, tokens_PS, length_P) -> log-probabilities [P, labels].

  log P(label) = sum over its tokens + log P(the next token is none of
  `not_after`), over the whole vocabulary. Gemma writes "10" as "1", "0":
  without the second term "1" would collect the probability of "10" too
  (DESIGN section 5). The prompt is read once for all labels.
  """
  G, O = len(labels), max(map(len, labels))  # noqa: E741
  padded_OG = np.zeros((O, G), np.int32)
  for g, label in enumerate(labels):
    padded_OG[: len(label), g] = label
  length_G = np.array([len(label) for label in labels])

  def score(params, tokens_PS, length_P):

    def call(*args, method):
      return model.apply({'params': params}, *args, method=method)

    P = tokens_PS.shape[0]
    hidden_PSD, kv = call(tokens_PS, method='prefill')
    last_PD = hidden_PSD[jnp.arange(P), jnp.maximum(length_P - 1, 0)]
    logits_PV = call(last_PD, method='logits')
    logp_PGV = jax.nn.log_softmax(logits_PV)[:, None].repeat(G, axis=1)
    cache = call(kv, G, O, method='cache')
    total_PG = jnp.zeros((P, G))
    for t in range(O):
      token_PG = jnp.broadcast_to(padded_OG[t], (P, G))
      said = jnp.take_along_axis(logp_PGV, token_PG[..., None], -1)[..., 0]
      total_PG += jnp.where(t < length_G, said, 0)
      logits_PGV, cache = call(token_PG, cache, length_P, t, method='step')
      logp_PGV = jax.nn.log_softmax(logits_PGV)
      goes_on = jnp.sum(jnp.exp(logp_PGV[..., not_after]), axis=-1)
      total_PG += jnp.where(t + 1 == length_G, jnp.log1p(-goes_on), 0)
    return total_PG

  return score
