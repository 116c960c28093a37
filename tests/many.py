"""Starts processes for tests: of one run on this machine, of many devices."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
SMALL = """
from tests import pipeline

def get_config():
  return pipeline.small(methods=('rest_pg',))
"""


@contextlib.contextmanager
def free_port() -> Iterator[int]:
  """Holds a port, so that the system gives it to nobody else.

  gRPC, which shares its ports, may listen there all the same.
  """
  with socket.socket() as reserved:
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(('127.0.0.1', 0))
    yield reserved.getsockname()[1]


def of_eight_devices(script: pathlib.Path) -> Any:
  """Returns what a script prints as JSON where there are 8 virtual devices."""
  done = subprocess.run(
    [sys.executable, script],
    env=os.environ
    | {
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': os.environ['XLA_FLAGS']
      + ' --xla_force_host_platform_device_count=8',
      'PYTHONPATH': str(ROOT),
    },
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


def ended(processes: list[subprocess.Popen], seconds: float) -> list[Any]:
  """Returns (stdout, stderr) of each process; all end, or are killed."""
  try:
    return [process.communicate(timeout=seconds) for process in processes]
  finally:
    for process in processes:
      process.kill()


def start(
  arguments, *, count=1, index=0, port=0, devices=1, script=()
) -> subprocess.Popen:
  """Starts process `index` of `count`.

  `script` replaces `-m restpg_jax.main`.
  """
  cluster = [
    f'--coordinator=127.0.0.1:{port}',
    f'--num_processes={count}',
    f'--process_id={index}',
  ]
  return subprocess.Popen(
    [
      sys.executable,
      *(script or ['-m', 'restpg_jax.main']),
      *arguments,
      f'--config.compute.cpu_devices={devices}',
      *(cluster if count > 1 else ()),
    ],
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def run(
  arguments, *, count, devices, seconds=600
) -> list[tuple[int, str, str]]:
  """Runs `count` processes to their end.

  Returns (exit code, stdout, stderr) of each.
  """
  with free_port() as port:
    processes = [
      start(arguments, count=count, index=n, port=port, devices=devices)
      for n in range(count)
    ]
    outputs = ended(processes, seconds)
  return [
    (process.returncode, *texts)
    for process, texts in zip(processes, outputs, strict=True)
  ]
