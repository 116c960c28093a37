"""One of two processes that keep programs: for own devices, and for all."""

import collections
import json
import sys

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from restpg_jax.io import compiled


def main(folder: str, address: str, number: int) -> None:
  jax.config.update('jax_num_cpu_devices', 2)
  jax.distributed.initialize(
    address, 2, number, coordinator_bind_address=address
  )
  events = []
  jax.monitoring.register_event_listener(
    lambda event, **_: events.append(event.split('/')[-1])
  )
  x = np.arange(8, dtype=np.float32).reshape(2, 4)
  with compiled.programs_in(folder):
    own = jax.pmap(lambda x: x @ x, devices=jax.local_devices())
    values = np.asarray(own(x)).tolist()
    mesh = Mesh(np.array(jax.devices()), ('rows',))
    rows = NamedSharding(mesh, PartitionSpec('rows'))
    shared = jax.make_array_from_process_local_data(rows, x, (4, 4))
    total = jax.jit(lambda x: (x * x).sum())(shared)
    values.append(float(total))
  counts = collections.Counter(events)
  print(json.dumps([counts['cache_hits'], counts['cache_misses'], values]))
  jax.distributed.shutdown()


if __name__ == '__main__':
  main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
