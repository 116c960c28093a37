"""The devices of a run as a mesh: data x fsdp x sequence x model.

The examples of a training step lie in rows, over data and fsdp. Many devices
would have more rows than the examples fill: there `sequence` of them have a
part of each row. Weights are split over fsdp and sequence, see rules.py.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from restpg_jax import config, errors

AXES = ('data', 'fsdp', 'sequence', 'model')
# Devices that share the weights where compute.fsdp is 0, at most: over all 64
# chips of a v4 slice the compiler makes all-reduces of the gathers.
MOST = 16
SHARING = 1, 2, 4, 8, 16  # sizes of `sequence`: 16 divides the targets of a row
FILL = 16  # examples that fill the rows of a device to nine tenths


def make_mesh(
  devices: Sequence[jax.Device], compute: config.Compute, examples: int = 0
) -> Mesh:
  """The devices of a process lie side by side.

  examples: of a training step, 0 where nothing is trained.
  """
  asked = {name: getattr(compute, name) for name in ('model', 'fsdp')}
  asked['sequence'] = compute.sequence or context_parallel(
    devices, compute, examples
  )
  if asked['sequence'] not in SHARING:
    raise errors.InputError(
      f'compute.sequence={compute.sequence} must be one of '
      f'{", ".join(map(str, SHARING))}, or 0'
    )
  for name, parts in asked.items():
    if parts and len(devices) % parts:
      raise errors.InputError(
        f'compute.{name}={parts} does not divide {len(devices)} devices'
      )
  sequence, model = asked['sequence'], asked['model']
  left = len(devices) // (sequence * model)
  most = max(1, MOST // sequence)
  fsdp = asked['fsdp'] or next(n for n in range(most, 0, -1) if left % n == 0)
  if len(devices) % (fsdp * sequence * model):
    named = {'fsdp': fsdp, 'sequence': sequence, 'model': model}
    said = ' times '.join(
      f'compute.{name}={n}' for name, n in named.items() if n > 1
    )
    raise errors.InputError(f'{said} does not divide {len(devices)} devices')
  order = sorted(devices, key=lambda d: (d.process_index, d.id))
  return Mesh(np.array(order).reshape(-1, fsdp, sequence, model), AXES)


def context_parallel(
  devices: Sequence[jax.Device], compute: config.Compute, examples: int
) -> int:
  """How many share a row, so that the examples of a step fill the rows; on
  TPUs, whose attention can be parted so."""
  parted = devices[0].platform == 'tpu' and compute.attention in ('', 'splash')
  if not examples or not parted:
    return 1
  fsdp = compute.fsdp or 1
  left, others = divmod(len(devices), compute.model * fsdp)
  can = [n for n in SHARING if not others and left % n == 0] or [1]
  few = (n for n in can if left // n * fsdp * FILL <= examples)
  return next(few, can[-1])


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
