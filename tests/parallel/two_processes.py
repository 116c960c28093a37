"""Run twice by test_hosts.py, as `two_processes.py PORT NUMBER`, with 4 devices
each: trains over all 8 and prints what the process saw."""

import hashlib
import json
import sys

import eight_devices
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from restpg_jax import config
from restpg_jax.parallel import layout as layouts
from restpg_jax.parallel import mesh as meshes


def main(port: str, number: str) -> None:
  address = f'127.0.0.1:{port}'
  jax.distributed.initialize(
    coordinator_address=address,
    num_processes=2,
    process_id=int(number),
    coordinator_bind_address=address,
  )
  compute = config.Compute(fsdp=2, model=2)
  layout = layouts.Layout(meshes.make_mesh(jax.devices(), compute), compute)
  mine = np.array(jax.local_devices()[:1]).reshape(1, 1, 1, 1)
  alone = layouts.Layout(Mesh(mine, meshes.AXES), compute)
  init = jax.jit(eight_devices.MODEL.init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  params = jax.device_get(params)
  trained = eight_devices.train(params, layout, 5)
  together = multihost_utils.process_allgather(trained.params, tiled=True)
  report = {
    'devices': layout.devices,
    'own_rows': layout.own_rows(16),
    'held': trained.params['embedding'].addressable_shards[0].data.shape,
    'weights': digest(together),
  }
  if not jax.process_index():
    # Compiled by one of the two: they gathered the same weights.
    by_itself = eight_devices.train(params, alone, 5).params
    report |= {
      'difference': max(eight_devices.differences(together, by_itself)),
      'moved': min(eight_devices.differences(params, by_itself)),
    }
  print(json.dumps(report))


def digest(params) -> str:
  """Of every bit of the parameters."""
  arrays = [np.asarray(x).tobytes() for x in jax.tree.leaves(params)]
  return hashlib.sha256(b''.join(arrays)).hexdigest()


if __name__ == '__main__':
  main(*sys.argv[1:])
