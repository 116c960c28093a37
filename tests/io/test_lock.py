"""Facts about restpg_jax/io/lock.py."""

import errno
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest
from etils import epath

from restpg_jax import errors, interrupts
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_another_workdir_is_free(holder, tmp_path):
  with lock.exclusive(tmp_path / 'other'):
    assert holder.poll() is None


@pytest.mark.slow
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


def claims():
  return [path.name for path in epath.Path('gs://b/w').iterdir()]


def test_a_second_process_is_refused_in_a_bucket_too(bucket):
  with lock.exclusive('gs://b/w'):
    with (
      pytest.raises(errors.InputError) as caught,
      lock.exclusive('gs://b/w'),
    ):
      pass
    assert str(caught.value).startswith(
      f'--workdir=gs://b/w: process {os.getpid()} on {socket.gethostname()} is '
      'running there; wait for it, end it, or give another path'
    )
    with lock.exclusive('gs://b/other'):
      assert len(claims()) == 1
  assert claims() == []
  with lock.exclusive('gs://b/w'):
    pass


def left(bucket, text, *, age):
  """What a killed process leaves."""
  path = epath.Path('gs://b/w/.lock-1')
  path.write_text(text)
  then = time.time() - age
  os.utime(bucket.local(path), (then, then))


ELSEWHERE = 'process 7 on far\nanother boot\npid:[1]\n7'


WAITS = r'process 7 on far is .* or was killed \d+ s ago: waiting .* at most \d'


def test_the_next_sign_of_life_of_one_elsewhere_is_waited_for(
  bucket, monkeypatch
):
  left(bucket, ELSEWHERE, age=30)
  looks = []

  def look(seconds):
    looks.append(seconds)
    if len(looks) == 3:
      left(bucket, ELSEWHERE, age=0)

  monkeypatch.setattr(lock.time, 'sleep', look)
  with (
    pytest.warns(errors.DataWarning, match=WAITS) as warned,
    pytest.raises(errors.InputError, match='process 7 on far is running the'),
    lock.exclusive('gs://b/w'),
  ):
    pass
  assert len(warned) == 1 and looks == [lock.LOOK] * 3
  assert claims() == ['.lock-1']


def test_a_claim_that_becomes_five_minutes_old_is_void(bucket, monkeypatch):
  left(bucket, ELSEWHERE, age=290)
  looks = []

  def look(seconds):  # time goes by
    looks.append(seconds)
    monkeypatch.setattr(lock, 'STALE', lock.STALE - seconds)

  monkeypatch.setattr(lock.time, 'sleep', look)
  with (
    pytest.warns(errors.DataWarning, match='process 7 on far did not end well'),
    lock.exclusive('gs://b/w'),
  ):
    assert len(claims()) == 1
  assert 2 <= len(looks) <= 4
  assert claims() == []


def test_a_claim_without_a_sign_of_life_for_five_minutes_is_void(bucket):
  left(bucket, ELSEWHERE, age=310)
  with (
    pytest.warns(errors.DataWarning, match='process 7 on far did not end well'),
    lock.exclusive('gs://b/w'),
  ):
    assert len(claims()) == 1
  assert claims() == []


@pytest.mark.slow
def test_a_claim_of_a_process_killed_on_this_machine_is_void_at_once(bucket):
  process = subprocess.Popen(['true'])
  process.wait()
  lines = ['process x on here', *lock._processes(), str(process.pid)]
  left(bucket, '\n'.join(lines), age=0)
  with (
    pytest.warns(errors.DataWarning, match='process x on here did not end'),
    lock.exclusive('gs://b/w'),
  ):
    pass


def test_of_two_that_begin_in_one_moment_never_both_go_on(bucket, monkeypatch):
  """The other writes its claim between ours and our look for others."""
  check = lock._check_alone
  mine = []

  def late(*arguments):
    if not mine:
      mine.append(True)
      with (
        pytest.raises(errors.InputError, match='is running there'),
        lock.exclusive('gs://b/w'),
      ):
        pass
    check(*arguments)

  monkeypatch.setattr(lock, '_check_alone', late)
  with lock.exclusive('gs://b/w'):
    assert len(claims()) == 1


def test_a_holder_gives_signs_of_life_and_ends_when_another_has_come(
  bucket, monkeypatch
):
  monkeypatch.setattr(lock, 'RENEWED', 0.05)
  with (
    pytest.raises(KeyboardInterrupt),
    interrupts.raised(),
    lock.exclusive('gs://b/w'),
  ):
    puts = len(bucket.writes)
    while len(bucket.writes) < puts + 3:
      time.sleep(0.05)
    with pytest.warns(errors.DataWarning, match='another process has come'):
      (path,) = epath.Path('gs://b/w').iterdir()
      for _ in range(600):  # it may just be writing its claim
        path.unlink(missing_ok=True)
        time.sleep(0.1)
