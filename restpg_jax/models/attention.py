"""Attention as the Gemma family and Llama do it, in each of its forms.

Heads are grouped over shared keys and values, positions are rotary, scores may
be capped, and a `window` keeps a layer local: a token sees that many, its own
included. All scores, angles and softmaxes are float32.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

MASKED = -2.0e38  # finite: a fully masked row must not become NaN


class Cache(NamedTuple):
  """Keys and values of all layers (leading axis) for P prompts, G samples."""

  prefix_k: jax.Array  # [layers, P, S, K, H]
  prefix_v: jax.Array
  suffix_k: jax.Array  # [layers, P, G, O, K, H]
  suffix_v: jax.Array


class Place(NamedTuple):
  """Where the tokens of one `step` stand."""

  t: jax.Array  # scalar: index in the suffix, the same for all samples
  prompt_length_P: jax.Array


class Behind(NamedTuple):
  """Where the tokens of one `extend` stand: C rows, each behind a prefix."""

  prefix_C: jax.Array  # which of the P prefilled ones
  length_C: jax.Array  # its tokens; 0: nothing of it is seen
  position_CR: jax.Array  # of each token in the whole text
  seen_CRR: jax.Array  # bool: the tokens of its row that a token sees


def causal(q_BLNH, k_BLKH, v_BLKH, *, window=None, cap: float = 0.0):
  """Each position sees itself and those before it, [B, L, N, H]."""
  B, L, N, H = q_BLNH.shape
  K = k_BLKH.shape[2]
  # The heads that share a key head become one matrix: fewer, larger products.
  q = q_BLNH.reshape(B, L, K, N // K, H).transpose(0, 2, 3, 1, 4)
  q = q.reshape(B, K, N // K * L, H)
  scores = jnp.einsum(
    'bkqh,bmkh->bkqm', q, k_BLKH, preferred_element_type=jnp.float32
  ).reshape(B, K, N // K, L, L)
  seen_LL = jnp.tril(jnp.ones((L, L), bool))
  if window is not None:
    seen_LL &= jnp.arange(L)[:, None] - jnp.arange(L) < window
  scores = jnp.where(seen_LL, soft_cap(scores, cap), MASKED)
  probs = jax.nn.softmax(scores, axis=-1)
  probs = probs.astype(v_BLKH.dtype).reshape(B, K, N // K * L, L)
  y = jnp.einsum('bkqm,bmkh->bkqh', probs, v_BLKH)
  y = y.reshape(B, K, N // K, L, H).transpose(0, 3, 1, 2, 4)
  return y.reshape(B, L, N, H)


def shared(
  q_PGNH,
  k_PGKH,
  v_PGKH,
  cache: Cache,
  place: Place,
  *,
  window=None,
  cap: float = 0.0,
):
  """One query a sample over its prompt's prefix and its own suffix.

  The prefix is stored once a prompt and read once for its G samples. Returns
  [P, G, N, H] and this token's keys and values, shaped for the suffix.
  """
  P, G, N, H = q_PGNH.shape
  K = k_PGKH.shape[2]
  q = q_PGNH.reshape(P, G, K, N // K, H)
  product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
  S, O = cache.prefix_k.shape[1], cache.suffix_k.shape[2]  # noqa: E741
  in_prompt_PS = jnp.arange(S) < place.prompt_length_P[:, None]
  in_suffix_O = jnp.arange(O) < place.t
  if window is not None:  # the query stands at prompt_length + t
    first_P = place.prompt_length_P + place.t - window + 1
    in_prompt_PS &= jnp.arange(S) >= first_P[:, None]
    in_suffix_O &= jnp.arange(O) > place.t - window
  prefix = soft_cap(product('pgkrh,pskh->pgkrs', q, cache.prefix_k), cap)
  suffix = soft_cap(product('pgkrh,pgokh->pgkro', q, cache.suffix_k), cap)
  own = soft_cap(product('pgkrh,pgkh->pgkr', q, k_PGKH), cap)
  scores = [
    jnp.where(in_prompt_PS[:, None, None, None], prefix, MASKED),
    jnp.where(in_suffix_O, suffix, MASKED),
    own[..., None],
  ]
  probs = jax.nn.softmax(jnp.concatenate(scores, -1), axis=-1)
  probs = probs.astype(v_PGKH.dtype)
  y = product('pgkrs,pskh->pgkrh', probs[..., :S], cache.prefix_v)
  y += product('pgkro,pgokh->pgkrh', probs[..., S:-1], cache.suffix_v)
  y += probs[..., -1:] * v_PGKH[:, :, :, None]
  new = k_PGKH[:, :, None], v_PGKH[:, :, None]
  return y.reshape(P, G, N, H).astype(q_PGNH.dtype), new


def extended(
  q_CRNH,
  k_CRKH,
  v_CRKH,
  prefix: tuple[jax.Array, jax.Array],
  behind: Behind,
  *,
  window=None,
  cap: float = 0.0,
):
  """Rows over their prefix and over what they see of themselves.

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
    place_CS = jnp.broadcast_to(jnp.arange(S), (C, S))
    place_CM = jnp.concatenate([place_CS, behind.position_CR], axis=1)
    seen_CRM &= behind.position_CR[..., None] - place_CM[:, None] < window
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


def soft_cap(x, cap: float):
  """cap * tanh(x / cap), which stays inside +-cap; 0 leaves x as it is."""
  return cap * jnp.tanh(x / cap) if cap else x


def speeds(
  head_size: int, base: float, *, scale: float = 1.0, context: int = 0
):
  """Radians that each pair of dimensions turns a token, [H / 2].

  `scale` slows all of them (positions are divided by it), or, with `context`
  (tokens of the first training), only the slow ones as Llama 3.1 does it: all
  of it from one turn in `context` tokens on, nothing from four, blended
  between (arXiv 2407.21783 and its published code).
  """
  half = head_size // 2
  fast = base ** -(jnp.arange(half, dtype=jnp.float32) / half)
  if scale == 1:
    return fast
  if not context:
    return fast / scale
  turns = fast * context / (2 * math.pi)
  keep = jnp.clip((turns - 1) / (4 - 1), 0, 1)
  return keep * fast + (1 - keep) * fast / scale


def rotate(x, positions, speed):
  """Rotary positions on the last axis: x [..., heads, H], positions [...].

  Angles in float32: in bfloat16 the positions 8190 and 8191 would be 8192.
  """
  half = x.shape[-1] // 2
  angle = positions[..., None, None].astype(jnp.float32) * speed
  a, b = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  return jnp.concatenate(
    [a * cos - b * sin, b * cos + a * sin], axis=-1
  ).astype(x.dtype)
