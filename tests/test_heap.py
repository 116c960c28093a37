"""Facts about restpg_jax/heap.py."""

import platform
import subprocess
import sys

import pytest

from restpg_jax import heap

FAULTS = """
import resource
from concurrent import futures

def faults(n):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  bytes([n]) * 100_000_000
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def report():
  with futures.ThreadPoolExecutor(1) as thread:  # as programs of JAX do
    print(*thread.map(faults, range(1, 5)))
"""
PLAIN = 'report()'
COMMAND = """
import sys
from restpg_jax import main
assert 'numpy' not in sys.modules  # it begins threads
main.main = lambda argv: report()
main.console()
"""


def faults(program):
  """Of a thread that four times has a piece of memory and frees it."""
  run = [sys.executable, '-c', FAULTS + program]
  done = subprocess.run(run, capture_output=True, text=True, check=True)
  return list(map(int, done.stdout.split()))


@pytest.mark.skipif(
  platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc'
)
def test_what_the_command_frees_has_no_new_pages():
  _, *kept = faults(COMMAND)
  assert max(kept) < min(faults(PLAIN)) / 10


def test_where_there_is_no_glibc_nothing_happens(monkeypatch):
  monkeypatch.setattr(heap.ctypes, 'CDLL', lambda name: object())
  assert not heap.keep()
