"""Maps weights in the files of others: names, shapes and order of axes.

Our parameters go by their path ('layers/attention/q'), others' by their name.
The tables hold a row for each kind of tensor. Axes: v vocabulary, d width,
f hidden, n heads, k kv_heads, h head_size, q = n * h, m = k * h, 1 one.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax.models import catalog, decoder
from restpg_jax.models import size as sizes

Shapes = dict[str, tuple[int, ...]]
Layers = int | slice | None  # one of them, several, or none


class Row(NamedTuple):
  """A kind of tensor, and which of our parameters lie in it."""

  name: str  # {} is the layer
  ours: str  # paths; several lie side by side on a first axis of theirs
  theirs: str  # their axes
  axes: str  # the same in our order; neighbours may be one axis of ours


HF_ENDS = (
  Row('model.embed_tokens.weight', 'embedding', 'vd', 'vd'),
  Row('lm_head.weight', 'head', 'vd', 'vd'),
)
HF = (
  *HF_ENDS,
  Row('model.norm.weight', 'final_norm/scale', 'd', 'd'),
  Row('model.layers.{}.layer_scalar', 'layers/layer_scalar', '1', '1'),
  *(
    Row(f'model.layers.{{}}.{name}.weight', f'layers/{ours}', theirs, axes)
    for name, ours, theirs, axes in (
      ('self_attn.q_proj', 'attention/q', 'qd', 'dq'),
      ('self_attn.k_proj', 'attention/k', 'md', 'dm'),
      ('self_attn.v_proj', 'attention/v', 'md', 'dm'),
      ('self_attn.o_proj', 'attention/out', 'dq', 'qd'),
      ('self_attn.q_norm', 'attention/q_norm/scale', 'h', 'h'),
      ('self_attn.k_norm', 'attention/k_norm/scale', 'h', 'h'),
      ('mlp.gate_proj', 'feed_forward/gate', 'fd', 'df'),
      ('mlp.up_proj', 'feed_forward/up', 'fd', 'df'),
      ('mlp.down_proj', 'feed_forward/down', 'df', 'fd'),
      ('input_layernorm', 'attention_norm/scale', 'd', 'd'),
    )
  ),
  *(
    Row(
      f'model.layers.{{}}.self_attn.{x}_proj.bias',
      f'layers/attention/{x}_bias',
      *(axis, axis),
    )
    for x, axis in zip('qkv', 'qmm', strict=True)
  ),
)
HF_NORMS = {  # post_norms -> the rest: one name means two things
  False: (
    Row(
      'model.layers.{}.post_attention_layernorm.weight',
      'layers/feed_forward_norm/scale',
      'd',
      'd',
    ),
  ),
  True: tuple(
    Row(f'model.layers.{{}}.{name}.weight', f'layers/{ours}/scale', 'd', 'd')
    for name, ours in (
      ('post_attention_layernorm', 'attention_post_norm'),
      ('pre_feedforward_layernorm', 'feed_forward_norm'),
      ('post_feedforward_layernorm', 'feed_forward_post_norm'),
    )
  ),
}
HF_ROWS = {256_128: 256_000}  # Gemma 1 and 2 come without padding
HF_IGNORED = re.compile(  # of multimodal models; buffers of old files
  r'(model\.)?(vision_tower|audio_tower|embed_vision|embed_audio)\.|'
  r'(model\.)?multi_modal_projector\.|.*\.rotary_emb\.inv_freq$'
)
GEMMA = (
  Row('embedder/input_embedding', 'embedding', 'vd', 'vd'),
  Row('final_norm/scale', 'final_norm/scale', 'd', 'd'),
  *(
    Row(f'layer_{{}}/{name}', ours, theirs, axes)
    for name, ours, theirs, axes in (
      ('attn/attn_vec_einsum/w', 'layers/attention/out', 'nhd', 'nhd'),
      ('attn/_query_norm/scale', 'layers/attention/q_norm/scale', 'h', 'h'),
      ('attn/_key_norm/scale', 'layers/attention/k_norm/scale', 'h', 'h'),
      ('mlp/linear', 'layers/feed_forward/down', 'fd', 'fd'),
      ('pre_attention_norm/scale', 'layers/attention_norm/scale', 'd', 'd'),
      (
        'post_attention_norm/scale',
        'layers/attention_post_norm/scale',
        'd',
        'd',
      ),
      ('pre_ffw_norm/scale', 'layers/feed_forward_norm/scale', 'd', 'd'),
      ('post_ffw_norm/scale', 'layers/feed_forward_post_norm/scale', 'd', 'd'),
    )
  ),
)
_Q, _K, _V = (f'layers/attention/{x}' for x in 'qkv')
GEMMA_HEADS = {  # as many kv_heads as heads -> queries, keys and values
  False: (
    Row('layer_{}/attn/q_einsum/w', _Q, 'ndh', 'dnh'),
    Row('layer_{}/attn/kv_einsum/w', f'{_K} {_V}', 'kdh', 'dkh'),
  ),
  True: (Row('layer_{}/attn/qkv_einsum/w', f'{_Q} {_K} {_V}', 'ndh', 'dnh'),),
}
GEMMA_ROWS = {256_000: 256_128, 262_208: 262_144}  # with padding; without it
GEMMA_TRANSPOSED = ('gemma2_9b', 'gemma2_27b')  # and all of Gemma 3
GEMMA_IGNORED = re.compile(  # the vision tower
  r'(SigLiPFromPatches_0|vision_encoder)/|embedder/mm_'
)
STACKED = re.compile(r'stacked_layers/attention_type_(\d+)/')


@dataclasses.dataclass(frozen=True)
class Tensor:
  """One tensor of a file, and which of our parameters lie in it."""

  name: str
  shape: tuple[int, ...]
  leaves: tuple[str, ...]
  theirs: str = ''
  axes: str = ''
  layers: Layers = None  # of the leaves; None: they have none

  def to_ours(self, x: np.ndarray, leaf: str) -> np.ndarray:
    """Returns the part of `leaf` in it; axes that we merge are still apart."""
    lead = int(isinstance(self.layers, slice))
    if len(self.leaves) > 1:
      x = x.take(self.leaves.index(leaf), axis=lead)
    order = [lead + self.theirs.index(axis) for axis in self.axes]
    return x.transpose(*range(lead), *order) if order else x

  def of(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the tensor, made from the whole of each of its leaves."""
    lead = int(isinstance(self.layers, slice))
    if self.layers is None:
      parts = [resized(x, self.shape[0]) for x in leaves]
    else:
      parts = [x[self.layers] for x in leaves]
    length = dict(zip(self.theirs[::-1], self.shape[::-1], strict=False))
    inner = [length[axis] for axis in self.axes]
    order = [lead + self.axes.index(axis) for axis in self.theirs]
    parts = [
      x.reshape(*x.shape[:lead], *inner).transpose(*range(lead), *order)
      for x in parts
    ]
    return np.stack(parts, axis=lead) if len(parts) > 1 else parts[0]


@functools.cache
def shapes(size: sizes.Size) -> Shapes:
  """Returns all that a decoder of this size consists of: path -> shape."""

  def init():  # all of it abstract: JAX does not choose its devices yet
    tokens = jnp.zeros((1, 1), int)
    return decoder.Decoder(size).init(jax.random.key(0), tokens)

  variables = jax.eval_shape(init)
  return {path: leaf.shape for path, leaf in flat(variables['params']).items()}


def ours(size: sizes.Size) -> list[Tensor]:
  """Returns the tensors of our own files: each is a leaf."""
  return [Tensor(path, shape, (path,)) for path, shape in shapes(size).items()]


def hf(size: sizes.Size, rows: int) -> list[Tensor]:
  """Returns those of a Hugging Face folder whose embedding has `rows`."""
  table = HF + HF_NORMS[size.post_norms]
  return [
    tensor
    for row in table
    for layer in _layers(row, size)
    if (tensor := _tensor(row, size, rows, layer)).leaves[0] in shapes(size)
  ]


def gemma(
  size: sizes.Size, rows: int, *, transposed: bool, types: int = 0
) -> list[Tensor]:
  """Returns those of a DeepMind checkpoint, by names in `canonical` form.

  transposed  the gating tensor is [2, F, D], not [2, D, F]
  types       0, or every so-many-th layer is stacked into one tensor
  """
  gates = 'layers/feed_forward/gate layers/feed_forward/up'
  table = (
    *GEMMA,
    *GEMMA_HEADS[size.heads == size.kv_heads],
    Row(
      'layer_{}/mlp/gating_einsum', gates, 'fd' if transposed else 'df', 'df'
    ),
  )
  return [
    _tensor(row, size, rows, layer)
    for row in table
    if set(row.ours.split()) <= set(shapes(size))
    for layer in _layers(row, size, types)
  ]


def gemma_transposed(size: sizes.Size) -> bool:
  """Says whether DeepMind publishes this size with [2, F, D] gates."""
  return size.qk_norm or any(
    size.width == catalog.CATALOG[name].width and size.post_norms
    for name in GEMMA_TRANSPOSED
  )


def hf_canonical(name: str) -> str:
  """Returns the name that a tensor of a text tower has in a text model.

  language_model.model.norm.weight, model.language_model.norm.weight  ->
  model.norm.weight
  """
  name = re.sub(r'^language_model\.(?=model\.|lm_head\.)', '', name)
  return re.sub(r'^model\.language_model\.', 'model.', name)


def canonical(name: str) -> str:
  """Returns one name for the flat, the nested and the stacked layout.

  transformer/layer_0/mlp/linear/w  ->  layer_0/mlp/linear
  """
  name = re.sub(r'^(params/)?(transformer/)?', '', name)
  return re.sub(r'(mlp/(linear|gating_einsum))/w$', r'\1', name)


def flat_name(name: str) -> tuple[str, str]:
  """Returns the keys of a canonical name in the flat layout, the published.

  layer_0/mlp/linear  ->  transformer/layer_0/mlp/linear, w
  """
  if re.search(r'mlp/(linear|gating_einsum)$', name):
    name += '/w'
  outer, _, inner = f'transformer/{name}'.rpartition('/')
  return outer, inner


def gemma_size(by_name: Mapping[str, tuple[int, ...]]) -> sizes.Size | None:
  """Returns the published model with these shapes (by canonical name), if any.

  Raises KeyError where a name is missing that all of them have.
  """
  shape_of, _ = unstack_names(by_name)
  embedding = shape_of['embedder/input_embedding']
  heads, size, width = shape_of['layer_0/attn/attn_vec_einsum/w']
  kv = shape_of.get('layer_0/attn/kv_einsum/w', (2, heads))
  measured = {
    'layers': len({n for n in shape_of if n.endswith('/pre_ffw_norm/scale')}),
    'width': width,
    'hidden': shape_of['layer_0/mlp/linear'][0],
    'heads': heads,
    'kv_heads': kv[1],
    'head_size': size,
    'post_norms': 'layer_0/post_ffw_norm/scale' in shape_of,
    'qk_norm': 'layer_0/attn/_query_norm/scale' in shape_of,
  }
  for known in catalog.CATALOG.values():
    if known.period() > 1:
      continue  # no checkpoint of Gemma 4 has been seen here
    if measured.items() <= dataclasses.asdict(known).items():
      return dataclasses.replace(known, vocabulary=embedding[0])
  return None


def uneven(by_name: Mapping[str, tuple[int, ...]]) -> bool:
  """Says whether layers differ in the shape of their heads: Gemma 4."""
  shape_of, _ = unstack_names(by_name)
  ends = 'attn/attn_vec_einsum/w'
  return len({s for name, s in shape_of.items() if name.endswith(ends)}) > 1


def unstack_names(
  by_name: Mapping[str, tuple[int, ...]],
) -> tuple[Shapes, int]:
  """Returns shapes as if no layers were stacked, and the number of their types.

  The number is 0 where no layers are stacked.
  """
  types = 1 + max(
    (int(m[1]) for m in map(STACKED.match, by_name) if m), default=-1
  )
  apart = {}
  for name, shape in by_name.items():
    match = STACKED.match(name)
    if not match:
      apart[name] = tuple(shape)
      continue
    for n in range(shape[0]):
      layer = n * types + int(match[1])
      apart[f'layer_{layer}/{name[match.end() :]}'] = tuple(shape[1:])
  return apart, types


def resized(x: np.ndarray, rows: int) -> np.ndarray:
  """Returns x without its last rows, or with rows of zeros behind them."""
  if len(x) >= rows:
    return x[:rows]
  return np.concatenate([x, np.zeros((rows - len(x), *x.shape[1:]), x.dtype)])


def flat(tree: Any, path: str = '') -> dict[str, Any]:
  """{'a': {'b': 1}}  ->  {'a/b': 1}"""
  if not isinstance(tree, Mapping):
    return {path: tree}
  return {
    name: leaf
    for key, inner in tree.items()
    for name, leaf in flat(inner, f'{path}/{key}' if path else key).items()
  }


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
  """{'a/b': 1}  ->  {'a': {'b': 1}}"""
  tree = {}
  for path, leaf in leaves.items():
    *above, name = path.split('/')
    inner = tree
    for key in above:
      inner = inner.setdefault(key, {})
    inner[name] = leaf
  return tree


def _layers(row: Row, size: sizes.Size, types: int = 0) -> Sequence[Layers]:
  """Returns the layer of each tensor of a kind, or the layers stacked in it."""
  if '{}' not in row.name:
    return [None]
  if types:
    used = min(types, size.layers)
    return [slice(n, size.layers, types) for n in range(used)]
  # Those of a stack together: each is then read once where they are written.
  period = size.period()
  return [n for p in range(period) for n in range(p, size.layers, period)]


def _tensor(row: Row, size: sizes.Size, rows: int, layers: Layers) -> Tensor:
  path, index = row.ours, layers
  if isinstance(layers, int) and size.period() > 1:
    stack, index = sizes.stack(layers, size.period())
    path = path.replace('layers', stack, 1)
    size = size.by_layer()[layers]
  length = {
    '1': 1,
    'v': rows,
    'd': size.width,
    'f': size.hidden,
    'n': size.heads,
    'k': size.kv_heads,
    'h': size.head_size,
    'q': size.heads * size.head_size,
    'm': size.kv_heads * size.head_size,
  }
  leaves = tuple(path.split())
  shape = tuple(length[axis] for axis in row.theirs)
  if len(leaves) > 1:
    shape = (len(leaves), *shape)
  name = row.name.format(layers)
  if isinstance(layers, slice):
    shape = (len(range(size.layers)[layers]), *shape)
    name = row.name.replace(
      'layer_{}', f'stacked_layers/attention_type_{layers.start}'
    )
  return Tensor(name, shape, leaves, row.theirs, row.axes, index)
