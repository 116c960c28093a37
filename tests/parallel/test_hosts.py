"""Facts about training over several processes, each with its own devices."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope='module')
def two():
  """What each of two processes with 4 virtual devices found."""
  with socket.socket() as reserved:
    # Held until both have ended, so that the system gives the port to nobody
    # else; gRPC, which shares its ports, may listen there all the same.
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(('127.0.0.1', 0))
    started = [start(reserved.getsockname()[1], n) for n in range(2)]
    try:
      ended = [process.communicate(timeout=600) for process in started]
    finally:
      for process in started:
        process.kill()
  for process, (_, err) in zip(started, ended, strict=True):
    assert process.returncode == 0, err
  return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def start(port: int, number: int) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, HERE / 'two_processes.py', str(port), str(number)],
    env=os.environ
    | {
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': '--xla_force_host_platform_device_count=4',
      'PYTHONPATH': str(HERE.parents[1]),
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_training_over_two_processes_equals_training_on_one_device(two):
  for found in two:
    assert found['devices'] == 8
    assert found['difference'] < 1e-5
    assert found['moved'] > 1e-3


def test_each_process_builds_its_own_rows_and_holds_its_own_parts(two):
  assert [found['own_rows'] for found in two] == [
    list(range(8)),
    list(range(8, 16)),
  ]
  assert [found['held'] for found in two] == [[32, 128], [32, 128]]


def test_whole_runs_over_several_processes_are_refused(two):
  for found in two:
    assert found['error'] == (
      '2 processes: runs over several hosts are not supported yet; start one '
      'process on one host'
    )
