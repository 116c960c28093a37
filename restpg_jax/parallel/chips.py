"""Lists TPU chips, and makes slices of them to compile for without any."""

import dataclasses
import os
import re

import jax

from restpg_jax import errors
from restpg_jax.parallel import mesh


@dataclasses.dataclass(frozen=True)
class Chip:
  """What a program can use of a chip."""

  name: str
  usable: float  # GiB of memory: what the compiler says when that is too little
  flops: float  # bfloat16, a second
  bandwidth: float  # bytes of memory, a second


# By JAX's `device_kind`. Peaks: cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e},
# bfloat16 TFLOP/s and HBM GB/s (or GiB/s, as the page has it) of a chip.
CHIPS = {
  'TPU v4': Chip('v4', 30.75, 275e12, 1228e9),
  'TPU v5 lite': Chip('v5e', 15.75, 197e12, 819e9),
  'TPU v5': Chip('v5p', 95.73, 459e12, 2765e9),
  'TPU v6 lite': Chip('v6e', 31.24, 918e12, 1640e9),
}
TOPOLOGY = re.compile(r'(v4|v5e|v5p|v6e):\d+x\d+(x\d+)?')
# libtpu asks for them on a machine without TPUs, and complains without.
QUIET = {
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'TPU_ACCELERATOR_TYPE': 'v4-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_LOG_DIR': 'disabled',
}


def described(topology: str) -> list[mesh.Device]:
  """Returns the chips of a slice such as 'v4:4x4x4', to compile for.

  JAX itself stays on the CPU. Raises InputError where the compiler is not
  installed, or has no such slice.
  """
  match = TOPOLOGY.fullmatch(topology)
  if not match:
    raise errors.InputError(
      f'--topology={topology}: give a kind of chip and the sides of a slice, '
      'for instance v4:4x4x4, v4:2x4x4, v5e:8x8, v5p:4x4x4 or v6e:8x8'
    )
  from jax.experimental import topologies  # slow, and rarely needed

  for name, value in QUIET.items():
    os.environ.setdefault(name, value)
  jax.config.update('jax_platforms', 'cpu')
  # Without it a v4 has two devices a chip, of half its memory each.
  options = {'chip_config_name': 'megacore'} if match[1] == 'v4' else {}
  try:
    slice_ = topologies.get_topology_desc(
      platform='tpu', topology_name=topology, **options
    )
  except Exception as e:  # whatever libtpu, or its absence, raises
    detail = errors.detail(e)
    if 'not installed' in detail:
      raise errors.InputError(
        f'--topology={topology} needs the TPU compiler, libtpu; in a clone of '
        f"restpg_jax: pip install -e '.[tpu]' ({detail})"
      ) from e
    raise errors.InputError(
      f'--topology={topology}: there is no such slice ({detail})'
    ) from e
  return list(slice_.devices)
