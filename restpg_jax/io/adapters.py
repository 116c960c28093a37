"""Low-rank adapters on disk, read as the weights that they make of their base.

What adapters are is in training/lora.py; a folder of them is a model folder
whose model.json names the base beside which they were trained.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from etils import epath

from restpg_jax import errors
from restpg_jax.io import checkpoints, foreign, shapes
from restpg_jax.training import lora


@dataclasses.dataclass(frozen=True)
class Adapters:
  """Adapters on disk, and what they change."""

  base: epath.Path  # the folder of the weights
  scale: float  # of A B
  tree: checkpoints.CheckpointTree  # 'layers/attention/q/a' and '../b'


def merged_reader(
  path: epath.Path,
  tree: checkpoints.CheckpointTree,
  *,
  read_base: Callable[[str], np.ndarray],
  base_shapes: Mapping[str, tuple[int, ...]],
  scale: float,
) -> Callable[[str], np.ndarray]:
  """Returns what reads W + A B * scale, a parameter of the base by its path.

  Raises InputError where the adapters of `tree` do not fit the base's shapes.
  """
  pairs = {name.removesuffix('/a') for name in tree.shapes}
  pairs = {name for name in pairs if name in base_shapes}
  expected = {
    name: shape
    for pair in sorted(pairs)
    for name, shape in _pair_shapes(
      pair, base_shapes[pair], rank=tree.shapes[f'{pair}/a'][-1]
    ).items()
  }
  wrong = shapes.differences(tree.shapes, expected)
  if wrong:
    raise errors.InputError(
      f'{path}: {len(wrong)} adapters do not fit its {foreign.MODEL}: '
      f'{shapes.listed(wrong)}'
    )

  def read(name: str) -> np.ndarray:
    weight = read_base(name)
    if name not in pairs:
      return weight
    a, b = (tree.read(f'{name}/{part}') for part in 'ab')
    return lora.merged(weight, a, b, scale=scale)

  return read


def _pair_shapes(
  name: str, shape: tuple[int, ...], *, rank: int
) -> dict[str, tuple[int, ...]]:
  """W [.., D, F]  ->  A [.., D, rank] and B [.., rank, F]."""
  *layers, D, F = shape
  return {f'{name}/a': (*layers, D, rank), f'{name}/b': (*layers, rank, F)}
