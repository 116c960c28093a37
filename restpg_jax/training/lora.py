"""Adds low-rank adapters (LoRA, arXiv 2106.09685): W stays, A B is learnt.

A projection W [D, F] becomes W + A B * alpha / rank, with A [D, rank] and
B [rank, F]; B is zero at the start, so that training begins at the base
exactly. Adapters are a tree like the parameters', a pair {'a', 'b'} in the
place of each W that has one; of stacked layers, stacked pairs.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax import config, errors

Tree = Any  # nested dicts of arrays
PARTS = {  # projection -> where it is in a layer
  'q': 'attention',
  'k': 'attention',
  'v': 'attention',
  'out': 'attention',
  'gate': 'feed_forward',
  'up': 'feed_forward',
  'down': 'feed_forward',
}


def check_targets(
  settings: config.Lora, shapes: Mapping[str, tuple[int, ...]]
) -> None:
  """Raises InputError for adapters that cannot be trained.

  `shapes` are those of all parameters by path, 'layers/attention/q'.
  """
  unknown = [name for name in settings.targets if name not in PARTS]
  if settings.rank < 0:
    fault = f'rank is {settings.rank}; it must be 0 (no adapters) or more'
  elif unknown:
    fault = f'targets has {unknown[0]!r}; known are {", ".join(PARTS)}'
  elif not settings.targets:
    fault = f'targets is empty; name some of {", ".join(PARTS)}'
  elif len(set(settings.targets)) < len(settings.targets):
    fault = f'targets names one twice: {", ".join(settings.targets)}'
  elif not settings.alpha > 0:
    fault = f'alpha is {settings.alpha:g}; it must be above 0'
  else:
    fault = _too_large(settings, shapes)
  if fault:
    raise errors.InputError(f'train.lora.{fault}')


def split(
  params: Tree, settings: config.Lora, *, dtype: jax.typing.DTypeLike, seed: int
) -> tuple[Tree, Tree]:
  """Returns (frozen, trained).

  Without adapters nothing is frozen, else all parameters are, in the `dtype`
  that the model computes in.
  """
  if not settings.rank:
    return {}, params
  return frozen(params, dtype), fresh(params, settings, seed=seed)


def fresh(params: Tree, settings: config.Lora, *, seed: int) -> Tree:
  """Returns new adapters: A normal with variance 1 / D, B zero."""
  layers: dict[str, Any] = {}
  for path, weight in _projections(params['layers'], settings.targets):
    count, D, F = weight.shape
    *stack, part, name = path
    key = jax.random.fold_in(
      jax.random.key(seed),
      zlib.crc32('/'.join(['lora', *stack, name]).encode()),
    )
    pair = {
      'a': jax.random.normal(key, (count, D, settings.rank)) * D**-0.5,
      'b': jnp.zeros((count, settings.rank, F)),
    }
    inner = layers
    for above in (*stack, part):
      inner = inner.setdefault(above, {})
    inner[name] = pair
  return {'layers': layers}


def _projections(
  layers: Tree, targets: Sequence[str]
) -> Iterator[tuple[list[str], Any]]:
  """Yields path and value of each that is adapted: attention, q  ->  [n, D, F].

  Where layers differ in shape they are several stacks, with a name more in
  front (models/decoder.py), and some may be without a target.
  """
  for name in targets:
    if PARTS[name] in layers:
      yield [PARTS[name], name], layers[PARTS[name]][name]
      continue
    for stack, inner in layers.items():
      if name in inner[PARTS[name]]:
        yield [stack, PARTS[name], name], inner[PARTS[name]][name]


def frozen(params: Tree, dtype: jax.typing.DTypeLike) -> Tree:
  """Returns parameters as the decoder would cast them.

  Vectors, those of norms and biases, which it computes with in float32, stay.
  """

  def cast(path: Any, x: Any) -> Any:
    name = path[-1].key
    if name == 'scale' or name.endswith('_bias'):
      return x
    return x.astype(dtype, copy=False)

  return jax.tree_util.tree_map_with_path(cast, params)


def variables(
  trained: Tree, frozen: Tree, settings: config.Lora
) -> dict[str, Tree]:
  """Returns the variables that the decoder is applied to."""
  if not settings.rank:
    return {'params': trained}

  def scaled(path: Any, x: Any) -> Any:
    return x * (settings.alpha / settings.rank) if path[-1].key == 'b' else x

  adapters = jax.tree_util.tree_map_with_path(scaled, trained)
  return {'params': frozen, 'lora': adapters}


def merged(
  weight: np.ndarray, a: np.ndarray, b: np.ndarray, *, scale: float
) -> np.ndarray:
  """Returns W + A B * scale, of all layers, float32."""
  return weight + np.float32(scale) * np.matmul(a, b)


def _too_large(
  settings: config.Lora, shapes: Mapping[str, tuple[int, ...]]
) -> str:
  """Says which matrix has a smaller rank than its adapter, '' if none."""
  for name in settings.targets:
    matrices = [
      shape[-2:]
      for path, shape in shapes.items()
      if path.startswith('layers/') and path.endswith(f'{PARTS[name]}/{name}')
    ]
    D, F = min(matrices, key=min)
    if settings.rank > min(D, F):
      return (
        f'rank is {settings.rank}, but {name} is a matrix of {D} x {F}; take '
        f'at most {min(D, F)}'
      )
  return ''
