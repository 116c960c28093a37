"""Facts about training over several processes, each with its own devices."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from restpg_jax.io import checkpoints
from tests import many

pytestmark = pytest.mark.slow

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope='module')
def two():
  """What each of two processes with 4 virtual devices found."""
  with many.free_port() as port:
    started = [start('two_processes.py', port, n) for n in range(2)]
    ended = many.ended(started, seconds=600)
  for process, (_, err) in zip(started, ended, strict=True):
    assert process.returncode == 0, err
  return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def start(script: str, port: int, number: int, *more) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, HERE / script, str(port), str(number), *more],
    env=os.environ
    | {
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': os.environ['XLA_FLAGS']
      + ' --xla_force_host_platform_device_count=4',
      'PYTHONPATH': str(HERE.parents[1]),
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_training_over_two_processes_equals_training_on_one_device(two):
  first, second = two
  assert first['devices'] == second['devices'] == 8
  assert first['weights'] == second['weights']
  assert first['difference'] < 1e-5
  assert first['moved'] > 1e-3


def test_each_process_builds_its_own_rows_and_holds_its_own_parts(two):
  assert [found['own_rows'] for found in two] == [
    list(range(8)),
    list(range(8, 16)),
  ]
  assert [found['held'] for found in two] == [[32, 128], [32, 128]]


def test_states_are_saved_by_all_after_one_has_saved_alone(tmp_path):
  # Orbax numbers each save in its process: the numbers differ from here on.
  with many.free_port() as port:
    started = [start('two_savers.py', port, n, tmp_path) for n in range(2)]
    ended = many.ended(started, seconds=120)
  for process, (_, err) in zip(started, ended, strict=True):
    assert process.returncode == 0, err
  for step in range(4):
    tree = checkpoints.load_tree(tmp_path / f'step_{step}' / 'optimizer')
    assert tree['w'].tolist() == [step] * 8
