"""The shape of a decoder, and what the families of models differ in."""

import dataclasses
import functools
from typing import Any

import jax

from restpg_jax import errors, integers

ACTIVATIONS = {
  'gelu': functools.partial(jax.nn.gelu, approximate=True),  # by tanh
  'silu': jax.nn.silu,
}

LATER = {'qkv_bias'}  # fields that models of before do not have


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
  qkv_bias: bool = False  # queries, keys and values have a bias: Qwen 2

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
    else:
      return
    raise errors.InputError(f'model size: {fault}')

  def described(self) -> dict[str, Any]:
    """Returns the fields as model.json has them.

    Those that came later are left out at their default: files of models that
    need none of them are as they were, and older versions read them.
    """
    return {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.name not in LATER or getattr(self, field.name) != field.default
    }

  def local_layers(self) -> list[bool]:
    """Says which layers are local; 3 of pattern 'lg' -> True, False, True."""
    repeats = integers.cdiv(self.layers, len(self.pattern))
    return [letter == 'l' for letter in (self.pattern * repeats)[: self.layers]]

  def attention_share(self) -> float:
    """Returns the work of attention for each token of the row.

    It is a share of a token's work with a layer's weights; a token sees half of
    its row on average.
    """
    heads = 2 * self.heads + 2 * self.kv_heads
    weights = self.width * (heads * self.head_size + 3 * self.hidden)
    return self.heads * self.head_size / weights
