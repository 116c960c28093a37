"""The Gemma decoder in Flax: policy, reasoner and judge are all one of these.

Pre-norm blocks with RMSNorm (1 + w), rotary positions, multi-query or grouped
attention, a gated GeLU and an embedding that also gives the logits (Gemma 1,
arXiv 2403.08295). Layers are stacked on a leading axis and scanned.

Three ways through the same weights, equal up to rounding:
  hidden    whole rows at once: training
  prefill   the same, and keeps each layer's keys and values
  step      one token for each of P x G samples, G of which share a prompt:
            prompts' keys and values are stored and read once for the group
"""

import dataclasses
import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

MASKED = -2.0e38  # finite: a fully masked row must not become NaN
ROPE_BASE = 10_000


@dataclasses.dataclass(frozen=True)
class Size:
  """The shape of a model."""

  layers: int
  width: int  # D
  hidden: int  # of the gated feed-forward
  heads: int  # N
  kv_heads: int  # K
  head_size: int  # H
  vocabulary: int  # V


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


class Decoder(nn.Module):
  """tokens -> hidden states and logits."""

  size: Size
  dtype: jnp.dtype = jnp.float32  # of matrix products; weights stay float32
  unroll: int = 1  # layers compiled in one piece; more is faster on a CPU

  def setup(self):
    self.embedding = self.param(
      'embedding',
      nn.initializers.normal(0.02),
      (self.size.vocabulary, self.size.width),
    )
    stack = nn.scan(
      Block,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=(0, nn.broadcast, nn.broadcast),
      length=self.size.layers,
      unroll=self.unroll,
    )
    self.layers = stack(self.size, self.dtype)
    self.final_norm = RMSNorm()

  def __call__(self, tokens_BL):
    """Logits of whole rows, [B, L, V]."""
    return self.logits(self.hidden(tokens_BL))

  def hidden(self, tokens_BL):
    """Last hidden states [B, L, D]; rows are right-padded."""
    positions_BL = jnp.broadcast_to(
      jnp.arange(tokens_BL.shape[1]), tokens_BL.shape
    )
    x_BLD, _ = self.layers(self.embed(tokens_BL), None, positions_BL, None)
    return self.final_norm(x_BLD)

  def prefill(self, tokens_PS):
    """Hidden states [P, S, D] and the (keys, values) of all layers."""
    positions_PS = jnp.broadcast_to(
      jnp.arange(tokens_PS.shape[1]), tokens_PS.shape
    )
    x_PSD, kv = self.layers(
      self.embed(tokens_PS), None, positions_PS, 'prefill'
    )
    return self.final_norm(x_PSD), kv

  def cache(self, kv, samples: int, length: int) -> 'Cache':
    """Room for `length` tokens of each of `samples` behind prefilled prompts.

    Made inside the compiled program: a cache handed into a loop from outside
    is copied (DESIGN section 7).
    """
    k, v = kv
    shape = (*k.shape[:2], samples, length, *k.shape[3:])
    return Cache(k, v, jnp.zeros(shape, k.dtype), jnp.zeros(shape, v.dtype))

  def step(self, tokens_PG, cache: Cache, prompt_length_P, t):
    """Feeds token t of each sample: logits [P, G, V] of the next, new cache."""
    place = Place(jnp.asarray(t), prompt_length_P)
    x_PGD, new = self.layers(self.embed(tokens_PG), cache, place, 'step')
    start = (0, 0, 0, place.t, 0, 0)
    cache = cache._replace(
      suffix_k=jax.lax.dynamic_update_slice(cache.suffix_k, new[0], start),
      suffix_v=jax.lax.dynamic_update_slice(cache.suffix_v, new[1], start),
    )
    return self.logits(self.final_norm(x_PGD)), cache

  def embed(self, tokens):
    # Gemma rounds the factor to the compute type: 55.4256 is 55.5 in bfloat16.
    factor = jnp.sqrt(jnp.float32(self.size.width)).astype(self.dtype)
    return self.embedding.astype(self.dtype)[tokens] * factor

  def logits(self, hidden):
    """float32 logits over the vocabulary for any [..., D]."""
    return jnp.einsum(
      '...d,vd->...v',
      hidden,
      self.embedding.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )


class Block(nn.Module):
  """One layer: attention, then the gated feed-forward, each residual."""

  size: Size
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, cache, place, mode):
    attend = Attention(self.size, self.dtype, name='attention')
    y, kv = attend(RMSNorm(name='attention_norm')(x), cache, place, mode)
    x = x + y
    forward = FeedForward(self.size, self.dtype, name='feed_forward')
    return x + forward(RMSNorm(name='feed_forward_norm')(x)), kv


class Attention(nn.Module):
  """Attention of N heads over K shared key and value heads."""

  size: Size
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, cache, place, mode):
    s = self.size
    q = self._heads(x, 'q', s.heads)
    k = self._heads(x, 'k', s.kv_heads)
    v = self._heads(x, 'v', s.kv_heads)
    if mode == 'step':
      positions = jnp.broadcast_to(
        place.prompt_length_P[:, None] + place.t, x.shape[:2]
      )
    else:
      positions = place
    q = rotate(q, positions) * s.head_size**-0.5
    k = rotate(k, positions)
    if mode == 'step':
      y, kv = attend_shared(q, k, v, cache, place)
    else:
      y, kv = attend_causal(q, k, v), (k, v) if mode == 'prefill' else None
    y = y.reshape(*y.shape[:-2], s.heads * s.head_size)
    return y @ self._weight('out', y.shape[-1], s.width), kv

  def _heads(self, x, name: str, heads: int):
    """x [..., D] projected to [..., heads, H]."""
    y = x @ self._weight(name, x.shape[-1], heads * self.size.head_size)
    return y.reshape(*y.shape[:-1], heads, self.size.head_size)

  def _weight(self, name: str, *shape: int):
    draw = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')
    return self.param(name, draw, shape).astype(self.dtype)


class FeedForward(nn.Module):
  """(gelu(x gate) * (x up)) down; the tanh form of GeLU."""

  size: Size
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    draw = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')
    inner = (self.size.width, self.size.hidden)
    gate = self.param('gate', draw, inner).astype(self.dtype)
    up = self.param('up', draw, inner).astype(self.dtype)
    down = self.param('down', draw, inner[::-1]).astype(self.dtype)
    return (jax.nn.gelu(x @ gate, approximate=True) * (x @ up)) @ down


class RMSNorm(nn.Module):
  """x / rms(x) * (1 + w), computed in float32."""

  @nn.compact
  def __call__(self, x):
    w = self.param('scale', nn.initializers.zeros, (x.shape[-1],))
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y**2, -1, keepdims=True) + 1e-6)
    return (y * (1 + w)).astype(x.dtype)


def rotate(x, positions):
  """Rotary positions on the last axis: x [..., heads, H], positions [...].

  Angles in float32: in bfloat16 the positions 8190 and 8191 would be 8192.
  """
  half = x.shape[-1] // 2
  speed = ROPE_BASE ** -(jnp.arange(half, dtype=jnp.float32) / half)
  angle = positions[..., None, None].astype(jnp.float32) * speed
  a, b = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  return jnp.concatenate(
    [a * cos - b * sin, b * cos + a * sin], axis=-1
  ).astype(x.dtype)


def attend_causal(q_BLNH, k_BLKH, v_BLKH):
  """Each position sees itself and those before it, [B, L, N, H]."""
  B, L, N, H = q_BLNH.shape
  K = k_BLKH.shape[2]
  # The heads that share a key head become one matrix: fewer, larger products.
  q = q_BLNH.reshape(B, L, K, N // K, H).transpose(0, 2, 3, 1, 4)
  q = q.reshape(B, K, N // K * L, H)
  scores = jnp.einsum(
    'bkqh,bmkh->bkqm', q, k_BLKH, preferred_element_type=jnp.float32
  ).reshape(B, K, N // K, L, L)
  causal_LL = jnp.tril(jnp.ones((L, L), bool))
  probs = jax.nn.softmax(jnp.where(causal_LL, scores, MASKED), axis=-1)
  probs = probs.astype(v_BLKH.dtype).reshape(B, K, N // K * L, L)
  y = jnp.einsum('bkqm,bmkh->bkqh', probs, v_BLKH)
  y = y.reshape(B, K, N // K, L, H).transpose(0, 3, 1, 2, 4)
  return y.reshape(B, L, N, H)


def attend_shared(q_PGNH, k_PGKH, v_PGKH, cache: Cache, place: Place):
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
  scores = [
    jnp.where(
      in_prompt_PS[:, None, None, None],
      product('pgkrh,pskh->pgkrs', q, cache.prefix_k),
      MASKED,
    ),
    jnp.where(
      jnp.arange(O) < place.t,
      product('pgkrh,pgokh->pgkro', q, cache.suffix_k),
      MASKED,
    ),
    product('pgkrh,pgkh->pgkr', q, k_PGKH)[..., None],
  ]
  probs = jax.nn.softmax(jnp.concatenate(scores, -1), axis=-1)
  probs = probs.astype(v_PGKH.dtype)
  y = product('pgkrs,pskh->pgkrh', probs[..., :S], cache.prefix_v)
  y += product('pgkro,pgokh->pgkrh', probs[..., S:-1], cache.suffix_v)
  y += probs[..., -1:] * v_PGKH[:, :, :, None]
  new = k_PGKH[:, :, None], v_PGKH[:, :, None]
  return y.reshape(P, G, N, H).astype(q_PGNH.dtype), new
