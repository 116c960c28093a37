"""Attends over packed rows by the Pallas kernel `splash` of a TPU.

The kernel is not partitioned by the compiler: it is to run in a shard_map over
rows, or over parts of them. With the first part of a row a device would have
little to see, with the last much; so each has two pieces of it (`turns`).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax.models import attention

LANES = 128  # pieces of rows are multiples of it
TILE = 512  # queries, and keys, that the kernel has at hand, at most
QUERIES = 'q', 'q_dkv'
KEYS = 'kv', 'kv_compute', 'kv_dkv', 'kv_dkv_compute'


def multiple(parts: int) -> int:
  """Returns the number that divides the lengths of rows, for these parts."""
  return LANES * row_pieces(parts)


def row_pieces(parts: int) -> int:
  """Returns the number of pieces of a row."""
  return 2 * parts if parts > 1 else 1


def turns(length: int, parts: int) -> np.ndarray:
  """Returns where each token of a turned row stands in the natural row.

  Part p has the p-th piece and the p-th from the end: each part sees equally
  many tokens. 8 tokens in 2 parts  ->  0 1 6 7, 2 3 4 5.
  """
  piece = np.arange(length, dtype=np.int32).reshape(row_pieces(parts), -1)
  both = [np.concatenate([piece[p], piece[-1 - p]]) for p in range(parts)]
  return np.concatenate(both) if parts > 1 else piece[0]


def splash(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  segment_BL: jax.Array,
  local: jax.Array | bool | None,
  *,
  window: int,
  cap: float,
  part: jax.Array | None = None,
  parts: int = 1,
  interpret: bool = False,
) -> jax.Array:
  """Attends as packed.py says.

  In turned rows (parts > 1) q has one part, number `part` (traced); k, v and
  segments have all.
  """
  # Here, because it takes a second that nobody else is to wait for.
  from jax.experimental.pallas.ops.tpu import splash_attention as library

  _, own, N, _ = q.shape
  L, order = own * parts, turns(own * parts, parts)
  tile = math.gcd(TILE, L // row_pieces(parts))  # of one piece
  sizes: dict[str, Any] = {f'block_{name}': tile for name in QUERIES}
  sizes |= {f'block_{name}': math.gcd(TILE, L) for name in KEYS}

  def kernel(mask: Any) -> Callable[..., jax.Array]:
    mask.q_sequence = order  # masks have it, their base class does not say so
    attend: Any = library.make_splash_mha(
      library.MultiHeadMask([mask] * N),
      # One kernel for all gradients computes scores once, not twice.
      block_sizes=library.BlockSizes(**sizes, use_fused_bwd_kernel=True),
      attn_logits_soft_cap=cap or None,
      head_shards=1,
      q_seq_shards=parts,
      residual_checkpoint_name=attention.OUTPUT,
      interpret=interpret,
    )
    if part is not None:
      attend = _part_of(attend, part, parts)

    def row(q_lNH, k_LKH, v_LKH, segment_L):
      segment_l = segment_L
      if part is not None:
        segment_l = jax.lax.dynamic_slice_in_dim(segment_L, part * own, own)
        k_LKH, v_LKH, segment_L = (
          _natural(x, parts) for x in (k_LKH, v_LKH, segment_L)
        )
      by_head = (x.swapaxes(0, 1) for x in (q_lNH, k_LKH, v_LKH))
      segments = library.SegmentIds(segment_l, segment_L)
      return attend(*by_head, segments).swapaxes(0, 1)

    return jax.vmap(row)

  if local is None:
    return kernel(library.CausalMask((L, L)))(q, k, v, segment_BL)
  near = kernel(library.LocalMask((L, L), (window - 1, 0), 0))
  if local is True:
    return near(q, k, v, segment_BL)
  far = kernel(library.CausalMask((L, L)))
  return jax.lax.cond(local, near, far, q, k, v, segment_BL)


def _natural(x: jax.Array, parts: int) -> jax.Array:
  """Returns a turned [L, ..] in its own order; a gather would take longer."""
  both = x.reshape(parts, 2, -1, *x.shape[1:])
  return jnp.concatenate([both[:, 0], both[::-1, 1]]).reshape(x.shape)


def _part_of(kernel: Any, part: jax.Array, parts: int) -> Any:
  """Returns the kernel with what it knows of one part of the queries."""

  def one(x, axis):
    size = x.shape[axis] // parts
    return jax.lax.dynamic_slice_in_dim(x, part * size, size, axis)

  def own(mask):
    """Tiles lie by (head, queries, keys)."""
    own_fields = {
      name: one(x, 1)
      for name in ('data_next', 'mask_next', 'block_mask')
      if (x := getattr(mask, name)) is not None
    }
    if mask.q_sequence is not None:
      own_fields['q_sequence'] = one(mask.q_sequence, 0)
    return mask._replace(**own_fields)

  masks = kernel.fwd_mask_info, kernel.dq_mask_info, kernel.dkv_mask_info
  return type(kernel)(*(mask and own(mask) for mask in masks), **kernel.kwargs)
