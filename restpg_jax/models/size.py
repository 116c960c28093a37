"""The shape of a decoder, and what the families of models differ in."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax

from restpg_jax import errors, integers

ACTIVATIONS = {
  'gelu': functools.partial(jax.nn.gelu, approximate=True),  # by tanh
  'silu': jax.nn.silu,
}


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
  # What came later; `described` leaves it out at its default.
  qkv_bias: bool = False  # queries, keys and values have a bias: Qwen 2
  # What Gemma 4 adds.
  global_head_size: int = 0  # H of global layers; 0: the same
  global_kv_heads: int = 0  # K of global layers; 0: the same
  global_keys_are_values: bool = False  # global layers have no weights for V
  rope_share: float = 1.0  # of the dimensions that global layers rotate
  v_norm: bool = False  # values are normed, without a scale
  layer_scalar: bool = False  # what a layer gives is multiplied by a constant

  def __post_init__(self):
    """Raises InputError for a shape that no model has."""
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
    elif self.global_head_size % 2:
      fault = f'global_head_size {self.global_head_size} must be even'
    elif self.global_kv_heads and self.heads % self.global_kv_heads:
      fault = (
        f'{self.heads} heads cannot share {self.global_kv_heads} '
        'global_kv_heads'
      )
    elif len(self.pattern) == 1 and (
      self.global_head_size or self.global_kv_heads
    ):
      fault = (
        f'pattern {self.pattern!r} has one type of layers: set head_size and '
        'kv_heads, not those of global layers'
      )
    elif not 0 < self.rope_share <= 1:
      fault = f'rope_share {self.rope_share} must be above 0 and at most 1'
    elif self.layers % self.period():
      fault = (
        f'{self.layers} layers are no whole repeats of pattern '
        f'{self.pattern!r}, and its layers differ in shape'
      )
    else:
      return
    raise errors.InputError(f'model size: {fault}')

  def local_layers(self) -> list[bool]:
    """Says which layers are local; 3 of pattern 'lg' -> True, False, True."""
    repeats = integers.cdiv(self.layers, len(self.pattern))
    return [letter == 'l' for letter in (self.pattern * repeats)[: self.layers]]

  def layer(self, local: bool) -> 'Size':
    """Returns the size of a model whose layers are all such as these."""
    if local:
      return dataclasses.replace(
        self,
        pattern='l',
        rope_base=self.local_rope_base or self.rope_base,
        rope_scale=1.0,
        **_SAME_AS_LOCAL,
      )
    return dataclasses.replace(
      self,
      pattern='g',
      head_size=self.global_head_size or self.head_size,
      kv_heads=self.global_kv_heads or self.kv_heads,
      **_SAME_AS_LOCAL
      | {
        'rope_share': self.rope_share,
        'global_keys_are_values': self.global_keys_are_values,
      },
    )

  def by_layer(self) -> 'list[Size]':
    """Returns the size of each layer, see `layer`."""
    local_layers = self.local_layers()
    sizes = {local: self.layer(local) for local in set(local_layers)}
    return [sizes[local] for local in local_layers]

  def period(self) -> int:
    """Returns the number of layers after which their shapes repeat.

    1: all layers have the same shapes, and are one stack. Else it is the length
    of the pattern, and each of its letters is a stack.
    """
    uneven = (
      self.global_head_size not in (0, self.head_size)
      or self.global_kv_heads not in (0, self.kv_heads)
      or self.global_keys_are_values
    )
    return len(self.pattern) if uneven else 1

  def blocks(self) -> 'list[Size]':
    """Returns the size of each layer of a period, itself where that is 1."""
    return [self] if self.period() == 1 else self.by_layer()[: self.period()]

  def keys_are_values(self) -> bool:
    """Says it of a layer, where the size is that of equal layers."""
    return self.global_keys_are_values and 'l' not in self.pattern

  def cached(self) -> int:
    """Counts the numbers in the keys and values of a token, of all layers."""
    return 2 * sum(s.kv_heads * s.head_size for s in self.by_layer())

  def largest_cached(self) -> int:
    """Counts those of the layer that has the largest keys and values."""
    return 2 * max(s.kv_heads * s.head_size for s in self.by_layer())

  def attention_share(self) -> float:
    """Returns the work of attention for each token of the row.

    It is a share of a token's work with a layer's weights; a token sees half of
    its row on average.
    """
    layers = self.by_layer()
    weights = sum(s.layer_weights() for s in layers)
    return sum(s.heads * s.head_size for s in layers) / weights

  def layer_weights(self) -> int:
    """Counts the weights in matrices of a layer of a model of equal layers.

    They are q, out, k, v, gate, up and down.
    """
    shared = 1 if self.keys_are_values() else 2
    heads = 2 * self.heads + shared * self.kv_heads
    return self.width * (heads * self.head_size + 3 * self.hidden)

  def described(self) -> dict[str, Any]:
    """Returns the fields for a model.json.

    Those that came later are there only where they are not at their default:
    the files of models that need none, and their hashes, stay as they were.
    """
    fields = dataclasses.asdict(self)
    return {
      name: value
      for name, value in fields.items()
      if name not in LATER or value != LATER[name]
    }


STACK = 'block_{}'  # the name of a stack of layers, where there are several


def stacks(layers: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the stacks of layers in the parameters (or adapters) 'layers'.

  All layers are one, '', or there is one for each letter of the pattern:
  'block_0', 'block_1', .. in turn.
  """
  first = STACK.format(0)
  if not any(name.startswith(first[:-1]) for name in layers):
    return {'': layers}
  count = max(int(name.removeprefix(first[:-1])) for name in layers) + 1
  return {
    name: layers.get(name, {}) for name in map(STACK.format, range(count))
  }


def stack(n: int, period: int) -> tuple[str, int]:
  """Returns the path of the stack that layer n lies in, and its index there.

  7 of period 1  ->  'layers', 7; of period 6  ->  'layers/block_1', 1
  """
  if period == 1:
    return 'layers', n
  return f'layers/{STACK.format(n % period)}', n // period


GEMMA4: dict[str, Any] = {  # the fields that it added, and their defaults
  'global_head_size': 0,
  'global_kv_heads': 0,
  'global_keys_are_values': False,
  'rope_share': 1.0,
  'v_norm': False,
  'layer_scalar': False,
}
LATER: dict[str, Any] = {'qkv_bias': False} | GEMMA4
_SAME_AS_LOCAL: dict[str, Any] = {  # of a model whose layers are all alike
  'local_rope_base': 0.0,
  'global_head_size': 0,
  'global_kv_heads': 0,
  'global_keys_are_values': False,
  'rope_share': 1.0,
}
