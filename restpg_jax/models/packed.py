"""Attends over packed rows, for training: one function, four ways.

  attend(q_BLNH, k_BLKH, v_BLKH, segment_BL, local, window=, cap=) -> y_BLNH

A token sees itself and what is before it in its own segment, and in a layer
that is `local` (a traced bool; None: no layer is) a window of that only. Texts
lie in a row without gaps, so a distance in the row is one in the segment.

  naive        all scores at once: the reference
  blocks       a few queries at a time, scores never kept: runs everywhere
  splash       Pallas kernel of a TPU, see splash.py
  dot_product  cuDNN's kernel on a GPU: 16-bit types, no soft cap; an array
               [B, 1, L, L] tells it who sees whom
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from restpg_jax.models import attention, splash

FAR = jnp.iinfo(jnp.int32).max  # the window of a layer that sees all
DOT_PRODUCT_HEAD = 128  # larger ones cuDNN has from Hopper on only
# attend(q, k, v, segment_BL, local, window=, cap=), see above
Attend = Callable[..., jax.Array]


def naive(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  segment_BL: jax.Array,
  local: jax.Array | bool | None,
  *,
  window: int,
  cap: float,
) -> jax.Array:
  """Attends with the scores of all pairs at once."""
  y = attention.causal_attention(
    *(q, k, v),
    segment_BM=segment_BL,
    window=window_of(local, window),
    cap=cap,
  )
  return checkpoint_name(y, attention.OUTPUT)


def blocks(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  segment_BL: jax.Array,
  local: jax.Array | bool | None,
  *,
  window: int,
  cap: float,
) -> jax.Array:
  """Attends a few queries at a time; gradients compute scores once more."""
  y = attention.blockwise_causal_attention(
    *(q, k, v),
    segment_BL=segment_BL,
    window=window_of(local, window),
    cap=cap,
    remat=True,
  )
  return checkpoint_name(y, attention.OUTPUT)


def dot_product(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  segment_BL: jax.Array,
  local: jax.Array | bool | None,
  *,
  window: int,
  cap: float,
  kernel: Literal['xla', 'cudnn'] = 'cudnn',
) -> jax.Array:
  """Attends with a kernel of jax.nn.dot_product_attention, without a cap."""
  assert not cap  # see `fault`
  apart_LL = jnp.arange(q.shape[1])[:, None] - jnp.arange(q.shape[1])
  seen_BLL = segment_BL[:, :, None] == segment_BL[:, None]
  seen_BLL &= apart_LL >= 0
  if (limit := window_of(local, window)) is not None:
    seen_BLL &= apart_LL < limit
  y = jax.nn.dot_product_attention(
    q, k, v, mask=seen_BLL[:, None], scale=1.0, implementation=kernel
  )
  return checkpoint_name(y, attention.OUTPUT)


NAMES = {
  'naive': naive,
  'blocks': blocks,
  'splash': splash.splash,
  'dot_product': dot_product,
}


def fault(
  name: str,
  platform: str,
  *,
  cap: float,
  dtype: jax.typing.DTypeLike,
  context_parallel: int = 1,
) -> str:
  """Says why an attention of NAMES is not available there; '' where it is."""
  if name == 'splash' and platform != 'tpu':
    return f'runs on a TPU only, this is a {platform}'
  if name != 'dot_product':
    return ''
  if platform != 'gpu':
    return f'runs on a GPU only, this is a {platform}'
  if jnp.dtype(dtype).itemsize != 2:
    return f'needs train.compute_dtype=bfloat16, it is {dtype}'
  if cap:
    return f'has no soft cap, this model caps scores at {cap:g}'
  if context_parallel > 1:
    return f'needs whole rows, but compute.sequence is {context_parallel}'
  return ''


def default(
  platform: str,
  *,
  head_size: int,
  cap: float,
  dtype: jax.typing.DTypeLike,
  context_parallel: int = 1,
) -> str:
  """Returns the name of the fastest attention that is available there."""
  fast = 'blocks'
  if platform == 'tpu':
    fast = 'splash'
  elif platform == 'gpu' and head_size <= DOT_PRODUCT_HEAD:
    fast = 'dot_product'
  unavailable = fault(
    *(fast, platform), cap=cap, dtype=dtype, context_parallel=context_parallel
  )
  return 'blocks' if unavailable else fast


def window_of(local: jax.Array | bool | None, window: int) -> jax.Array | None:
  """Returns the tokens that a layer sees; None: all.

  The number is traced where `local` is.
  """
  return None if local is None else jnp.where(local, window, FAR)
