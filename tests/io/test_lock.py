"""Facts about restpg_jax/io/lock.py."""

import errno
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from restpg_jax import errors
from restpg_jax.io import lock

HOLD = """
import sys, time
from restpg_jax.io import lock
with lock.exclusive(sys.argv[1]):
  print('held', flush=True)
  time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
  """Another process that holds tmp_path/w."""
  process = subprocess.Popen(
    [sys.executable, '-c', HOLD, tmp_path / 'w'],
    cwd=pathlib.Path(__file__).parents[2],
    stdout=subprocess.PIPE,
    text=True,
  )
  with process:
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()


def test_a_second_process_is_told_who_is_there(holder, tmp_path):
  before = (tmp_path / 'w' / lock.NAME).read_text()
  for _ in range(2):
    with (
      pytest.raises(errors.InputError) as caught,
      lock.exclusive(tmp_path / 'w'),
    ):
      pass
    assert str(caught.value) == (
      f'--workdir={tmp_path / "w"}: process {holder.pid} on '
      f'{socket.gethostname()} is running there; wait for it, end it, or give '
      'another --workdir'
    )
  assert (tmp_path / 'w' / lock.NAME).read_text() == before
  assert holder.poll() is None


def test_another_workdir_is_free(holder, tmp_path):
  with lock.exclusive(tmp_path / 'other'):
    assert holder.poll() is None


def test_a_killed_process_leaves_it_free_at_once(holder, tmp_path):
  holder.kill()  # SIGKILL: nothing of it can clean up
  holder.wait()
  with lock.exclusive(tmp_path / 'w'):
    said = (tmp_path / 'w' / lock.NAME).read_text()
  assert said == f'process {os.getpid()} on {socket.gethostname()}'


def test_it_is_free_after_an_error(tmp_path):
  with pytest.raises(ZeroDivisionError), lock.exclusive(tmp_path):
    raise ZeroDivisionError
  with lock.exclusive(tmp_path):
    pass


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
  def flock(file, how):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(lock.fcntl, 'flock', flock)
  with (
    pytest.warns(errors.DataWarning, match='No locks available'),
    lock.exclusive(tmp_path),
  ):
    pass


def test_a_remote_workdir_is_not_locked():
  with lock.exclusive('gs://no-such-bucket/w'):
    pass
