"""A file that grows by whole lines, also in a bucket, where no file can.

On this machine lines are appended. An object of a bucket is written at once
and never changes; there, each time, what is new becomes a part of its own,
named by the byte of the file at which it begins:

  00000.jsonl  00000-000000004096.jsonl  00000-000000009216.jsonl

Parts are joined now and then, and at the end with the file. A kill between
joining and removing leaves parts that begin before the end of what stands
before them: these do not count.
"""

import contextlib
import dataclasses
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from etils import epath

from restpg_jax import storage

SECONDS = 30.0  # between parts, at least; a kill loses what came meanwhile
BYTES = 1 << 26  # that wait in memory, at most
JOINED = 16  # parts of a kind become one: of n there are 15 log16(n) left
OFFSET = re.compile(r'(.*)-(\d{12})')  # the stem of a part, and where it begins


@dataclasses.dataclass(frozen=True)
class Piece:
  """The file or a part of it."""

  offset: int  # where it begins
  length: int
  path: epath.Path

  @property
  def end(self) -> int:
    return self.offset + self.length


def whole(path: epath.Path) -> epath.Path:
  """00000-000000004096.jsonl  ->  00000.jsonl, the file that it is part of."""
  match = OFFSET.fullmatch(path.stem)
  return path.with_name(match[1] + path.suffix) if match else path


def pieces(path: epath.Path) -> list[Piece]:
  """What together is the file, in order; empty where there is nothing."""
  found = []
  for piece in _all(path):
    if not found or piece.offset >= found[-1].end:
      found.append(piece)
  return found


def length(path: epath.Path) -> int:
  return max((piece.end for piece in pieces(path)), default=0)


def join(path: epath.Path) -> None:
  """Makes one file of all pieces, if there are several."""
  _join(path, path, pieces(path))


def lines(path: epath.Path) -> Iterator[tuple[int, bytes]]:
  """Each line and its offset, in order."""
  with reader(path) as read:
    offset, line = read(0)
    while line:
      yield offset, line
      offset, line = read(offset + len(line))


@contextlib.contextmanager
def reader(path: epath.Path) -> Iterator[Callable[[int], tuple[int, bytes]]]:
  """read(offset): the line there and its offset, b'' at the end.

  The host that the file belongs to may join pieces meanwhile.
  """
  with contextlib.ExitStack() as stack:
    piece, file = Piece(0, 0, path), None

    def read(offset: int) -> tuple[int, bytes]:
      nonlocal piece, file
      if not piece.offset <= offset < piece.end:
        stack.close()
        piece, file = _opened(path, offset, stack)
        # Where damaged lines were dropped, there is nothing between pieces.
        offset = max(offset, piece.offset)
      if not file:
        return offset, b''
      file.seek(offset - piece.offset)
      return offset, file.readline()

    yield read


class Tail:
  """The end of a file. What is added is on disk when `add` returns, but in a
  bucket when `flush` or `close` does, or after SECONDS at the next `add`."""

  def __init__(
    self, path: epath.Path, clock: Callable[[], float] = time.monotonic
  ):
    self._path, self._clock = path, clock
    self._end = self._written = length(path)
    self._waiting = []  # what lies between these two
    self._at = -SECONDS  # when the last part was written
    self._parts = []  # by this process: piece, how often it was joined

  def add(self, data: bytes) -> int:
    """Adds whole lines; returns where the first begins."""
    begin = self._end
    if storage.remote(self._path):
      self._waiting.append(data)
      self._end += len(data)
      late = self._clock() - self._at >= SECONDS
      if late or self._end - self._written >= BYTES:
        self.flush()
    else:
      with self._path.open('ab') as file:
        file.write(data)
        storage.flush(file, self._path)
      self._end += len(data)
    return begin

  def flush(self) -> None:
    """What waits becomes a part."""
    data = b''.join(self._waiting)
    if not data:
      return
    path = _part(self._path, self._written)
    path.write_bytes(data)
    self._parts.append((Piece(self._written, len(data), path), 0))
    self._waiting, self._written = [], self._end
    self._at = self._clock()
    while len(last := self._parts[-JOINED:]) == JOINED:
      if len({joined for _, joined in last}) > 1:
        break
      self._join(last)

  def close(self) -> None:
    """As flush; and the file is one again."""
    self.flush()
    if self._parts:
      join(self._path)
      self._parts = []

  def _join(self, last: list[tuple[Piece, int]]) -> None:
    some = [piece for piece, _ in last]
    first = some[0]
    _join(self._path, first.path, some)
    one = Piece(first.offset, some[-1].end - first.offset, first.path)
    self._parts[-len(some) :] = [(one, last[0][1] + 1)]


def _part(path: epath.Path, offset: int) -> epath.Path:
  return path.with_name(f'{path.stem}-{offset:012}{path.suffix}')


def _all(path: epath.Path) -> list[Piece]:
  """The file and its parts, also those that do not count, by their offsets."""
  found = []
  for other in path.parent.iterdir() if path.parent.is_dir() else ():
    match = OFFSET.fullmatch(other.stem)
    if other.name == path.name or (match and whole(other) == path):
      with contextlib.suppress(FileNotFoundError):  # joined meanwhile
        offset = 0 if other.name == path.name else int(match[2])
        found.append(Piece(offset, other.stat().length, other))
  # The file itself goes before a part that begins where it does.
  return sorted(found, key=lambda p: (p.offset, p.path.name != path.name))


def _join(path: epath.Path, to: epath.Path, some: list[Piece]) -> None:
  """Makes `to` of some pieces of the file, and removes what then is double."""
  if [piece.path for piece in some] not in ([], [to]):
    with storage.replacing(to) as new:
      for piece in some:
        with storage.opened(piece.path) as old:
          shutil.copyfileobj(old, new, storage.BUFFER)
  kept = pieces(path)
  for piece in _all(path):
    if piece not in kept:
      piece.path.unlink()


def _opened(
  path: epath.Path, offset: int, stack: contextlib.ExitStack
) -> tuple[Piece, BinaryIO | None]:
  """The piece that holds this byte or the next one there is; no file behind
  the last."""
  while True:
    piece = next((p for p in pieces(path) if p.end > offset), None)
    if piece is None:
      return Piece(offset, 0, path), None
    with contextlib.suppress(FileNotFoundError):  # joined meanwhile
      return piece, stack.enter_context(storage.opened(piece.path))
