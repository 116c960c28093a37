"""What all tests share: programs are compiled once a session, in any process.

Every run of the pipeline compiles the same few programs anew; with a cache on
disk the second and all later runs read them, in other workers of xdist too.
"""

import os
import subprocess
import sys
import tempfile

import pytest

if 'PYTEST_XDIST_WORKER' not in os.environ:  # a worker has its parent's
  CACHE = tempfile.TemporaryDirectory(prefix='restpg-jax-tests-')
  os.environ['JAX_COMPILATION_CACHE_DIR'] = CACHE.name
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
# With a limit of bytes JAX locks the folder: nobody reads what is half-written.
os.environ['JAX_COMPILATION_CACHE_MAX_SIZE'] = str(2**33)

from tests.remote import bucket  # noqa: E402, F401, a fixture of all tests

tier = {'quick': False}  # of the test that runs now


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
  tier['quick'] = item.get_closest_marker('slow') is None
  try:
    return (yield)
  finally:
    tier['quick'] = False


def no_process(event, _):
  """A test of the quick tier has no time to start one; libraries may."""
  if tier['quick'] and event == 'subprocess.Popen':
    frame = sys._getframe(1)
    while frame.f_code.co_filename == subprocess.__file__:
      frame = frame.f_back
    if frame.f_code.co_filename.startswith(os.path.dirname(__file__)):
      raise AssertionError('it starts a process: mark it with pytest.mark.slow')


sys.addaudithook(no_process)
