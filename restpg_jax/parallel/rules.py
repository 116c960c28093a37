"""Which axis of which parameter is split over which axis of the mesh.

fsdp, sequence
        a share of every weight: gathered when its layer is computed
model   a share of the heads and of the feed-forward's hidden units, and of the
        vocabulary: stays where it is, what the layer gives is summed
"""

import math
import re

from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

from restpg_jax import errors

GATHERED = 'fsdp', 'sequence'
# Words, not columns: see parted.py.
VOCABULARY = *GATHERED, 'model'
# (path, axes of the parameter). Every parameter of a model matches one rule;
# leaves of the optimizer carry their parameter's path and so its rule. Those of
# layers are a layer's; stacked layers have one axis more in front. Keys and
# values have few heads, Gemma 2B one: each device of `model` has all of them.
RULES = (
  # Of adapters, before those of their projections: small, whole everywhere.
  (r"'(a|b)'", (None, None)),
  (r"'(embedding|head)'", (VOCABULARY, None)),
  (r"'(q|gate|up)'", (GATHERED, 'model')),
  (r"'(k|v)'", (GATHERED, None)),
  (r"'(out|down)'", ('model', GATHERED)),
  (r"'scale'", (None,)),
)


def spec(path: str, shape: tuple[int, ...], mesh: Mesh) -> Spec:
  """The partition of a leaf: whole where it has another shape than a rule's
  parameter (factored moments), or an axis that does not divide."""
  for axes in matching_rule(path)[:1]:  # the first decides
    if "'layers'" in path:
      axes = (None, *axes)
    if len(axes) == len(shape):
      return Spec(*map(_axis(mesh), axes, shape))
  return Spec()


def matching_rule(path: str) -> list[tuple[str | tuple[str, ...] | None, ...]]:
  """The axes of each rule for this path: one for a parameter."""
  return [axes for pattern, axes in RULES if re.search(pattern, path)]


def check_divisible(size, mesh: Mesh) -> None:
  """Raises InputError for a models.decoder.Size that `model` does not divide:
  a head must not lie in two parts."""
  parts = mesh.shape['model']
  for name in ('heads', 'hidden', 'vocabulary'):
    if getattr(size, name) % parts:
      raise errors.InputError(
        f'compute.model={parts} does not divide the {getattr(size, name)} '
        f'{name} of the model; take a smaller power of two'
      )


def _axis(mesh: Mesh):
  """Where a size is split, or None: not over an axis that the mesh lacks or
  where it does not divide."""

  def one(axes, size):
    axes = axes if isinstance(axes, tuple) else (axes,)
    found = tuple(a for a in axes if mesh.shape.get(a, 1) > 1)
    if not found or size % math.prod(mesh.shape[a] for a in found):
      return None
    return found if len(found) > 1 else found[0]

  return one
