"""From logits to a token: temperature, then nucleus (arXiv 1904.09751)."""

import jax
import jax.numpy as jnp

ONE = 0x3F800000  # the bits of float32 1.0


def sample(keys, logits, *, temperature: float, top_p: float):
  """One token a row: keys [..] and float32 logits [.., V] -> int32 [..].

  temperature 0 takes the likeliest token.
  """
  if temperature == 0:
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)
  logp = jax.nn.log_softmax(logits / temperature)
  if top_p < 1:
    logp = jnp.where(in_nucleus(jnp.exp(logp), top_p), logp, -jnp.inf)
  noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[-1:]))(
    keys.reshape(-1)
  ).reshape(logits.shape)
  return jnp.argmax(logp + noise, axis=-1).astype(jnp.int32)


def in_nucleus(probs, top_p: float):
  """Marks the smallest set of likeliest tokens whose mass reaches top_p.

  probs .5 .3 .15 .05, top_p 0.7 -> yes yes no no

  No sort: the least probability that belongs to the set is found by bisection
  on its bits (non-negative floats are ordered as their bits are), which is
  exact after 31 halvings. Tokens that tie with it all belong.
  """
  bits = jax.lax.bitcast_convert_type(probs, jnp.int32)

  def halve(_, bounds):
    low, high = bounds  # mass(>= low) reaches top_p, mass(>= high) does not
    middle = low + (high - low) // 2
    mass = jnp.sum(jnp.where(bits >= middle[..., None], probs, 0), axis=-1)
    reaches = mass >= top_p
    return jnp.where(reaches, middle, low), jnp.where(reaches, high, middle)

  low = jnp.zeros(probs.shape[:-1], jnp.int32)
  low, _ = jax.lax.fori_loop(0, 31, halve, (low, jnp.full_like(low, ONE + 1)))
  return bits >= low[..., None]


def sorted_nucleus(probs, top_p: float):
  """The textbook definition, by sorting: the reference for `in_nucleus`."""
  ordered = jnp.sort(probs, axis=-1, descending=True)
  before = jnp.cumsum(ordered, axis=-1) - ordered
  least = jnp.min(jnp.where(before < top_p, ordered, jnp.inf), axis=-1)
  return probs >= least[..., None]
