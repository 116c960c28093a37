"""What all tests share: programs are compiled once a session, in any process.

Every run of the pipeline compiles the same few programs anew; with a cache on
disk the second and all later runs read them, in other workers of xdist too.
"""

import importlib.metadata
import os
import subprocess
import sys
import tempfile

import pytest

if 'PYTEST_XDIST_WORKER' not in os.environ:  # a worker has its parent's
  CACHE = tempfile.TemporaryDirectory(prefix='restpg-jax-tests-')
  os.environ['JAX_COMPILATION_CACHE_DIR'] = CACHE.name
# Each file that is added makes JAX look at all others for that limit: thousands
# of small programs made each compile a second longer in the end.
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.25'
# Most of the suite's time is compiling: programs are small and run once. With
# XLA_FLAGS= (empty) before the command they are optimised as a user's are.
FLAGS = (
  '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)
# Later ones do not know it, and end a process that is given an unknown flag.
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  FLAGS += ' --xla_cpu_use_fusion_emitters=false'
os.environ.setdefault('XLA_FLAGS', FLAGS)
# With a limit of bytes JAX locks the folder: nobody reads what is half-written.
os.environ['JAX_COMPILATION_CACHE_MAX_SIZE'] = str(2**33)

from tests.remote import bucket  # noqa: E402, F401, a fixture of all tests


@pytest.fixture
def drawn():
  """Charts are really drawn, which takes a while."""


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
  """Charts are empty, for tests that are not about them."""
  if 'drawn' not in request.fixturenames:
    from restpg_jax.report import plots

    empty = plots.Drawing('<svg viewBox="0 0 1 1"></svg>', b'')
    monkeypatch.setattr(plots, 'draw', lambda chart: empty)


def pytest_collection_modifyitems(items):
  """Puts files with slow tests first, so that no worker is left with one."""
  slow = {i.path for i in items if i.get_closest_marker('slow')}
  items.sort(key=lambda item: item.path not in slow)


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
