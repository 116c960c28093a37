"""Attention over packed rows, for training: one function, four ways.

  attend(q_BLNH, k_BLKH, v_BLKH, segment_BL, local, window=, cap=) -> y_BLNH

A token sees itself and what is before it in its own segment, and in a layer
that is `local` (a traced bool; None: no layer is) a window of that only. Texts
lie in a row without gaps, so a distance in the row is one in the segment.

  naive        all scores at once: the reference
  blocks       a few queries at a time, scores never kept: runs everywhere
  splash       Pallas kernel of a TPU; not partitioned by the compiler, so it
               is to run in a shard_map over rows, or over parts of them
  dot_product  cuDNN's kernel on a GPU: 16-bit types, no soft cap; an array
               [B, 1, L, L] tells it who sees whom
"""

import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from restpg_jax.models import attention

FAR = jnp.iinfo(jnp.int32).max  # the window of a layer that sees all
OUTPUT = 'attention output'  # its name for remat policies
LANES = 128  # rows of `splash` are multiples of it
TILE = 512  # queries, and keys, that `splash` has at hand, at most
TILES = 'q', 'kv', 'kv_compute', 'q_dkv', 'kv_dkv', 'kv_dkv_compute'
DOT_PRODUCT_HEAD = 128  # larger ones cuDNN has from Hopper on only


def naive(q, k, v, segment_BL, local, *, window: int, cap: float):
  window = window_of(local, window)
  y = attention.causal(q, k, v, segment_BM=segment_BL, window=window, cap=cap)
  return checkpoint_name(y, OUTPUT)


def blocks(q, k, v, segment_BL, local, *, window: int, cap: float):
  y = attention.causal_in_blocks(
    *(q, k, v),
    segment_BL=segment_BL,
    window=window_of(local, window),
    cap=cap,
    remat=True,
  )
  return checkpoint_name(y, OUTPUT)


def splash(
  q,
  k,
  v,
  segment_BL,
  local,
  *,
  window: int,
  cap: float,
  part=None,
  parts: int = 1,
  interpret=False,
):
  """`part`, a traced number: the queries are those of the so-many-th of `parts`
  equal parts of the row, keys and segments are those of all of it."""
  # Here, because it takes a second that nobody else is to wait for.
  from jax.experimental.pallas.ops.tpu import splash_attention as library

  _, own, N, _ = q.shape
  L = own * parts
  size = math.gcd(TILE, own)
  tiles = {f'block_{name}': size for name in TILES}

  def kernel(mask: library.Mask):
    made = library.make_splash_mha(
      library.MultiHeadMask([mask] * N),
      # One kernel for all gradients computes scores once, not twice.
      block_sizes=library.BlockSizes(**tiles, use_fused_bwd_kernel=True),
      attn_logits_soft_cap=cap or None,
      head_shards=1,
      q_seq_shards=parts,
      residual_checkpoint_name=OUTPUT,
      interpret=interpret,
    )
    if parts > 1:
      made = _part_of(made, part, parts)

    def row(q_lNH, k_LKH, v_LKH, segment_L):
      by_head = (x.swapaxes(0, 1) for x in (q_lNH, k_LKH, v_LKH))
      segment_l = segment_L
      if parts > 1:
        segment_l = jax.lax.dynamic_slice_in_dim(segment_L, part * own, own)
      segments = library.SegmentIds(segment_l, segment_L)
      return made(*by_head, segments).swapaxes(0, 1)

    return jax.vmap(row)

  far = kernel(library.CausalMask((L, L)))
  if local is None:
    return far(q, k, v, segment_BL)
  near = kernel(library.LocalMask((L, L), (window - 1, 0), 0))
  return jax.lax.cond(local, near, far, q, k, v, segment_BL)


def _part_of(kernel, part, parts: int):
  """A kernel of `splash` with what it knows of one part of the queries."""

  def one(x, axis):
    size = x.shape[axis] // parts
    return jax.lax.dynamic_slice_in_dim(x, part * size, size, axis)

  def own(mask):
    """Tiles lie by (head, queries, keys)."""
    by_tile = {
      name: one(x, 1)
      for name in ('data_next', 'mask_next', 'block_mask')
      if (x := getattr(mask, name)) is not None
    }
    if mask.q_sequence is not None:
      by_tile['q_sequence'] = one(mask.q_sequence, 0)
    return mask._replace(**by_tile)

  masks = kernel.fwd_mask_info, kernel.dq_mask_info, kernel.dkv_mask_info
  return type(kernel)(*(mask and own(mask) for mask in masks), **kernel.kwargs)


def dot_product(
  q, k, v, segment_BL, local, *, window: int, cap: float, kernel='cudnn'
):
  assert not cap  # see `fault`
  apart_LL = jnp.arange(q.shape[1])[:, None] - jnp.arange(q.shape[1])
  seen_BLL = segment_BL[:, :, None] == segment_BL[:, None]
  seen_BLL &= apart_LL >= 0
  if local is not None:
    seen_BLL &= apart_LL < window_of(local, window)
  y = jax.nn.dot_product_attention(
    q, k, v, mask=seen_BLL[:, None], scale=1.0, implementation=kernel
  )
  return checkpoint_name(y, OUTPUT)


NAMES = {
  'naive': naive,
  'blocks': blocks,
  'splash': splash,
  'dot_product': dot_product,
}


def fault(
  name: str, platform: str, *, cap: float, dtype, sharing: int = 1
) -> str:
  """Why an attention of NAMES cannot be had there; empty where it can."""
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
  if sharing > 1:
    return f'needs whole rows, but compute.sequence is {sharing}'
  return ''


def default(platform: str, *, head_size: int, **how) -> str:
  """The fastest that can be had there."""
  fast = 'blocks'
  if platform == 'tpu':
    fast = 'splash'
  elif platform == 'gpu' and head_size <= DOT_PRODUCT_HEAD:
    fast = 'dot_product'
  return 'blocks' if fault(fast, platform, **how) else fast


def window_of(local, window: int):
  """Tokens that a layer sees, as a number that may be traced; None: all."""
  return None if local is None else jnp.where(local, window, FAR)
