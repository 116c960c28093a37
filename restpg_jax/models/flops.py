"""Counts the arithmetic of a model's programs, and what they must read.

A multiplication and an addition are two. Only matrix products are counted:
weights, attention over pairs of a query and a key, logits. What a compiler
reports instead counts the body of a loop once and a kernel as nothing.
"""

from restpg_jax.models import size as sizes


def layers(size: sizes.Size) -> int:
  """Returns those of a token through the weights of all layers."""
  return 2 * size.layers * weights_of_layer(size)


def weights_of_layer(size: sizes.Size) -> int:
  """Returns the weights in matrices: q, out, k, v, gate, up and down."""
  heads = 2 * size.heads + 2 * size.kv_heads
  return size.width * (heads * size.head_size + 3 * size.hidden)


def weights(size: sizes.Size) -> int:
  """Returns the weights in all matrices; norms are left out."""
  tables = 1 if size.tied else 2
  embedding = tables * size.vocabulary * size.width
  return size.layers * weights_of_layer(size) + embedding


def pair(size: sizes.Size) -> int:
  """Returns those of a query and a key in one layer: score, sum of values."""
  return 4 * size.heads * size.head_size


def causal_flops(size: sizes.Size, length: float) -> float:
  """Returns those of attention over a whole text in all layers.

  Only pairs are counted whose key is seen.
  """
  return pair(size) * sum(
    pairs(length, size.window if local else length)
    for local in size.local_layers()
  )


def pairs(length: float, window: float) -> float:
  """Counts the keys seen: 4 tokens, window 2  ->  1 + 2 + 2 + 2."""
  window = min(window, length)
  return window * (window + 1) / 2 + (length - window) * window


def square(size: sizes.Size, queries: float, keys: float) -> float:
  """Returns those of attention in all layers over every key, seen or not."""
  return pair(size) * size.layers * queries * keys


def logits(size: sizes.Size) -> int:
  """Returns those of the logits behind one token."""
  return 2 * size.width * size.vocabulary


def token_bytes(size: sizes.Size, itemsize: int) -> int:
  """Returns the bytes of keys and values of a token in all layers."""
  return 2 * size.layers * size.kv_heads * size.head_size * itemsize
