"""Counts what a program computes and reads, beside what the method needs.

All counts are of one call on one device; the arithmetic of a model is in
models/flops.py.
"""

import dataclasses

import jax.numpy as jnp

from restpg_jax.models import attention, bert, flops, splash
from restpg_jax.models import size as sizes
from restpg_jax.sampling import slots


@dataclasses.dataclass(frozen=True)
class ProgramCost:
  """Holds what one call costs on one device."""

  model: float  # FLOPs: what the method needs, nothing twice or unseen
  hardware: float  # FLOPs that the program computes
  bytes: float  # of weights, keys and values that it must read


def embed_cost(
  size: bert.EncoderSize, *, texts: float, length: float
) -> ProgramCost:
  """Returns the cost of an encoder, where every token sees every other."""
  token = 8 * size.width**2 + 4 * size.width * size.hidden
  pairs = 4 * size.width * length**2
  work = texts * size.layers * (length * token + pairs)
  return ProgramCost(work, work, 4 * size.layers * token // 2)


def prefill_cost(
  size: sizes.Size, shape: slots.DecodeShape, dtype: str
) -> ProgramCost:
  """Returns the cost of reading one prompt."""
  S = shape.prompt_length
  rest = S * flops.layers(size) + flops.logits(size)
  return ProgramCost(
    rest + flops.causal_flops(size, S),
    rest + block_flops(size, S),
    _weights(size, dtype),
  )


def block_flops(size: sizes.Size, length: int) -> float:
  """Returns FLOPs of attention as attention.causal_in_blocks computes it."""
  ends = attention.block_ends(length)
  return sum(
    flops.square(size, end - begin, end)
    for begin, end in zip([0, *ends], ends, strict=False)
  )


def decode_cost(
  size: sizes.Size, shape: slots.DecodeShape, dtype: str
) -> ProgramCost:
  """Returns the cost of a chunk, every slot near its last token."""
  tokens = shape.groups * shape.slots * shape.steps
  S, O = shape.prompt_length, shape.suffix  # noqa: E741
  work = tokens * (flops.layers(size) + flops.logits(size))
  work += flops.square(size, tokens, S + O)
  kept = shape.groups * (S + shape.slots * O)
  itemsize = jnp.dtype(dtype).itemsize
  read = _weights(size, dtype) + kept * flops.token_bytes(size, itemsize)
  return ProgramCost(work, work, shape.steps * read)


def judge_cost(
  size: sizes.Size, dtype: str, *, P: int, S: int, C: int, R: int
) -> ProgramCost:
  """Returns the cost of judging C answers of R tokens behind P prefixes of S.

  Labels follow each answer; their few tokens are left out.
  """
  rest = (P * S + C * R) * flops.layers(size) + C * flops.logits(size)
  seen = flops.square(size, R, S) + flops.causal_flops(size, R)
  return ProgramCost(
    rest + P * flops.causal_flops(size, S) + C * seen,
    rest + P * block_flops(size, S) + C * flops.square(size, R, S + R),
    (P + C) * _weights(size, dtype),
  )


def train_cost(
  size: sizes.Size,
  *,
  rows: float,
  L: int,
  T: float,
  attention: str,
  remat: str,
  parts: int = 1,
) -> ProgramCost:
  """Returns the cost of `rows` rows of L tokens, T of which are targets.

  The backward pass costs two forward passes, and what is not kept is computed
  once more. Logits are computed twice (training/loss.py). `parts` devices share
  a row.
  """
  body = L * flops.layers(size)
  logits = T * flops.logits(size)
  model = 3 * (body + flops.causal_flops(size, L) + logits)
  again = 4 if remat == 'full' else 3
  hardware = again * body + 4 * logits + _attention(size, L, attention, remat)
  share = rows / parts
  return ProgramCost(
    share * model, share * hardware, 3 * _weights(size, 'bfloat16')
  )


def _attention(
  size: sizes.Size, length: int, attention: str, remat: str
) -> float:
  """Returns FLOPs of attention in a row, forward and backward."""
  if attention == 'splash':
    # Tiles on the diagonal are computed whole. Two products forward, which is
    # kept; backward the scores once more and the gradients of them, of
    # queries, keys and values: seven products in two kernels.
    tiles = flops.causal_flops(size, length) * (1 + splash.TILE / length)
    return tiles * (2 + 7) / 2
  if attention == 'blocks':  # keeps no scores
    return 4 * block_flops(size, length)
  return (4 if remat == 'full' else 3) * flops.square(size, length, length)


def update_cost(state: int, gradients: int) -> ProgramCost:
  """Returns the cost of an optimizer's update, of states of so many bytes.

  It has no matrix products: the state is read and written, gradients read.
  """
  return ProgramCost(0.0, 0.0, 2 * state + gradients)


def _weights(size: sizes.Size, dtype: str) -> int:
  """Returns the bytes of a model's weights."""
  return flops.weights(size) * jnp.dtype(dtype).itemsize
