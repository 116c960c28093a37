"""Items that end in no order: a file of each host, a checksum on each line."""

import itertools
import os
import re
import warnings
import zlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from etils import epath

from restpg_jax import errors, folders
from restpg_jax.io import parts, records

T = TypeVar('T')
SEALED = re.compile(rb'(.*), "crc": "([0-9a-f]{8})"}\n', re.DOTALL)


class AppendLog(Generic[T]):
  """A folder of JSON-lines files, for going on where a killed run stopped.

  Iterating gives what all hosts had made when it was opened; `append` adds to
  the file of `host`:
  folder/00000.jsonl, 00001.jsonl, ..; "crc" is crc32 of the line without it.
  A last line that a kill tore is dropped when the folder is opened. Any other
  line that is not as it was written is named in a DataWarning and dropped, so
  only its item is made again. An item may so stand there twice; the first
  counts. In a bucket files grow by parts (io/parts.py): the block of a `with`
  ends when all is there, a kill costs the items of the last parts.SECONDS.
  """

  def __init__(self, folder: epath.PathLike, cls: type[T], *, host: int):
    self._folder, self._cls = epath.Path(folder), cls
    self._folder.mkdir(parents=True, exist_ok=True)
    self._path = self._folder / f'{host:05}.jsonl'
    self._known = {}  # path -> its length now, numbers of lines to pass over
    parts.join(self._path)
    shards = folders.matching(self._folder, '*.jsonl')
    for path in sorted({*map(parts.whole, shards)}):
      end, torn, damaged = _faults(path)
      if damaged:
        _warn(path, damaged)
      bad = {*torn, *damaged}
      if bad and path == self._path:  # a host mends its own
        records.drop(path, bad)
        end, bad = path.stat().length, set()
      self._known[path] = end, bad
    self._tail = parts.Tail(self._path)
    self.flush = self._tail.flush

  def __enter__(self) -> 'AppendLog[T]':
    return self

  def __exit__(self, *exception) -> None:
    self._tail.close()

  def __iter__(self) -> Iterator[T]:
    return (item for *_, item in self.placed())

  def placed(self) -> Iterator[tuple[epath.Path, int, T]]:
    """File, offset and item, of all that was there when this was opened."""
    for path, (end, bad) in self._known.items():
      for number, (offset, line) in enumerate(parts.lines(path), 1):
        if offset >= end:  # another host goes on
          break
        if number not in bad:
          where = f'{os.fspath(path)}, line {number}'
          yield path, offset, _item(line, self._cls, where)

  def append(self, items: Sequence[T]) -> list[tuple[epath.Path, int]]:
    """Adds a line for each item; returns where they are."""
    lines = list(map(_sealed, items))
    begin = self._tail.add(b''.join(lines))
    *offsets, _ = itertools.accumulate(map(len, lines), initial=begin)
    return [(self._path, offset) for offset in offsets]


class IndexedLog(Generic[T]):
  """An append log whose items stay on disk and are found by their keys."""

  def __init__(
    self,
    folder: epath.PathLike,
    cls: type[T],
    *,
    host: int,
    key: Callable[[T], Hashable],
  ):
    self._shards, self._cls, self._key = (
      AppendLog(folder, cls, host=host),
      cls,
      key,
    )
    self._offset = {}  # path -> key -> where its line begins
    for path, offset, item in self._shards.placed():
      self._note(path, offset, item)

  def __contains__(self, key: Hashable) -> bool:
    return any(key in of_file for of_file in self._offset.values())

  def __enter__(self) -> 'IndexedLog[T]':
    return self

  def __exit__(self, *exception) -> None:
    self._shards.__exit__(*exception)

  def append(self, items: Sequence[T]) -> None:
    places = self._shards.append(items)
    for (path, offset), item in zip(places, items, strict=True):
      self._note(path, offset, item)

  def get(self, keys: Sequence[Hashable]) -> list[T]:
    """Their items, in this order; read in the order of the files."""
    places = [
      (path, of_file[key], n)
      for n, key in enumerate(keys)
      for path, of_file in [self._file_of(key)]
    ]
    found: list[Any] = [None] * len(keys)
    self._shards.flush()
    for path, of_file in itertools.groupby(sorted(places), lambda p: p[0]):
      with parts.reader(path) as read:
        for _, offset, n in of_file:
          where = f'{os.fspath(path)}, byte {offset}'
          found[n] = _item(read(offset)[1], self._cls, where)
    return found

  def _file_of(self, key: Hashable) -> tuple[epath.Path, dict]:
    return next(item for item in self._offset.items() if key in item[1])

  def _note(self, path: epath.Path, offset: int, item: T) -> None:
    self._offset.setdefault(path, {}).setdefault(self._key(item), offset)


def _sealed(item: Any) -> bytes:
  r"""{"j": 3}  ->  b'{"j": 3, "crc": "a3501cd6"}\n'."""
  body = records.encoded(item).rstrip(b'\n')
  return body[:-1] + b', "crc": "%08x"}\n' % zlib.crc32(body)


def _unsealed(line: bytes) -> bytes | None:
  """The line without its checksum; None where that does not fit."""
  match = SEALED.fullmatch(line)
  body = match and match[1] + b'}'
  return body if match and zlib.crc32(body) == int(match[2], 16) else None


def _item(line: bytes, cls: type[T], where: str) -> T:
  body = _unsealed(line)
  if body is None:
    raise ValueError(f'{where}: changed since it was opened')
  return records.item(body, cls, where)


def _faults(path: epath.Path) -> tuple[int, list[int], list[int]]:
  """The file's length, numbers of torn and of damaged lines."""
  bad, end, number, line = [], 0, 0, b''
  for number, (offset, line) in enumerate(parts.lines(path), 1):
    end = offset + len(line)
    if _unsealed(line) is None:
      bad.append(number)
  ends_torn = bool(bad) and bad[-1] == number and _torn(line)
  return (end, bad[-1:], bad[:-1]) if ends_torn else (end, [], bad)


def _torn(last: bytes) -> bool:
  """The beginning of a line, or the zeros that some file systems leave."""
  begun = last.startswith(b'{') and not last.endswith(b'\n')
  return begun or not last.strip(b'\0\n')


def _warn(path: epath.Path, damaged: list[int]) -> None:
  n = len(damaged)
  warnings.warn(
    f'{os.fspath(path)}, line{"s" * (n > 1)} {_ranges(damaged)}: damaged and '
    f'dropped; {n} item{"s are" if n > 1 else " is"} made again',
    errors.DataWarning,
    stacklevel=3,
  )


def _ranges(numbers: list[int]) -> str:
  """3, 4, 5, 9  ->  '3-5, 9'."""
  runs = []
  for n in numbers:
    if runs and n == runs[-1][-1] + 1:
      runs[-1][1:] = [n]
    else:
      runs.append([n])
  return ', '.join('-'.join(map(str, run)) for run in runs)
