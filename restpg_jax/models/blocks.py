"""A layer of the decoder: attention and feed-forward, with their norms."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from restpg_jax.models import attention, mixed_precision, packed, rotary
from restpg_jax.models import size as sizes

Positions = Any  # what the mode wants, see Attention


class Period(nn.Module):
  """The layers of one turn of a pattern, for those that differ in shape."""

  size: sizes.Size
  dtype: jnp.dtype
  of: Any  # Block, or what computes it once more for gradients
  attend: packed.Attend = packed.naive
  gradient: mixed_precision.WeightGradient = mixed_precision.weight_gradient

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    cache: Any,
    local: None,
    positions: Positions,
    mode: str,
  ) -> tuple[jax.Array, Any]:
    kept = []
    for n, size in enumerate(self.size.blocks()):
      block = self.of(
        *(size, self.dtype),
        attend=self.attend,
        gradient=self.gradient,
        name=sizes.STACK.format(n),
      )
      x, kv = block(x, cache and cache[n], local, positions, mode)
      kept.append(kv)
    return x, tuple(kept)


class Block(nn.Module):
  """A layer: attention, then the gated feed-forward, each residual."""

  size: sizes.Size
  dtype: jnp.dtype
  block: int = 0
  attend: packed.Attend = packed.naive
  gradient: mixed_precision.WeightGradient = mixed_precision.weight_gradient

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    cache: Any,
    local: jax.Array | bool | None,
    positions: Positions,
    mode: str,
  ) -> tuple[jax.Array, Any]:
    s = self.size
    norm = functools.partial(RMSNorm, s.norm_offset, s.norm_eps)
    attend = Attention(
      *(s, self.dtype, self.block, self.attend, self.gradient), name='attention'
    )
    forward = FeedForward(s, self.dtype, self.gradient, name='feed_forward')
    y, kv = attend(
      norm(name='attention_norm')(x), cache, local, positions, mode
    )
    x += norm(name='attention_post_norm')(y) if s.post_norms else y
    y = forward(norm(name='feed_forward_norm')(x))
    x += norm(name='feed_forward_post_norm')(y) if s.post_norms else y
    if s.layer_scalar:
      # A constant of the checkpoint, which transformers does not train either.
      one = nn.initializers.ones
      scalar = jax.lax.stop_gradient(self.param('layer_scalar', one, (1,)))
      x *= scalar.astype(x.dtype)
    return x, kv


class Attention(nn.Module):
  """Attention of N heads over K shared key and value heads."""

  size: sizes.Size
  dtype: jnp.dtype
  block: int
  attend: packed.Attend
  gradient: mixed_precision.WeightGradient

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    cache: Any,
    local: jax.Array | bool | None,
    positions: Positions,
    mode: str,
  ) -> tuple[jax.Array, Any]:
    s = self.size
    if local is None and s.pattern == 'l':  # a block of a period
      local = True
    q = self._heads(x, 'q', s.heads)
    k = self._heads(x, 'k', s.kv_heads)
    v = k if s.keys_are_values() else self._heads(x, 'v', s.kv_heads)
    if s.v_norm:
      v = rms_normed(v, s.norm_eps).astype(v.dtype)
    if s.qk_norm:
      q = RMSNorm(s.norm_offset, s.norm_eps, name='q_norm')(q)
      k = RMSNorm(s.norm_offset, s.norm_eps, name='k_norm')(k)
    index = positions
    if mode == 'step':
      index = positions.position()
    elif mode == 'extend':
      index = positions.position_CR
    elif mode == 'rows':
      index = positions.position_BL
    speed = self._speed(local)
    q = rotary.rotate(q, index, speed)
    q *= s.query_scale or s.head_size**-0.5
    k = rotary.rotate(k, index, speed)
    cap, window = s.attention_softcap, packed.window_of(local, s.window)
    if mode == 'step':
      y, kv = attention.shared_prefix_attention(
        *(q, k, v, cache, positions),
        block=self.block,
        window=window,
        cap=cap,
      )
    elif mode == 'extend':
      y = attention.suffix_attention(
        *(q, k, v, cache, positions), window=window, cap=cap
      )
      kv = None
    elif mode == 'prefill':
      y = attention.blockwise_causal_attention(
        *(q, k, v), window=window, cap=cap
      )
      kv = k, v
    elif mode == 'rows':
      rows = q, k, v, positions.segment_BL, local
      y, kv = self.attend(*rows, window=s.window, cap=cap), None
    else:
      y = attention.causal_attention(q, k, v, window=window, cap=cap)
      kv = None
    y = y.reshape(*y.shape[:-2], s.heads * s.head_size)
    return project(self, y, 'out', s.width), kv

  def _speed(self, local: jax.Array | bool | None) -> jax.Array:
    """Returns the speed of this layer's rotation, [H / 2]."""
    s = self.size
    speed = rotary.speeds(
      s.head_size,
      s.rope_base,
      scale=s.rope_scale,
      context=s.rope_context,
      share=s.rope_share,
    )
    if local is None:
      return speed
    near = rotary.speeds(s.head_size, s.local_rope_base or s.rope_base)
    return jnp.where(local, near, speed)

  def _heads(self, x: jax.Array, name: str, heads: int) -> jax.Array:
    """Returns x [..., D] projected to [..., heads, H]."""
    y = project(self, x, name, heads * self.size.head_size)
    if self.size.qkv_bias:
      bias = self.param(f'{name}_bias', nn.initializers.zeros, y.shape[-1:])
      # In float32, so that its gradient adds up in float32 too.
      y = (y.astype(jnp.float32) + bias).astype(y.dtype)
    return y.reshape(*y.shape[:-1], heads, self.size.head_size)


class FeedForward(nn.Module):
  """Computes (activation(x gate) * (x up)) down."""

  size: sizes.Size
  dtype: jnp.dtype
  gradient: mixed_precision.WeightGradient = mixed_precision.weight_gradient

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    s = self.size
    gate = sizes.ACTIVATIONS[s.activation](project(self, x, 'gate', s.hidden))
    up = project(self, x, 'up', s.hidden)
    return project(self, gate * up, 'down', s.width)


def project(
  module: nn.Module, x: jax.Array, name: str, width: int
) -> jax.Array:
  """Returns x W, so many numbers, in module.dtype.

  Where the collection `lora` has a pair of matrices for W (training/lora.py),
  it is x W + (x A) B.
  """
  draw = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')
  weight = module.param(name, draw, (x.shape[-1], width))
  product = functools.partial(
    mixed_precision.product, dtype=module.dtype, gradient=module.gradient
  )
  y = product(name, x, weight)
  if module.has_variable('lora', name):
    pair = module.get_variable('lora', name)
    y += product('b', product('a', x, pair['a']), pair['b'])
  return y


class RMSNorm(nn.Module):
  """Computes x / rms(x) * (offset + w) in float32; at the start x / rms(x)."""

  offset: float = 1.0
  eps: float = 1e-6

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    start = nn.initializers.constant(1 - self.offset)
    w = self.param('scale', start, (x.shape[-1],))
    return (rms_normed(x, self.eps) * (self.offset + w)).astype(x.dtype)


def rms_normed(x: jax.Array, eps: float) -> jax.Array:
  """Returns x / rms(x) over the last axis, float32."""
  y = x.astype(jnp.float32)
  return y * jax.lax.rsqrt(jnp.mean(y**2, -1, keepdims=True) + eps)
