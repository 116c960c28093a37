"""One decoder for Gemma 1 to 3, Llama and Qwen: a `Size` says which.

Pre-norm blocks (Gemma 2 and 3 also norm what a block adds), rotary positions,
shared key heads and a gated feed-forward; from Gemma 2 on, layers that see a
window alternate with layers that see all. Layers are stacked on a leading axis
and scanned, which of them are local too; for sampling they are `unstacked`.
Gemma: arXiv 2403.08295, 2408.00118, 2503.19786; Llama 3: 2407.21783; Qwen 2.5
and 3: 2412.15115, 2505.09388.

Four ways through the same weights, equal up to rounding:
  hidden    whole rows at once, of one text or of several: training
  prefill   the same, and keeps each layer's keys and values
  step      one token for each of A x G samples, G of which share a prompt:
            prompts' keys and values are stored and read once for the group
  extend    whole rows behind prefilled prefixes that they share: judging
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from restpg_jax.models import attention, mixed_precision, packed, rotary
from restpg_jax.models import size as sizes

Positions = Any  # what the mode wants, see Attention
# What gradients keep of a layer; the rest of it they compute once more.
REMAT = {
  'none': None,  # they keep all
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  # Its input and what its attention gave: as small, and expensive to redo.
  'full': jax.checkpoint_policies.save_only_these_names(attention.OUTPUT),
}


class Decoder(nn.Module):
  """Turns tokens into hidden states and logits."""

  size: sizes.Size
  # Of matrix products; weights stay float32.
  dtype: jnp.dtype = jnp.dtype('float32')
  stacked: bool = True  # False: for parameters that `unstacked` took apart
  unroll: int = 1  # layers compiled in one piece; more is faster on a CPU
  block: int = 128  # tokens of their own that samples read at a time in `step`
  remat: str = 'none'  # of REMAT
  attend: packed.Attend = packed.naive  # over packed rows
  # Of tokens in the embedding, and of the weight in a product.
  look_up: mixed_precision.LookUp = mixed_precision.look_up
  gradient: mixed_precision.WeightGradient = mixed_precision.weight_gradient

  def setup(self) -> None:
    s = self.size
    table = nn.initializers.normal(0.02), (s.vocabulary, s.width)
    self.embedding = self.param('embedding', *table)
    self.head = self.embedding if s.tied else self.param('head', *table)
    self.final_norm = RMSNorm(s.norm_offset, s.norm_eps)
    self.layers: Any  # by position, or all of them as one
    if not self.stacked:
      self.layers = [
        Block(s, self.dtype, self.block, self.attend) for _ in range(s.layers)
      ]
      return
    block = Block
    if policy := REMAT[self.remat]:
      # 5: mode. A loop needs no guard against common expressions.
      block = nn.remat(
        Block, policy=policy, static_argnums=5, prevent_cse=self.unroll > 1
      )
    axes: Any = (0, 0, nn.broadcast, nn.broadcast)  # Flax says int, takes both
    stack = nn.scan(
      block,
      variable_axes={'params': 0, 'lora': 0},
      split_rngs={'params': True},
      in_axes=axes,
      length=s.layers,
      unroll=self.unroll,
    )
    self.layers = stack(
      s, self.dtype, attend=self.attend, gradient=self.gradient
    )

  def __call__(self, tokens_BL: jax.Array) -> jax.Array:
    """Returns the logits of whole rows, [B, L, V]."""
    return self.logits(self.hidden(tokens_BL))

  def hidden(
    self,
    tokens_BL: jax.Array,
    positions_BL: jax.Array | None = None,
    segments_BL: jax.Array | None = None,
  ) -> jax.Array:
    """Returns the last hidden states [B, L, D]; rows are right-padded.

    Rows of several texts have their number, 1, 2, .., at each token (0: no
    text), and positions that begin anew with each.
    """
    if positions_BL is None or segments_BL is None:
      return self._rows(tokens_BL, 'one')[0]
    rows = Rows(positions_BL, segments_BL)
    return self._stack(tokens_BL, None, rows, 'rows')[0]

  def prefill(self, tokens_PS: jax.Array) -> tuple[jax.Array, Any]:
    """Returns hidden states [P, S, D] and the (keys, values) of all layers."""
    return self._rows(tokens_PS, 'prefill')

  def empty_cache(
    self, prompts: int, samples: int, prompt: int, suffix: int, chunk: int
  ) -> list[attention.Cache]:
    """Returns it for prompts, samples of each, and tokens of each part."""
    s = self.size
    A, G, K, H = prompts, samples, s.kv_heads, s.head_size

    def zeros(*shape):
      return jnp.zeros((A, *shape), self.dtype)

    return [
      attention.Cache(
        *(zeros(K, H, prompt), zeros(K, prompt, H)),
        *(zeros(G, K, H, suffix), zeros(G, K, suffix, H)),
        *(zeros(G, K, chunk, H), zeros(G, K, chunk, H)),
      )
      for _ in range(s.layers)
    ]

  def step(
    self,
    tokens_AG: jax.Array,
    cache: list[attention.Cache],
    length_A: jax.Array,
    begun_AG: jax.Array,
    c: jax.Array | int,
  ) -> tuple[jax.Array, list[attention.Cache]]:
    """Feeds each sample's next token; returns logits [A, G, V] and the cache.

    The prompts have `length`, the samples `begun` tokens in their suffix and
    `c` in their chunk. It is for unstacked parameters only.
    """
    positions = attention.StepPositions(length_A, begun_AG, jnp.asarray(c))
    x_AGD, new = self._stack(tokens_AG, cache, positions, 'step')
    cache = [
      layer.with_token(k, v, positions.c)
      for layer, (k, v) in zip(cache, new, strict=True)
    ]
    return self.logits(x_AGD), cache

  def extend(
    self,
    tokens_CR: jax.Array,
    kv: Any,
    prefix_C: jax.Array,
    prefix_length_C: jax.Array,
    position_CR: jax.Array,
    seen_CRR: jax.Array,
  ) -> jax.Array:
    """Returns last hidden states [C, R, D] of rows that go on behind prefixes.

    kv: what `prefill` kept of the prefixes, [P, S, K, H] a layer. The others
    are those of attention.SuffixPositions.
    """
    behind = attention.SuffixPositions(
      prefix_C, prefix_length_C, position_CR, seen_CRR
    )
    return self._stack(tokens_CR, kv, behind, 'extend')[0]

  def embed(self, tokens: jax.Array) -> jax.Array:
    """Returns the embeddings of tokens [..], [.., D]."""
    x = self.look_up(self.embedding, tokens, self.dtype)
    if not self.size.scaled_embedding:
      return x
    # Gemma rounds the factor to the compute type: 55.4256 is 55.5 in bfloat16.
    return x * jnp.sqrt(jnp.float32(self.size.width)).astype(self.dtype)

  def logits(
    self, hidden: jax.Array, head_vD: jax.Array | None = None
  ) -> jax.Array:
    """Returns float32 logits over the vocabulary for any [..., D].

    They are those of some rows of the head only, where these are given.
    """
    head_vD = self.head if head_vD is None else head_vD
    logits = mixed_precision.logits(hidden, head_vD, dtype=self.dtype)
    return attention.soft_cap(logits, self.size.final_softcap)

  def _rows(self, tokens_BL: jax.Array, mode: str) -> tuple[jax.Array, Any]:
    positions_BL = jnp.broadcast_to(
      jnp.arange(tokens_BL.shape[1]), tokens_BL.shape
    )
    return self._stack(tokens_BL, None, positions_BL, mode)

  def _stack(
    self, tokens: jax.Array, cache: Any, positions: Positions, mode: str
  ) -> tuple[jax.Array, Any]:
    """Returns normed hidden states, and what the layers keep.

    `cache` and what is kept are stacked, or lists, as the parameters are.
    """
    local = self.size.local_layers()
    x = self.embed(tokens)
    if self.stacked:
      stacked = jnp.array(local) if any(local) else None
      x, kept = self.layers(x, cache, stacked, positions, mode)
      return self.final_norm(x), kept
    kept = []
    for n, layer in enumerate(self.layers):
      layer_cache = cache and cache[n]
      near = local[n] if any(local) else None
      x, kv = layer(x, layer_cache, near, positions, mode)
      kept.append(kv)
    return self.final_norm(x), kept


class Rows(NamedTuple):
  """The positions of the tokens of packed rows."""

  position_BL: jax.Array
  segment_BL: jax.Array


def unstacked(params: dict[str, Any]) -> dict[str, Any]:
  """Returns the same parameters, a tree for each layer.

  It is for loops of steps: what is stacked is copied out, layer by layer, at
  every step.
  """
  layers = params['layers']
  count = len(jax.tree.leaves(layers)[0])
  rest = {name: leaf for name, leaf in params.items() if name != 'layers'}
  return rest | {
    f'layers_{n}': jax.tree.map(lambda leaf, n=n: leaf[n], layers)
    for n in range(count)
  }


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
    q = self._heads(x, 'q', s.heads)
    k = self._heads(x, 'k', s.kv_heads)
    v = self._heads(x, 'v', s.kv_heads)
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
      s.head_size, s.rope_base, scale=s.rope_scale, context=s.rope_context
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
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y**2, -1, keepdims=True) + self.eps)
    return (y * (self.offset + w)).astype(x.dtype)
