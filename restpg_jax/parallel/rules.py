"""Says which axis of which parameter is split over which axis of the mesh.

fsdp, sequence
        a share of every weight: gathered when its layer is computed
model   a share of the heads and of the feed-forward's hidden units, and of the
        vocabulary: stays where it is, what the layer gives is summed
"""

import math
import re
from collections.abc import Callable

from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

from restpg_jax import errors

GATHERED = 'fsdp', 'sequence'
# Rows of tokens, not columns: see ActivationSharding.look_up.
VOCABULARY = *GATHERED, 'model'
Axes = str | tuple[str, ...] | None  # of the mesh, for an axis of a parameter
# (path, axes of the parameter). Every parameter of a model matches one rule;
# leaves of the optimizer carry their parameter's path and so its rule. Those of
# layers are a layer's; stacked layers have one axis more in front. Keys and
# values have few heads, Gemma 2B one: each device of `model` has all of them.
RULES: tuple[tuple[str, tuple[Axes, ...]], ...] = (
  # Of adapters, before those of their projections: small, whole everywhere.
  (r"'(a|b)'", (None, None)),
  (r"'(embedding|head)'", (VOCABULARY, None)),
  (r"'(q|gate|up)'", (GATHERED, 'model')),
  (r"'(k|v)'", (GATHERED, None)),
  (r"'(out|down)'", ('model', GATHERED)),
  (r"'(scale|layer_scalar|[qkv]_bias)'", (None,)),
)


def spec(path: str, shape: tuple[int, ...], mesh: Mesh) -> Spec:
  """Returns the partition of a leaf.

  It is whole where it has another shape than its rule's parameter (factored
  moments), or an axis that does not divide.
  """
  for axes in matching_rule(path)[:1]:  # the first decides
    if "'layers'" in path:
      axes = (None, *axes)
    if len(axes) == len(shape):
      return Spec(*map(_axis(mesh), axes, shape))
  return Spec()


def matching_rule(path: str) -> list[tuple[Axes, ...]]:
  """Returns the axes of each rule for this path: one for a parameter."""
  return [axes for pattern, axes in RULES if re.search(pattern, path)]


def check_divisible(size: object, mesh: Mesh) -> None:
  """Raises InputError for a models.sizes.Size that `model` does not divide.

  A head must not lie in two parts.
  """
  parts = mesh.shape['model']
  for name in ('heads', 'hidden', 'vocabulary'):
    if getattr(size, name) % parts:
      raise errors.InputError(
        f'compute.model={parts} does not divide the {getattr(size, name)} '
        f'{name} of the model; take a smaller power of two'
      )


def _axis(mesh: Mesh) -> Callable[[Axes, int], Axes]:
  """Returns a function that says where a size is split, or None.

  It is not over an axis that the mesh lacks, or where it does not divide.
  """

  def one(axes: Axes, size: int) -> Axes:
    axes = axes if isinstance(axes, tuple) else (axes or '',)
    names = tuple(a for a in axes if mesh.shape.get(a, 1) > 1)
    if not names or size % math.prod(mesh.shape[a] for a in names):
      return None
    first, *others = names
    return names if others else first

  return one
