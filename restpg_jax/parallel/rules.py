"""Which axis of which parameter is split over the `fsdp` devices."""

import re

from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

# (path, axes of the parameter); the first rule that matches decides. Leaves of
# the optimizer carry their parameter's path, so the rules hold for them too.
# Those of layers are a layer's; stacked layers have one axis more in front.
RULES = (
  (r"'(a|b)'", ()),  # of adapters: small, whole on every device
  (r"'(embedding|head)'", ('fsdp', None)),
  (r"'(q|k|v|gate|up)'", ('fsdp', None)),
  (r"'(out|down)'", (None, 'fsdp')),
  (r"'scale'", ()),
)


def spec(path: str, shape: tuple[int, ...], mesh: Mesh) -> Spec:
  """The partition of a leaf; whole where it has another shape than a rule's
  parameter (factored moments) or does not divide."""
  for pattern, axes in RULES:
    if re.search(pattern, path):
      if "'layers'" in path and axes:
        axes = (None, *axes)
      fits = len(axes) == len(shape) and all(
        axis is None or size % mesh.shape[axis] == 0
        for axis, size in zip(axes, shape, strict=True)
      )
      return Spec(*axes) if fits else Spec()
  return Spec()
