"""Facts about restpg_jax/malloc.py."""

import platform
import subprocess
import sys

import pytest

from restpg_jax import malloc

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
TRIMMED = """
import os
from restpg_jax import malloc

def resident():
  with open('/proc/self/statm') as file:
    return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

malloc.keep()
bytes([1]) * 100_000_000
kept = resident()
malloc.trim()
print(kept - resident())
"""
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


@pytest.mark.slow
@pytest.mark.skipif(
  platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc'
)
def test_what_the_command_frees_has_no_new_pages():
  _, *kept = faults(COMMAND)
  assert max(kept) < min(faults(PLAIN)) / 10


@pytest.mark.slow
@pytest.mark.skipif(
  platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc'
)
def test_what_is_kept_can_be_given_back():
  run = [sys.executable, '-c', TRIMMED]
  done = subprocess.run(run, capture_output=True, text=True, check=True)
  assert int(done.stdout) > 90_000_000


def test_where_there_is_no_glibc_nothing_happens(monkeypatch):
  monkeypatch.setattr(malloc.ctypes, 'CDLL', lambda name: object())
  assert not malloc.keep()
  malloc.trim()
