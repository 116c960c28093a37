"""Attention as the Gemma family and Llama do it, in each of its forms.

Heads are grouped over shared keys and values, scores may be capped, and a
`window` keeps a layer local: a token sees that many, its own included. All
scores and softmaxes are float32.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from restpg_jax import integers

Window = jax.Array | int | None  # tokens that are seen; None: all
OUTPUT = 'attention output'  # its name for remat policies
MASKED = -2.0e38  # finite: a fully masked row must not become NaN
QUERIES, BLOCKS = 128, 8  # blockwise attention: at least, at most


class Cache(NamedTuple):
  """Keys and values of a layer for A prompts and G samples of each.

  What a loop of steps only reads, and the little that it writes, stand apart:
  carried through the loop, the large arrays would be copied. Their keys lie
  the way a query is multiplied with them.
  """

  prefix_k: jax.Array  # [A, K, H, S]: the prompts
  prefix_v: jax.Array  # [A, K, S, H]
  suffix_k: jax.Array  # [A, G, K, H, O]: each sample's whole chunks
  suffix_v: jax.Array  # [A, G, K, O, H]
  chunk_k: jax.Array  # [A, G, K, C, H]: each sample's tokens since
  chunk_v: jax.Array

  def with_token(self, k: jax.Array, v: jax.Array, c: jax.Array) -> 'Cache':
    """Returns it with keys and values [A, G, K, 1, H] at c of the chunk."""
    start = (0, 0, 0, c, 0)
    return self._replace(
      chunk_k=jax.lax.dynamic_update_slice(self.chunk_k, k, start),
      chunk_v=jax.lax.dynamic_update_slice(self.chunk_v, v, start),
    )

  def with_prompt(
    self, k: jax.Array, v: jax.Array, a: jax.Array | int
  ) -> 'Cache':
    """Returns it with keys and values [1, S', K, H] of a prompt at index a.

    A, the number of prompts, leaves it as it is.
    """
    k, v = k[0].transpose(1, 2, 0), v[0].swapaxes(0, 1)
    length = v.shape[1]
    return self._replace(
      prefix_k=self.prefix_k.at[a, :, :, :length].set(k, mode='drop'),
      prefix_v=self.prefix_v.at[a, :, :length].set(v, mode='drop'),
    )

  def with_chunk(self, begin_AG: jax.Array) -> 'Cache':
    """Returns it with each sample's chunk in its suffix, from `begin` on.

    Samples go one after the other: a scatter would copy the whole suffix to
    turn it.
    """

    def flat(x):
      return x.reshape(-1, *x.shape[2:])

    def one(suffix, new):
      n, begin, new_k, new_v = new
      k = jax.lax.dynamic_update_slice(suffix[0], new_k[None], (n, 0, 0, begin))
      v = jax.lax.dynamic_update_slice(suffix[1], new_v[None], (n, 0, begin, 0))
      return (k, v), None

    begin_N = begin_AG.reshape(-1)
    chunk = flat(self.chunk_k.swapaxes(-1, -2)), flat(self.chunk_v)
    (k, v), _ = jax.lax.scan(
      one,
      (flat(self.suffix_k), flat(self.suffix_v)),
      (jnp.arange(len(begin_N)), begin_N, *chunk),
    )
    return self._replace(
      suffix_k=k.reshape(self.suffix_k.shape),
      suffix_v=v.reshape(self.suffix_v.shape),
    )


class StepPositions(NamedTuple):
  """The positions of the tokens of one `step`."""

  length_A: jax.Array  # of the prompts
  begun_AG: jax.Array  # tokens in the suffix, before this chunk
  c: jax.Array  # scalar: tokens in this chunk so far, the same for all

  def position(self) -> jax.Array:
    """Returns the position of each sample's next token, [A, G]."""
    return self.length_A[:, None] + self.begun_AG + self.c


class PartialSoftmax(NamedTuple):
  """Attention over some of the keys, to be merged with that over others."""

  top: jax.Array  # [..]: the largest score
  mass: jax.Array  # [..]: sum of exp(score - top)
  y: jax.Array  # [.., H]: sum of exp(score - top) v

  @classmethod
  def nothing(cls, q: jax.Array) -> 'PartialSoftmax':
    """Returns that of no keys, for queries q [.., H]."""
    zeros = jnp.zeros(q.shape[:-1], jnp.float32)
    return cls(zeros + MASKED, zeros, jnp.zeros(q.shape, jnp.float32))


class SuffixPositions(NamedTuple):
  """The positions of the tokens of one `extend`: C rows behind prefixes."""

  prefix_C: jax.Array  # which of the P prefilled ones
  length_C: jax.Array  # its tokens; 0: nothing of it is seen
  position_CR: jax.Array  # of each token in the whole text
  seen_CRR: jax.Array  # bool: the tokens of its row that a token sees


def causal_attention(
  q_BLNH: jax.Array,
  k_BMKH: jax.Array,
  v_BMKH: jax.Array,
  *,
  window: Window = None,
  cap: float = 0.0,
  segment_BM: jax.Array | None = None,
) -> jax.Array:
  """Attends from each position to itself and those before it, [B, L, N, H].

  The queries are the last L of M positions. With segments, a position sees
  its own only.
  """
  B, L, N, H = q_BLNH.shape
  M, K = k_BMKH.shape[1:3]
  # The heads that share a key head become one matrix: fewer, larger products.
  q = q_BLNH.reshape(B, L, K, N // K, H).transpose(0, 2, 3, 1, 4)
  q = q.reshape(B, K, N // K * L, H)
  scores = jnp.einsum(
    'bkqh,bmkh->bkqm', q, k_BMKH, preferred_element_type=jnp.float32
  ).reshape(B, K, N // K, L, M)
  seen_LM = jnp.tril(jnp.ones((L, M), bool), M - L)
  if window is not None:
    seen_LM &= jnp.arange(M - L, M)[:, None] - jnp.arange(M) < window
  seen = seen_LM
  if segment_BM is not None:
    alike_BLM = segment_BM[:, M - L :, None] == segment_BM[:, None]
    seen = (seen_LM & alike_BLM)[:, None, None]
  scores = jnp.where(seen, soft_cap(scores, cap), MASKED)
  probs = jax.nn.softmax(scores, axis=-1)
  probs = probs.astype(v_BMKH.dtype).reshape(B, K, N // K * L, M)
  y = jnp.einsum('bkqm,bmkh->bkqh', probs, v_BMKH)
  y = y.reshape(B, K, N // K, L, H).transpose(0, 3, 1, 2, 4)
  return y.reshape(B, L, N, H)


def blockwise_causal_attention(
  q_BLNH: jax.Array,
  k_BLKH: jax.Array,
  v_BLKH: jax.Array,
  *,
  window: Window = None,
  cap: float = 0.0,
  segment_BL: jax.Array | None = None,
  remat: bool = False,
) -> jax.Array:
  """Computes causal_attention a few queries at a time.

  It is little more than half of the work, as a block reads only the keys that
  it can see, and never holds the scores of all pairs; with `remat`, gradients
  do not keep them either.
  """
  ends = block_ends(q_BLNH.shape[1])

  def block(q_BlNH, k_BMKH, v_BMKH, segment_BM):
    return causal_attention(
      *(q_BlNH, k_BMKH, v_BMKH), window=window, cap=cap, segment_BM=segment_BM
    )

  if remat:
    block = jax.checkpoint(block)
  return jnp.concatenate(
    [
      block(
        q_BLNH[:, begin:end],
        k_BLKH[:, :end],
        v_BLKH[:, :end],
        None if segment_BL is None else segment_BL[:, :end],
      )
      for begin, end in zip([0, *ends], ends, strict=False)
    ],
    axis=1,
  )


def block_ends(length: int) -> list[int]:
  """Returns where blockwise attention ends its blocks: 300 -> 128, 256, 300."""
  size = max(QUERIES, integers.cdiv(length, BLOCKS))
  return [*range(size, length, size), length]


def shared_prefix_attention(
  q_AGNH: jax.Array,
  k_AGKH: jax.Array,
  v_AGKH: jax.Array,
  cache: Cache,
  positions: StepPositions,
  *,
  block: int,
  window: Window = None,
  cap: float = 0.0,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """Attends from one query a sample to its prompt, its own tokens and itself.

  The prompt is stored once and read once for its G samples, the suffix in
  blocks of so many tokens, as far as there are any. Returns
  [A, G, N, H] and this token's keys and values, [A, G, K, 1, H].
  """
  A, G, N, H = q_AGNH.shape
  K = k_AGKH.shape[2]
  r = N // K
  q_AGKrH = q_AGNH.reshape(A, G, K, r, H)
  S, O, C = (x.shape[-2] for x in cache[1::2])  # noqa: E741
  block = math.gcd(O, block)
  position_AG = positions.position()

  def seen(index, valid, offset_AG):
    """Returns which keys count, [A, G, 1, 1, keys]; key n is at offset + n."""
    if window is not None:
      valid &= offset_AG[..., None] + index > position_AG[..., None] - window
    return valid[:, :, None, None]

  index = jnp.arange(S)
  in_prompt = seen(
    index,
    jnp.broadcast_to(index < positions.length_A[:, None, None], (A, G, S)),
    jnp.zeros((A, G), jnp.int32),
  )
  # All samples of a prompt are one matrix against its keys.
  grouped = q_AGKrH.transpose(0, 2, 1, 3, 4).reshape(A, K, G * r, H)
  in_prompt = jnp.broadcast_to(in_prompt, (A, G, 1, r, S))
  in_prompt = in_prompt.transpose(0, 2, 1, 3, 4).reshape(A, 1, G * r, S)
  prompt = partial_softmax(
    grouped, cache.prefix_k, cache.prefix_v, in_prompt, cap
  )

  def ungroup(x):
    return jnp.moveaxis(x.reshape(A, K, G, r, *x.shape[3:]), 2, 1)

  parts = [PartialSoftmax(*map(ungroup, prompt))]
  if O:
    begin_AG = jnp.broadcast_to(positions.length_A[:, None], (A, G))
    attend = functools.partial(_block, q_AGKrH, cache, cap)

    def further(n, before):
      index = n * block + jnp.arange(block)
      earlier = seen(index, index < positions.begun_AG[..., None], begin_AG)
      return merge([before, attend(n * block, block, earlier)])

    # As far as the longest sample reaches. What more blocks would add is
    # exactly nothing, so a sample does not depend on its neighbours' lengths.
    nothing = PartialSoftmax.nothing(q_AGKrH)
    blocks = -(-jnp.max(positions.begun_AG) // block)
    parts.append(jax.lax.fori_loop(0, blocks, further, nothing))
  index = jnp.arange(C)
  begin_AG = positions.length_A[:, None] + positions.begun_AG
  valid = jnp.broadcast_to(index < positions.c, (A, G, C))
  now = seen(index, valid, begin_AG)
  chunk_k = cache.chunk_k.swapaxes(-1, -2)
  parts.append(partial_softmax(q_AGKrH, chunk_k, cache.chunk_v, now, cap))
  k, v = k_AGKH[:, :, :, None], v_AGKH[:, :, :, None]
  itself = k_AGKH[..., None], v, jnp.bool(True)
  parts.append(partial_softmax(q_AGKrH, *itself, cap))
  total = merge(parts)
  y = total.y / total.mass[..., None]
  return y.reshape(A, G, N, H).astype(q_AGNH.dtype), (k, v)


def partial_softmax(
  q: jax.Array, k: jax.Array, v: jax.Array, seen: jax.Array, cap: float
) -> PartialSoftmax:
  """Attends from q [.., Q, H] to k [.., H, M], v [.., M, H], where `seen`.

  seen is [.., Q, M].
  """
  product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
  scores = soft_cap(product('...qh,...hm->...qm', q, k), cap)
  scores = jnp.where(seen, scores, MASKED)
  top = jnp.max(scores, axis=-1)
  weights = jnp.exp(scores - top[..., None])
  y = product('...qm,...mh->...qh', weights.astype(v.dtype), v)
  return PartialSoftmax(top, jnp.sum(weights, axis=-1), y)


def _block(
  q_AGKrH: jax.Array,
  cache: Cache,
  cap: float,
  start: jax.Array,
  size: int,
  seen: jax.Array,
) -> PartialSoftmax:
  """Attends to `size` tokens of the suffix."""
  k = jax.lax.dynamic_slice_in_dim(cache.suffix_k, start, size, axis=-1)
  v = jax.lax.dynamic_slice_in_dim(cache.suffix_v, start, size, axis=-2)
  return partial_softmax(q_AGKrH, k, v, seen, cap)


def merge(parts: Sequence[PartialSoftmax]) -> PartialSoftmax:
  """Returns the attention over the keys of all parts."""
  top = functools.reduce(jnp.maximum, [p.top for p in parts])
  # A part of which nothing is seen has the top MASKED: its weight is 0.
  weights = [jnp.exp(p.top - top) for p in parts]
  weighted = list(zip(weights, parts, strict=True))
  mass = jnp.asarray(sum(w * p.mass for w, p in weighted))
  y = jnp.asarray(sum(w[..., None] * p.y for w, p in weighted))
  return PartialSoftmax(top, mass, y)


def suffix_attention(
  q_CRNH: jax.Array,
  k_CRKH: jax.Array,
  v_CRKH: jax.Array,
  prefix: tuple[jax.Array, jax.Array],
  behind: SuffixPositions,
  *,
  window: Window = None,
  cap: float = 0.0,
) -> jax.Array:
  """Attends from rows to their prefix and to what they see of themselves.

  prefix: keys and values [P, S, K, H], stored once for all rows that share
  them. Returns [C, R, N, H].
  """
  C, R, N, H = q_CRNH.shape
  (_, S, K, _), M = prefix[0].shape, prefix[0].shape[1] + R
  k_CMKH, v_CMKH = (
    jnp.concatenate([shared_PSKH[behind.prefix_C], own_CRKH], axis=1)
    for shared_PSKH, own_CRKH in zip(prefix, (k_CRKH, v_CRKH), strict=True)
  )
  in_prefix_CS = jnp.arange(S) < behind.length_C[:, None]
  in_prefix_CRS = jnp.broadcast_to(in_prefix_CS[:, None], (C, R, S))
  seen_CRM = jnp.concatenate([in_prefix_CRS, behind.seen_CRR], axis=-1)
  if window is not None:
    position_CS = jnp.broadcast_to(jnp.arange(S), (C, S))
    position_CM = jnp.concatenate([position_CS, behind.position_CR], axis=1)
    seen_CRM &= behind.position_CR[..., None] - position_CM[:, None] < window
  q = q_CRNH.reshape(C, R, K, N // K, H).transpose(0, 2, 3, 1, 4)
  scores = jnp.einsum(
    'ckqh,cmkh->ckqm',
    q.reshape(C, K, N // K * R, H),
    k_CMKH,
    preferred_element_type=jnp.float32,
  ).reshape(C, K, N // K, R, M)
  scores = jnp.where(seen_CRM[:, None, None], soft_cap(scores, cap), MASKED)
  probs = jax.nn.softmax(scores, axis=-1)
  probs = probs.astype(v_CRKH.dtype).reshape(C, K, N // K * R, M)
  y = jnp.einsum('ckqm,cmkh->ckqh', probs, v_CMKH)
  y = y.reshape(C, K, N // K, R, H).transpose(0, 3, 1, 2, 4)
  return y.reshape(C, R, N, H)


def soft_cap(x: jax.Array, cap: float) -> jax.Array:
  """Returns cap * tanh(x / cap), which stays inside +-cap; x itself for 0."""
  return cap * jnp.tanh(x / cap) if cap else x
