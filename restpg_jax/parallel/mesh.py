"""Arranges the devices of a run as a mesh: data x fsdp x sequence x model.

The examples of a training step lie in rows, over data and fsdp. Many devices
would have more rows than the examples fill: there `sequence` of them have a
part of each row. Weights are split over fsdp and sequence, see rules.py.
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh

from restpg_jax import config, errors

# JAX exports its class as a variable, which no checker takes for a type.
Device: TypeAlias = jax.Device  # pyright: ignore[reportInvalidTypeForm]
AXES = ('data', 'fsdp', 'sequence', 'model')
# Devices that share the weights where compute.fsdp is 0, at most: over all 64
# chips of a v4 slice the compiler makes all-reduces of the gathers.
MAX_SHARING = 16
SHARING = 1, 2, 4, 8, 16  # sizes of `sequence`: 16 divides the targets of a row
FILL = 16  # examples that fill the rows of a device to nine tenths


def make_mesh(
  devices: Sequence[Device], compute: config.Compute, examples: int = 0
) -> Mesh:
  """Returns the mesh; the devices of a process lie side by side in it.

  `examples` are those of a training step, 0 where nothing is trained. Raises
  InputError where an axis does not divide the devices.
  """
  sizes = {name: getattr(compute, name) for name in ('model', 'fsdp')}
  sizes['sequence'] = compute.sequence or context_parallel(
    devices, compute, examples
  )
  if sizes['sequence'] not in SHARING:
    raise errors.InputError(
      f'compute.sequence={compute.sequence} must be one of '
      f'{", ".join(map(str, SHARING))}, or 0'
    )
  for name, parts in sizes.items():
    if parts and len(devices) % parts:
      raise errors.InputError(
        f'compute.{name}={parts} does not divide {len(devices)} devices'
      )
  sequence, model = sizes['sequence'], sizes['model']
  left = len(devices) // (sequence * model)
  max_fsdp = max(1, MAX_SHARING // sequence)
  fsdp = sizes['fsdp'] or next(
    n for n in range(max_fsdp, 0, -1) if left % n == 0
  )
  if len(devices) % (fsdp * sequence * model):
    named = {'fsdp': fsdp, 'sequence': sequence, 'model': model}
    product = ' times '.join(
      f'compute.{name}={n}' for name, n in named.items() if n > 1
    )
    raise errors.InputError(f'{product} does not divide {len(devices)} devices')
  order = sorted(devices, key=lambda d: (d.process_index, d.id))
  return Mesh(np.array(order).reshape(-1, fsdp, sequence, model), AXES)


def context_parallel(
  devices: Sequence[Device], compute: config.Compute, examples: int
) -> int:
  """Returns the number of devices that share a row.

  They are as few as let the examples of a step fill the rows; on other devices
  than TPUs, whose attention can be split so, it is 1.
  """
  splash = compute.attention in ('', 'splash')
  if not examples or not splash or devices[0].platform != 'tpu':
    return 1
  fsdp = compute.fsdp or 1
  left, others = divmod(len(devices), compute.model * fsdp)
  possible = [n for n in SHARING if not others and left % n == 0] or [1]
  filled = (n for n in possible if left // n * fsdp * FILL <= examples)
  return next(filled, possible[-1])


def part_cpu(devices: int) -> None:
  """Gives this process so many CPU devices, before it has used any.

  Raises InputError where it has used another number of them.
  """
  try:
    jax.config.update('jax_num_cpu_devices', devices)
  except RuntimeError:  # JAX has begun: it may have just as many
    if jax.device_count('cpu') != devices:
      raise errors.InputError(
        f'compute.cpu_devices={devices}, but this process has '
        f'{jax.device_count("cpu")} already; start another'
      ) from None
