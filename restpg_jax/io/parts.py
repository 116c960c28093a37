"""A file that grows by whole lines, also in a bucket, where no file can.

On this machine lines are appended. An object of a bucket is written at once
and never changes; there, each time, what is new becomes a part of its own,
named by the byte of the file at which it begins:

  00000.jsonl  00000-000000004096.jsonl  00000-000000009216.jsonl

Parts are joined now and then, and at the end with the file. A kill between
joining and removing leaves parts that begin before the end of what precedes
them: these do not count.
"""

import contextlib
import dataclasses
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import IO

from etils import epath

from restpg_jax import storage

SECONDS = 30.0  # between two parts; a kill loses what came meanwhile
BYTES = 1 << 26  # the bytes that may wait in memory
# So many parts that were joined equally often become one: n writes leave
# 15 log16(n) parts at most, and each byte is copied log16(n) times.
JOINED = 16
OFFSET = re.compile(r'(.*)-(\d{12})')  # the stem of a part, and where it begins


@dataclasses.dataclass(frozen=True)
class Piece:
  """The file itself or a part of it."""

  offset: int  # of its first byte in the whole
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
  """Returns what together is the file, in order; [] where there is nothing."""
  counting = []
  for piece in _all(path):
    if not counting or piece.offset >= counting[-1].end:
      counting.append(piece)
  return counting


def length(path: epath.Path) -> int:
  """Returns the length of the whole, in bytes; 0 where there is nothing."""
  return max((piece.end for piece in pieces(path)), default=0)


def join(path: epath.Path) -> None:
  """Joins all pieces to one file, if there are several."""
  _join(path, path, pieces(path))


def lines(path: epath.Path) -> Iterator[tuple[int, bytes]]:
  """Yields the offset and the bytes of each line, in order."""
  with reader(path) as read:
    offset, line = read(0)
    while line:
      yield offset, line
      offset, line = read(offset + len(line))


@contextlib.contextmanager
def reader(path: epath.Path) -> Iterator[Callable[[int], tuple[int, bytes]]]:
  """Opens a file; gives read(offset) -> (offset, line), b'' at the end.

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
  """The end of a file, to which lines are added.

  They are on disk when `add` returns, but in a bucket when `flush` or `close`
  does, or at the first `add` after SECONDS.
  """

  def __init__(
    self, path: epath.Path, clock: Callable[[], float] = time.monotonic
  ):
    self._path, self._clock = path, clock
    self._end = self._written = length(path)
    self._waiting: list[bytes] = []  # what lies between these two
    self._time = -SECONDS  # when the last part was written
    # What this process wrote: the piece, and how often it was joined.
    self._parts: list[tuple[Piece, int]] = []

  def add(self, data: bytes) -> int:
    """Adds whole lines; returns the offset of the first."""
    begin = self._end
    if storage.remote(self._path):
      self._waiting.append(data)
      self._end += len(data)
      late = self._clock() - self._time >= SECONDS
      if late or self._end - self._written >= BYTES:
        self.flush()
    else:
      with self._path.open('ab') as file:
        file.write(data)
        storage.flush(file, self._path)
      self._end += len(data)
    return begin

  def flush(self) -> None:
    """Writes what waits as a part of its own."""
    data = b''.join(self._waiting)
    if not data:
      return
    path = _part(self._path, self._written)
    path.write_bytes(data)
    self._parts.append((Piece(self._written, len(data), path), 0))
    self._waiting, self._written = [], self._end
    self._time = self._clock()
    while len(last := self._parts[-JOINED:]) == JOINED:
      if len({joined for _, joined in last}) > 1:
        break
      self._join(last)

  def close(self) -> None:
    """Flushes, and joins all parts with the file."""
    self.flush()
    if self._parts:
      join(self._path)
      self._parts = []

  def _join(self, last: list[tuple[Piece, int]]) -> None:
    group = [piece for piece, _ in last]
    first = group[0]
    _join(self._path, first.path, group)
    joined = Piece(first.offset, group[-1].end - first.offset, first.path)
    self._parts[-len(group) :] = [(joined, last[0][1] + 1)]


def _part(path: epath.Path, offset: int) -> epath.Path:
  # 12 digits: names sort as offsets do, up to a terabyte.
  return path.with_name(f'{path.stem}-{offset:012}{path.suffix}')


def _all(path: epath.Path) -> list[Piece]:
  """Returns the file and its parts by offset, also those that do not count."""
  every = []
  for other in path.parent.iterdir() if path.parent.is_dir() else ():
    match = OFFSET.fullmatch(other.stem)
    if other.name == path.name:
      offset = 0
    elif match and whole(other) == path:
      offset = int(match[2])
    else:
      continue
    with contextlib.suppress(FileNotFoundError):  # joined meanwhile
      every.append(Piece(offset, other.stat().length, other))
  # The file itself goes before a part that begins where it does.
  return sorted(every, key=lambda p: (p.offset, p.path.name != path.name))


def _join(path: epath.Path, to: epath.Path, group: list[Piece]) -> None:
  """Writes some pieces of the file to `to`, and removes what is then double."""
  if [piece.path for piece in group] not in ([], [to]):
    with storage.replacing(to) as new:
      for piece in group:
        with storage.opened(piece.path) as old:
          shutil.copyfileobj(old, new, storage.BUFFER)
  kept = pieces(path)
  for piece in _all(path):
    if piece not in kept:
      piece.path.unlink()


def _opened(
  path: epath.Path, offset: int, stack: contextlib.ExitStack
) -> tuple[Piece, IO[bytes] | None]:
  """Opens the piece that holds this byte, or the next one there is.

  Behind the last byte it returns an empty piece and no file.
  """
  while True:
    piece = next((p for p in pieces(path) if p.end > offset), None)
    if piece is None:
      return Piece(offset, 0, path), None
    with contextlib.suppress(FileNotFoundError):  # joined meanwhile
      return piece, stack.enter_context(storage.opened(piece.path))
