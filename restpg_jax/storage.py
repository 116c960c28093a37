"""Reads and writes files on this machine and in buckets (gs://..) alike.

Only what epath leaves open is here.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from typing import IO, Any

from etils import epath

from restpg_jax import errors

BUFFER = 1 << 20  # bytes a request, at least: each one is a round trip


def remote(path: epath.PathLike) -> bool:
  """Returns whether a path is an object of a bucket, not a local file."""
  return '://' in os.fspath(path)


def absolute(path: epath.PathLike) -> epath.Path:
  """Returns an absolute path; remote ones are, as epath does not know.

  It would make ./gs:/bucket of gs://bucket.
  """
  path = epath.Path(path)
  return path if remote(path) else path.absolute()


def existing(path: epath.PathLike) -> epath.Path:
  """Returns a local folder or, where it is yet to be made, the one above."""
  path = epath.Path(path)
  return next(p for p in (path, *path.absolute().parents) if p.exists())


def check_room(folder: epath.PathLike, need: int, what: str) -> None:
  """Raises InputError where there is less room than `need` bytes, in all that
  a stage expects to write of `what`, before it computes. Buckets have room."""
  if remote(folder):
    return
  free = shutil.disk_usage(existing(folder)).free
  if free < need:
    raise errors.InputError(
      f'{folder}: {what} will need {need:,} bytes, and {free:,} are free; make '
      'room and run the same command again, or give another --workdir'
    )


@contextlib.contextmanager
def opened(path: epath.PathLike) -> Iterator[IO[bytes] | io.BufferedReader]:
  """Opens a file to be read, with all that Python's binary files have.

  TensorFlow's, which epath gives for gs://, know no readline(size), readinto
  or `closed`.
  """
  path = epath.Path(path)
  with path.open('rb') as file:
    if remote(path):
      file = io.BufferedReader(_Remote(file, path), BUFFER)
    yield file


@contextlib.contextmanager
def replacing(path: epath.PathLike) -> Iterator[Any]:
  """Opens a binary file beside `path` that replaces it when all went well."""
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  new = path.parent / f'{path.name}.tmp'
  try:
    with new.open('wb') as file:
      file.write(b'')  # in a bucket a file without any write is none
      yield file
      flush(file, new)
    new.replace(path)
  except BaseException:  # a KeyboardInterrupt leaves nothing behind, either
    new.unlink(missing_ok=True)
    raise


def flush(file: Any, path: epath.Path) -> None:
  """Puts a file on the disk; an object in a bucket is whole once closed."""
  if not remote(path):
    file.flush()
    os.fsync(file.fileno())


class _Remote(io.RawIOBase):
  """A raw file that needs read(n) and seek(position) of the one below."""

  def __init__(self, file: Any, path: epath.Path):
    self._file, self._path = file, path
    self._position = 0

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def tell(self) -> int:
    return self._position

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    begin = {os.SEEK_SET: lambda: 0, os.SEEK_CUR: self.tell}
    position = offset + begin.get(whence, lambda: self._path.stat().length)()
    if position != self._position:  # a seek throws away what was read ahead
      self._file.seek(position)
      self._position = position
    return position

  def readinto(self, buffer: Any) -> int:
    data = self._file.read(len(buffer))
    buffer[: len(data)] = data
    self._position += len(data)
    return len(data)
