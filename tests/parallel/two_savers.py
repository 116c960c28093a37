"""Run twice by test_hosts.py, as `two_savers.py PORT NUMBER FOLDER`: the first
process writes a model by itself, then both write training states together."""

import sys
import time

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from orbax.checkpoint._src.futures import future

from restpg_jax.io import checkpoints
from tests import tiny


def main(port: str, number: str, folder: str) -> None:
  address = f'127.0.0.1:{port}'
  jax.distributed.initialize(
    coordinator_address=address,
    num_processes=2,
    process_id=int(number),
    coordinator_bind_address=address,
  )
  if number == '0':
    checkpoints.save_tree(f'{folder}/base', {'w': np.arange(8.0)})
  else:
    slow_to_wait()
  sharding = NamedSharding(Mesh(jax.devices(), 'x'), PartitionSpec('x'))
  with checkpoints.Saver() as saver:
    for step in range(4):
      tree = {'w': jax.device_put(np.full(8, step), sharding)}
      saver.save(f'{folder}/step_{step}', tree, tree, tiny.size())


def slow_to_wait() -> None:
  """What this process waits for may be over and cleared away when it looks."""
  wait_for_signals = future.wait_for_signals

  def late(*args, **kwargs) -> None:
    time.sleep(1)
    wait_for_signals(*args, **kwargs)

  future.wait_for_signals = late


if __name__ == '__main__':
  main(*sys.argv[1:])
