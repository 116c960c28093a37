"""One decoder for Gemma 1 to 4, Llama and Qwen: a `Size` says which.

Pre-norm blocks (from Gemma 2 on also norms of what a block adds), rotary
positions, shared key heads and a gated feed-forward; from Gemma 2 on, layers
that see a window alternate with layers that see all. Layers are stacked on a
leading axis and scanned, also where they differ: which of them are local is
scanned too. In Gemma 4 they differ in shape; there each letter of the pattern
is a stack, and what is scanned is a `Period`. For sampling layers are taken
apart (`unstacked`).
Gemma 1: arXiv 2403.08295, 2: 2408.00118, 3: 2503.19786; Llama 3: 2407.21783;
Qwen 2.5: 2412.15115, 3: 2505.09388. Gemma 4 has no paper: as in transformers.

Four ways through the same weights, equal up to rounding:
  hidden    whole rows at once, of one text or of several: training
  prefill   the same, and keeps each layer's keys and values
  step      one token for each of A x G samples, G of which share a prompt:
            prompts' keys and values are stored and read once for the group
  extend    whole rows behind prefilled prefixes that they share: judging
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from restpg_jax.models import attention, blocks, mixed_precision, packed
from restpg_jax.models import size as sizes

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
    self.final_norm = blocks.RMSNorm(s.norm_offset, s.norm_eps)
    self.layers: Any  # by position, or all of them as one
    if not self.stacked:
      self.layers = [
        blocks.Block(size, self.dtype, self.block, self.attend)
        for size in s.blocks() * (s.layers // s.period())
      ]
      return
    period = s.period()
    block = blocks.Block
    if policy := REMAT[self.remat]:
      # 5: mode. A loop needs no guard against common expressions.
      block = nn.remat(
        blocks.Block,
        policy=policy,
        static_argnums=5,
        prevent_cse=self.unroll > 1 or period > 1,
      )
    axes: Any = (0, 0, nn.broadcast, nn.broadcast)  # Flax says int, takes both
    stack = nn.scan(
      blocks.Period if period > 1 else block,
      variable_axes={'params': 0, 'lora': 0},
      split_rngs={'params': True},
      in_axes=axes,
      length=s.layers // period,
      unroll=min(self.unroll, s.layers // period),
    )
    options: dict[str, Any] = {'of': block} if period > 1 else {}
    self.layers = stack(
      s, self.dtype, attend=self.attend, gradient=self.gradient, **options
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
    A, G = prompts, samples

    def zeros(*shape):
      return jnp.zeros((A, *shape), self.dtype)

    def of_layer(K, H):
      return attention.Cache(
        *(zeros(K, H, prompt), zeros(K, prompt, H)),
        *(zeros(G, K, H, suffix), zeros(G, K, suffix, H)),
        *(zeros(G, K, chunk, H), zeros(G, K, chunk, H)),
      )

    return [of_layer(layer.kv_heads, layer.head_size) for layer in s.by_layer()]

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
    self, tokens: jax.Array, cache: Any, positions: blocks.Positions, mode: str
  ) -> tuple[jax.Array, Any]:
    """Returns normed hidden states, and what the layers keep.

    `cache` and what is kept are stacked, or lists, as the parameters are.
    """
    local = self.size.local_layers()
    # Blocks of a period know by their own size whether they are local.
    scanned = any(local) and self.size.period() == 1
    x = self.embed(tokens)
    if self.stacked:
      stacked = jnp.array(local) if scanned else None
      x, kept = self.layers(x, cache, stacked, positions, mode)
      return self.final_norm(x), kept
    kept = []
    for n, layer in enumerate(self.layers):
      layer_cache = cache and cache[n]
      near = local[n] if scanned else None
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
  stacks = [*sizes.stacks(params['layers']).values()]
  count = len(stacks) * len(jax.tree.leaves(stacks[0])[0])
  rest = {name: leaf for name, leaf in params.items() if name != 'layers'}
  return rest | {
    f'layers_{n}': jax.tree.map(
      lambda leaf, n=n: leaf[n // len(stacks)], stacks[n % len(stacks)]
    )
    for n in range(count)
  }
