"""Locks: a workdir belongs to one run at a time."""

import contextlib
import fcntl
import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator

from etils import epath

from restpg_jax import errors, interrupts, storage

NAME = '.lock'
RENEWED = 60.0  # seconds between signs of life in a bucket
# Seconds without one after which a process counts as dead: several signs may
# fail while the bucket cannot be reached.
STALE = 300
LOOK = 5.0  # seconds between two looks for a sign of another's


@contextlib.contextmanager
def exclusive(workdir: epath.PathLike) -> Iterator[None]:
  """Holds WORKDIR/.lock; raises InputError at once where another process does.

  The operating system frees the lock with its process, however that ends: the
  file stays and only says who holds it. For a remote workdir (gs://..) see
  `claim`.
  """
  path = epath.Path(workdir)
  if storage.remote(path):
    with claim(path / NAME, f'--workdir={path}'):
      yield
    return
  path.mkdir(parents=True, exist_ok=True)
  # 'a+' and not 'w': whoever is refused must not erase the holder's name.
  with open(path / NAME, 'a+', encoding='utf-8') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      file.seek(0)
      raise errors.InputError(
        f'--workdir={path}: {file.read() or "another process"} is running '
        'there; wait for it, end it, or give another --workdir'
      ) from error
    except OSError as error:  # some network file systems have no locks
      warnings.warn(
        f'{path}: no locks on this file system ({error.strerror}); run one '
        'process only there',
        errors.DataWarning,
        stacklevel=3,
      )
    file.truncate(0)
    file.write(_owner())
    file.flush()
    yield


@contextlib.contextmanager
def claim(path: epath.Path, name: str) -> Iterator[None]:
  """Holds PATH-TOKEN in a bucket; messages call it `name`.

  In a bucket nothing can be locked, nor created only if it is not there. So
  each process writes a claim of its own, then looks for those of others, and
  withdraws if there are any. A bucket lists what was written before, so that
  of two never both go on; of two that begin in the same moment perhaps neither
  does. The holder writes its claim again every minute and removes it at the
  end. The claim of a killed process is void at once on its own machine. Of one
  elsewhere nobody knows: its next sign of life is waited for, and without one
  it is void five minutes after the last, by the clock of the bucket. A holder
  that stands still for five minutes and then goes on is not seen: it is
  interrupted up to a minute later, if another has come meanwhile.
  """
  mine = path.with_name(f'{path.name}-{uuid.uuid4().hex}')
  text = '\n'.join([_owner(), *_processes(), str(os.getpid())])
  mine.write_text(text)
  try:
    _check_alone(mine, text, path, name)
    with _renewed(mine, text, name):
      yield
  finally:
    mine.unlink(missing_ok=True)


def _check_alone(
  mine: epath.Path, text: str, path: epath.Path, name: str
) -> None:
  """Raises InputError where another claim is alive; removes dead ones."""
  for other in sorted(path.parent.iterdir()):
    if other == mine or not other.name.startswith(f'{path.name}-'):
      continue
    with contextlib.suppress(FileNotFoundError):  # its process has ended
      owner, *number = _lines(other)
      first, warned = other.stat().mtime, False
      # By the clock of the bucket, as the others' are.
      while (age := _touched(mine, text) - first) <= STALE:
        if _ended(number):
          break
        if _runs_here(number) or other.stat().mtime != first:
          raise errors.InputError(
            f'{name}: {owner} is running there; wait for it, end it, or give '
            'another path'
          )
        if not warned:
          _tell(
            f'{name}: {owner} is running there or was killed {max(age, 0)} s '
            f'ago: waiting for its next sign of life, at most '
            f'{STALE - age + 1} s'
          )
        warned = True
        time.sleep(LOOK)
      _tell(f'{name}: {owner} did not end well; it was killed {age} s ago')
      other.unlink()


def _touched(mine: epath.Path, text: str) -> int:
  """Gives a sign of life; returns its time."""
  mine.write_text(text)
  return mine.stat().mtime


@contextlib.contextmanager
def _renewed(mine: epath.Path, text: str, name: str) -> Iterator[None]:
  """Gives signs of life from a thread while the block runs."""
  ended = threading.Event()

  def renew() -> None:
    while not ended.wait(RENEWED):
      # A bucket that cannot be reached now is tried again.
      with contextlib.suppress(Exception):
        if not mine.exists():
          _tell(f'{name}: another process has come; this one ends')
          interrupts.end_now()
          return
        mine.write_text(text)

  thread = threading.Thread(target=renew, daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()


def _owner() -> str:
  return f'process {os.getpid()} on {socket.gethostname()}'


def _processes() -> list[str]:
  """Returns boot and namespace, within which a process id means one process.

  Empty where the system (not Linux) does not say.
  """
  try:
    boot = epath.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    return [boot, os.readlink('/proc/self/ns/pid')]
  except OSError:
    return []


def _ended(claimed: list[str]) -> bool:
  """Returns whether the process of these lines is known to run no more."""
  return _exists(claimed) is False


def _runs_here(claimed: list[str]) -> bool:
  """Returns whether it is known to run, on this machine."""
  return _exists(claimed) is True


def _exists(claimed: list[str]) -> bool | None:
  """Returns None for a process elsewhere, of which nothing is known."""
  *processes, number = claimed
  if not processes or processes != _processes():
    return None
  try:
    os.kill(int(number), 0)  # signal 0 only asks whether it exists
  except ProcessLookupError:
    return False
  except OSError:  # it is another user's, so it exists
    return True
  return True


def _lines(path: epath.Path) -> list[str]:
  return path.read_text().splitlines()


def _tell(message: str) -> None:
  warnings.warn(message, errors.DataWarning, stacklevel=2)
