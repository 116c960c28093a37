"""The devices of a run as a mesh: data x fsdp x model."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from restpg_jax import config, errors

AXES = ('data', 'fsdp', 'model')
# Devices that share the weights where compute.fsdp is 0, at most: over all 64
# chips of a v4 slice the compiler makes all-reduces of the gathers.
MOST = 16


def of(devices: Sequence[jax.Device], compute: config.Compute) -> Mesh:
  """data x fsdp x model; the devices of a process lie side by side."""
  for name in ('model', 'fsdp'):
    parts = getattr(compute, name)
    if parts and len(devices) % parts:
      raise errors.InputError(
        f'compute.{name}={parts} does not divide {len(devices)} devices'
      )
  left = len(devices) // compute.model
  fsdp = compute.fsdp or next(n for n in range(MOST, 0, -1) if left % n == 0)
  if left % fsdp:
    raise errors.InputError(
      f'compute.fsdp={fsdp} times compute.model={compute.model} does not '
      f'divide {len(devices)} devices'
    )
  order = sorted(devices, key=lambda d: (d.process_index, d.id))
  return Mesh(np.array(order).reshape(-1, fsdp, compute.model), AXES)


def part_cpu(devices: int) -> None:
  """Gives this process so many CPU devices; before it has used any."""
  try:
    jax.config.update('jax_num_cpu_devices', devices)
  except RuntimeError:  # JAX has begun: it may have just as many
    if jax.device_count('cpu') != devices:
      raise errors.InputError(
        f'compute.cpu_devices={devices}, but this process has '
        f'{jax.device_count("cpu")} already; start another'
      ) from None
