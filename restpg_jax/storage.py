"""Files on this machine and in buckets (gs://..): what epath leaves open."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from etils import epath

BUFFER = 1 << 20  # bytes that are read at once, at least, of a remote file


def remote(path: epath.PathLike) -> bool:
  """Whether it is an object of a bucket rather than a file of this machine."""
  return '://' in os.fspath(path)


def absolute(path: epath.PathLike) -> epath.Path:
  """Remote paths are; epath would make ./gs:/bucket of them."""
  path = epath.Path(path)
  return path if remote(path) else path.absolute()


@contextlib.contextmanager
def opened(path: epath.PathLike) -> Iterator[BinaryIO]:
  """A file to be read, with all that Python's binary files have.

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
  """A binary file beside `path` that takes its place when all went well."""
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  new = path.parent / f'{path.name}.tmp'
  try:
    with new.open('wb') as file:
      file.write(b'')  # in a bucket a file without any write is none
      yield file
      flush(file, new)
    new.replace(path)
  except BaseException:
    new.unlink(missing_ok=True)
    raise


def flush(file: Any, path: epath.Path) -> None:
  """On the disk when this returns; an object is whole when it is closed."""
  if not remote(path):
    file.flush()
    os.fsync(file.fileno())


class _Remote(io.RawIOBase):
  """Stands on read(n) and seek(position) alone; reads only what is asked."""

  def __init__(self, file: Any, path: epath.Path):
    self._file, self._path = file, path
    self._at = 0

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def tell(self) -> int:
    return self._at

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    begin = {os.SEEK_SET: lambda: 0, os.SEEK_CUR: self.tell}
    at = offset + begin.get(whence, lambda: self._path.stat().length)()
    if at != self._at:
      self._file.seek(at)
      self._at = at
    return at

  def readinto(self, buffer: Any) -> int:
    data = self._file.read(len(buffer))
    buffer[: len(data)] = data
    self._at += len(data)
    return len(data)
