"""Counts the arithmetic of a model's programs, and what they must read.

A multiplication and an addition are two. Only matrix products are counted:
weights, attention over pairs of a query and a key, logits. What a compiler
reports instead counts the body of a loop once and a kernel as nothing.
"""

from restpg_jax.models import size as sizes


def layers(size: sizes.Size) -> int:
  """Returns those of a token through the weights of all layers."""
  return 2 * weights_of_layers(size)


def weights_of_layers(size: sizes.Size) -> int:
  """Returns the weights in matrices of all layers."""
  return sum(layer.layer_weights() for layer in size.by_layer())


def weights(size: sizes.Size) -> int:
  """Returns the weights in all matrices; norms are left out."""
  tables = 1 if size.tied else 2
  embedding = tables * size.vocabulary * size.width
  return weights_of_layers(size) + embedding


def pair(size: sizes.Size) -> int:
  """Returns those of a query and a key in one layer: score, sum of values.

  The layers of this size are all alike.
  """
  return 4 * size.heads * size.head_size


def causal_flops(size: sizes.Size, length: float) -> float:
  """Returns those of attention over a whole text in all layers.

  Only pairs are counted whose key is seen.
  """
  return sum(
    pair(layer) * pairs(length, layer.window if local else length)
    for layer, local in zip(size.by_layer(), size.local_layers(), strict=True)
  )


def pairs(length: float, window: float) -> float:
  """Counts the keys seen: 4 tokens, window 2  ->  1 + 2 + 2 + 2."""
  window = min(window, length)
  return window * (window + 1) / 2 + (length - window) * window


def square(size: sizes.Size, queries: float, keys: float) -> float:
  """Returns those of attention in all layers over every key, seen or not."""
  return sum(map(pair, size.by_layer())) * queries * keys


def logits(size: sizes.Size) -> int:
  """Returns those of the logits behind one token."""
  return 2 * size.width * size.vocabulary


def token_bytes(size: sizes.Size, itemsize: int) -> int:
  """Returns the bytes of keys and values of a token in all layers."""
  return size.cached() * itemsize
