"""One decoder for Gemma 1, 2 and 3 and for Llama: a `Size` says which.

Pre-norm blocks (Gemma 2 and 3 also norm what a block adds), rotary positions,
shared key heads and a gated feed-forward; from Gemma 2 on, layers that see a
window alternate with layers that see all. Layers are stacked on a leading axis
and scanned, also where they differ: which of them are local is scanned too; for
sampling they are taken apart (`unstacked`).
Gemma 1: arXiv 2403.08295, 2: 2408.00118, 3: 2503.19786; Llama 3: 2407.21783.

Four ways through the same weights, equal up to rounding:
  hidden    whole rows at once, of one text or of several: training
  prefill   the same, and keeps each layer's keys and values
  step      one token for each of A x G samples, G of which share a prompt:
            prompts' keys and values are stored and read once for the group
  extend    whole rows behind prefilled prefixes that they share: judging
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from restpg_jax import errors
from restpg_jax.models import attention, packed, rotary

ACTIVATIONS = {
  'gelu': functools.partial(jax.nn.gelu, approximate=True),  # by tanh
  'silu': jax.nn.silu,
}
# What gradients keep of a layer; the rest of it they compute once more.
REMAT = {
  'none': None,  # they keep all
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  # Its input and what its attention gave: as small, and dear to have again.
  'full': jax.checkpoint_policies.save_only_these_names(attention.OUTPUT),
}


def look_up(table_VD, tokens, dtype):
  """Rows of an embedding, as `dtype`."""
  return table_VD[tokens].astype(dtype)  # gradients add up in its own type


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
  # What the families differ in; the defaults are Gemma 1's.
  activation: str = 'gelu'  # in its tanh form, or 'silu'
  norm_offset: float = 1.0  # RMSNorm multiplies by offset + w
  norm_eps: float = 1e-6
  scaled_embedding: bool = True  # times sqrt(width)
  tied: bool = True  # the embedding gives the logits; else `head` does
  post_norms: bool = False  # a norm behind attention and feed-forward too
  qk_norm: bool = False  # queries and keys are normed before they rotate
  query_scale: float = 0.0  # queries times this; 0: head_size ** -0.5
  attention_softcap: float = 0.0  # cap * tanh(x / cap); 0: none
  final_softcap: float = 0.0
  window: int = 0  # tokens a local layer sees, its own included
  pattern: str = 'g'  # layers in turn, over and over: l local, g global
  rope_base: float = 10_000.0
  local_rope_base: float = 0.0  # of local layers; 0: the same
  rope_scale: float = 1.0  # positions of global layers are divided by it
  rope_context: int = 0  # >0: only slow angles are, see rotary.speeds

  def __post_init__(self):
    """Raises InputError for what no model can be."""
    if self.activation not in ACTIVATIONS:
      known = ', '.join(ACTIVATIONS)
      fault = f'activation {self.activation!r} is not known; known: {known}'
    elif self.heads % self.kv_heads:
      fault = f'{self.heads} heads cannot share {self.kv_heads} kv_heads'
    elif self.head_size % 2:
      fault = f'head_size {self.head_size} must be even, to rotate in pairs'
    elif not self.pattern or set(self.pattern) - {'l', 'g'}:
      fault = f'pattern {self.pattern!r} must be made of l and g'
    elif 'l' in self.pattern and self.window < 1:
      fault = f'pattern {self.pattern!r} has local layers: set window'
    else:
      return
    raise errors.InputError(f'model size: {fault}')

  def local_layers(self) -> list[bool]:
    """3 layers of pattern 'lg'  ->  True, False, True."""
    repeats = -(-self.layers // len(self.pattern))
    return [kind == 'l' for kind in (self.pattern * repeats)[: self.layers]]

  def attention_share(self) -> float:
    """Work of a token on what it sees, per token of its row, as a share of its
    work with a layer's weights; it sees half of the row on average."""
    heads = 2 * self.heads + 2 * self.kv_heads
    weights = self.width * (heads * self.head_size + 3 * self.hidden)
    return self.heads * self.head_size / weights


class Decoder(nn.Module):
  """tokens -> hidden states and logits."""

  size: Size
  dtype: jnp.dtype = jnp.float32  # of matrix products; weights stay float32
  stacked: bool = True  # False: for parameters that `unstacked` took apart
  unroll: int = 1  # layers compiled in one piece; more is faster on a CPU
  block: int = 128  # tokens of their own that samples read at a time in `step`
  remat: str = 'none'  # of REMAT
  attend: Callable = packed.naive  # over packed rows
  look_up: Callable = look_up  # of tokens in the embedding

  def setup(self):
    s = self.size
    table = nn.initializers.normal(0.02), (s.vocabulary, s.width)
    self.embedding = self.param('embedding', *table)
    self.head = self.embedding if s.tied else self.param('head', *table)
    self.final_norm = RMSNorm(s.norm_offset, s.norm_eps)
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
    stack = nn.scan(
      block,
      variable_axes={'params': 0, 'lora': 0},
      split_rngs={'params': True},
      in_axes=(0, 0, nn.broadcast, nn.broadcast),
      length=s.layers,
      unroll=self.unroll,
    )
    self.layers = stack(s, self.dtype, attend=self.attend)

  def __call__(self, tokens_BL):
    """Logits of whole rows, [B, L, V]."""
    return self.logits(self.hidden(tokens_BL))

  def hidden(self, tokens_BL, positions_BL=None, segments_BL=None):
    """Last hidden states [B, L, D]; rows are right-padded.

    Rows of several texts have their number, 1, 2, .., at each token (0: no
    text), and positions that begin anew with each.
    """
    if segments_BL is None:
      return self._rows(tokens_BL, 'one')[0]
    rows = Rows(positions_BL, segments_BL)
    return self._stack(tokens_BL, None, rows, 'rows')[0]

  def prefill(self, tokens_PS):
    """Hidden states [P, S, D] and the (keys, values) of all layers."""
    return self._rows(tokens_PS, 'prefill')

  def room(
    self, prompts: int, samples: int, prompt: int, suffix: int, chunk: int
  ) -> list[attention.Cache]:
    """For so many prompts, samples of each, and tokens of their parts."""
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
    self, tokens_AG, cache: list[attention.Cache], length_A, begun_AG, c
  ):
    """Feeds each sample's next token: logits [A, G, V], the cache with it.

    The prompts have `length`, the samples `begun` tokens in their suffix and
    `c` in their chunk. For unstacked parameters only.
    """
    place = attention.StepPositions(length_A, begun_AG, jnp.asarray(c))
    x_AGD, new = self._stack(tokens_AG, cache, place, 'step')
    cache = [
      layer.with_token(*kv, place.c)
      for layer, kv in zip(cache, new, strict=True)
    ]
    return self.logits(x_AGD), cache

  def extend(
    self, tokens_CR, kv, prefix_C, prefix_length_C, position_CR, seen_CRR
  ):
    """Last hidden states [C, R, D] of rows that go on where prefixes ended.

    kv: what `prefill` kept of the prefixes, [P, S, K, H] a layer. The others:
    see attention.Behind.
    """
    behind = attention.SuffixPositions(
      prefix_C, prefix_length_C, position_CR, seen_CRR
    )
    return self._stack(tokens_CR, kv, behind, 'extend')[0]

  def embed(self, tokens):
    x = self.look_up(self.embedding, tokens, self.dtype)
    if not self.size.scaled_embedding:
      return x
    # Gemma rounds the factor to the compute type: 55.4256 is 55.5 in bfloat16.
    return x * jnp.sqrt(jnp.float32(self.size.width)).astype(self.dtype)

  def logits(self, hidden, head_vD=None):
    """float32 logits over the vocabulary for any [..., D]; of these rows of the
    head only, where they are given."""
    head_vD = self.head if head_vD is None else head_vD
    logits = jnp.einsum(
      '...d,vd->...v',
      hidden,
      head_vD.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    return attention.soft_cap(logits, self.size.final_softcap)

  def _rows(self, tokens_BL, mode: str):
    positions_BL = jnp.broadcast_to(
      jnp.arange(tokens_BL.shape[1]), tokens_BL.shape
    )
    return self._stack(tokens_BL, None, positions_BL, mode)

  def _stack(self, tokens, cache, place, mode: str):
    """Through all layers: normed hidden states, what the layers keep.

    `cache` and what is kept are stacked, or lists, as the parameters are.
    """
    local = self.size.local_layers()
    x = self.embed(tokens)
    if self.stacked:
      local = jnp.array(local) if any(local) else None
      x, kept = self.layers(x, cache, local, place, mode)
      return self.final_norm(x), kept
    kept = []
    for n, layer in enumerate(self.layers):
      of_layer = cache and cache[n]
      near = local[n] if any(local) else None
      x, kv = layer(x, of_layer, near, place, mode)
      kept.append(kv)
    return self.final_norm(x), kept


class Rows(NamedTuple):
  """Where the tokens of packed rows stand."""

  position_BL: jax.Array
  segment_BL: jax.Array


def unstacked(params: dict) -> dict:
  """The same parameters, a tree for each layer.

  For loops of steps: what is stacked is copied out, layer by layer, at every
  step.
  """
  layers = params['layers']
  count = len(jax.tree.leaves(layers)[0])
  rest = {name: leaf for name, leaf in params.items() if name != 'layers'}
  return rest | {
    f'layers_{n}': jax.tree.map(lambda leaf, n=n: leaf[n], layers)
    for n in range(count)
  }


class Block(nn.Module):
  """One layer: attention, then the gated feed-forward, each residual."""

  size: Size
  dtype: jnp.dtype
  block: int = 0
  attend: Callable = packed.naive

  @nn.compact
  def __call__(self, x, cache, local, place, mode):
    s = self.size
    norm = functools.partial(RMSNorm, s.norm_offset, s.norm_eps)
    attend = Attention(s, self.dtype, self.block, self.attend, name='attention')
    forward = FeedForward(s, self.dtype, name='feed_forward')
    y, kv = attend(norm(name='attention_norm')(x), cache, local, place, mode)
    x += norm(name='attention_post_norm')(y) if s.post_norms else y
    y = forward(norm(name='feed_forward_norm')(x))
    x += norm(name='feed_forward_post_norm')(y) if s.post_norms else y
    return x, kv


class Attention(nn.Module):
  """Attention of N heads over K shared key and value heads."""

  size: Size
  dtype: jnp.dtype
  block: int
  attend: Callable

  @nn.compact
  def __call__(self, x, cache, local, place, mode):
    s = self.size
    q = self._heads(x, 'q', s.heads)
    k = self._heads(x, 'k', s.kv_heads)
    v = self._heads(x, 'v', s.kv_heads)
    if s.qk_norm:
      q = RMSNorm(s.norm_offset, s.norm_eps, name='q_norm')(q)
      k = RMSNorm(s.norm_offset, s.norm_eps, name='k_norm')(k)
    positions = place
    if mode == 'step':
      positions = place.position()
    elif mode == 'extend':
      positions = place.position_CR
    elif mode == 'rows':
      positions = place.position_BL
    speed = self._speed(local)
    q = rotary.rotate(q, positions, speed)
    q *= s.query_scale or s.head_size**-0.5
    k = rotary.rotate(k, positions, speed)
    cap = s.attention_softcap
    how = {'window': packed.window_of(local, s.window), 'cap': cap}
    if mode == 'step':
      y, kv = attention.shared_prefix_attention(
        q, k, v, cache, place, block=self.block, **how
      )
    elif mode == 'extend':
      y, kv = attention.suffix_attention(q, k, v, cache, place, **how), None
    elif mode == 'prefill':
      y, kv = attention.blockwise_causal_attention(q, k, v, **how), (k, v)
    elif mode == 'rows':
      rows = q, k, v, place.segment_BL, local
      y, kv = self.attend(*rows, window=s.window, cap=cap), None
    else:
      y, kv = attention.causal_attention(q, k, v, **how), None
    y = y.reshape(*y.shape[:-2], s.heads * s.head_size)
    return project(self, y, 'out', s.width), kv

  def _speed(self, local):
    """Of this layer's rotation, [H / 2]."""
    s = self.size
    speed = rotary.speeds(
      s.head_size, s.rope_base, scale=s.rope_scale, context=s.rope_context
    )
    if local is None:
      return speed
    near = rotary.speeds(s.head_size, s.local_rope_base or s.rope_base)
    return jnp.where(local, near, speed)

  def _heads(self, x, name: str, heads: int):
    """x [..., D] projected to [..., heads, H]."""
    y = project(self, x, name, heads * self.size.head_size)
    return y.reshape(*y.shape[:-1], heads, self.size.head_size)


class FeedForward(nn.Module):
  """(activation(x gate) * (x up)) down."""

  size: Size
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    s = self.size
    gate = ACTIVATIONS[s.activation](project(self, x, 'gate', s.hidden))
    up = project(self, x, 'up', s.hidden)
    return project(self, gate * up, 'down', s.width)


def project(module: nn.Module, x, name: str, width: int):
  """x W to so many numbers, in module.dtype; where the collection `lora` has
  a pair of matrices for W (training/lora.py), x W + (x A) B."""
  draw = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')
  weight = module.param(name, draw, (x.shape[-1], width))
  y = x @ weight.astype(module.dtype)
  if module.has_variable('lora', name):
    pair = module.get_variable('lora', name)
    a, b = (pair[key].astype(module.dtype) for key in ('a', 'b'))
    y += (x @ a) @ b
  return y


class RMSNorm(nn.Module):
  """x / rms(x) * (offset + w), computed in float32; at the start x / rms(x)."""

  offset: float = 1.0
  eps: float = 1e-6

  @nn.compact
  def __call__(self, x):
    start = nn.initializers.constant(1 - self.offset)
    w = self.param('scale', start, (x.shape[-1],))
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y**2, -1, keepdims=True) + self.eps)
    return (y * (self.offset + w)).astype(x.dtype)
