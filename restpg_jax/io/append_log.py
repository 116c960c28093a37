"""Logs of items that finish in any order: a file a host, checksums by line."""

import itertools
import os
import re
import warnings
import zlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from etils import epath

from restpg_jax import errors, folders, pulse
from restpg_jax.io import parts, records
from restpg_jax.parallel import hosts as hosts_lib

T = TypeVar('T')
VISIBLE = 120.0  # seconds until a shared folder shows a file to all hosts
# A line as `_sealed` writes it: the item's JSON, and the checksum as last key.
SEALED = re.compile(rb'(.*), "crc": "([0-9a-f]{8})"}\n', re.DOTALL)


def await_hosts(
  is_whole: Callable[[], bool], folder: epath.Path, hosts: hosts_lib.Hosts
) -> None:
  """Waits until what all hosts have written can be read on this one.

  A shared folder may show it a little later. Raises TryAgain where it does not.
  """
  if not hosts.until(is_whole, VISIBLE if hosts.count > 1 else 0.0):
    raise errors.TryAgain(
      f'{folder}: after {VISIBLE:.0f} s something is still missing of what the '
      'hosts said they have written; see that all of them share this folder'
    )


class AppendLog(Generic[T]):
  """A folder of JSON-lines files, from which a killed run goes on.

  Iterating yields what all hosts had written when the log was opened; `append`
  adds to the file of `host`. The files are folder/00000.jsonl, 00001.jsonl and
  so on; "crc" is the crc32 of a line without it.

  A last line that a kill tore is dropped when the log is opened. Any other
  line that is not as it was written is named in a DataWarning and dropped, so
  that only its item is made again. An item may therefore occur twice; the
  first one counts. In a bucket files grow by parts (io/parts.py): a `with`
  block ends when everything is written, and a kill costs the items of the last
  parts.SECONDS.
  """

  def __init__(self, folder: epath.PathLike, cls: type[T], *, host: int):
    self._folder, self._cls = epath.Path(folder), cls
    self._folder.mkdir(parents=True, exist_ok=True)
    self._path = self._folder / f'{host:05}.jsonl'
    # path -> its length now, and the numbers of the lines to skip
    self._known: dict[epath.Path, tuple[int, set[int]]] = {}
    parts.join(self._path)
    shards = folders.matching(self._folder, '*.jsonl')
    for path in sorted({*map(parts.whole, shards)}):
      end, torn, damaged = _faults(path)
      if damaged:
        _warn(path, damaged)
      bad = {*torn, *damaged}
      # A host mends its own file only: another host may be appending to its.
      if bad and path == self._path:
        records.drop(path, bad)
        end, bad = path.stat().length, set()
      self._known[path] = end, bad
    self._tail = parts.Tail(self._path)
    self.flush = self._tail.flush

  def __enter__(self) -> 'AppendLog[T]':
    return self

  def __exit__(self, *exception: object) -> None:
    self._tail.close()

  def __iter__(self) -> Iterator[T]:
    return (item for *_, item in self.entries())

  def entries(self) -> Iterator[tuple[epath.Path, int, T]]:
    """Yields (file, offset, item) for what was there when this was opened."""
    for path, (end, bad) in self._known.items():
      for number, (offset, line) in enumerate(parts.lines(path), 1):
        if offset >= end:  # another host has written it since
          break
        if number not in bad:
          where = f'{os.fspath(path)}, line {number}'
          yield path, offset, _item(line, self._cls, where)

  def append(self, items: Sequence[T]) -> list[tuple[epath.Path, int]]:
    """Adds a line for each item; returns the file and offset of each line."""
    lines = list(map(_sealed, items))
    begin = self._tail.add(b''.join(lines))
    pulse.saved()
    *offsets, _ = itertools.accumulate(map(len, lines), initial=begin)
    return [(self._path, offset) for offset in offsets]


class IndexedLog(Generic[T]):
  """An append log whose items stay on disk and are looked up by their keys.

  In memory are the keys and the offsets of their lines.
  """

  def __init__(
    self,
    folder: epath.PathLike,
    cls: type[T],
    *,
    host: int,
    key: Callable[[T], Hashable],
  ):
    self._log = AppendLog(folder, cls, host=host)
    self._folder, self._cls, self._key = epath.Path(folder), cls, key
    # path -> key -> offset of its line
    self._offsets: dict[epath.Path, dict[Hashable, int]] = {}
    for path, offset, item in self._log.entries():
      self._note(path, offset, item)

  def __contains__(self, key: Hashable) -> bool:
    return any(key in offsets for offsets in self._offsets.values())

  def __enter__(self) -> 'IndexedLog[T]':
    return self

  def __exit__(self, *exception: object) -> None:
    self._log.__exit__(*exception)

  def await_all(self, keys: Sequence[Hashable], hosts: hosts_lib.Hosts) -> None:
    """Waits until the items of these keys are there, whoever makes them."""

    def are_there() -> bool:
      if all(key in self for key in keys):
        return True
      # Opened anew: another host has appended to its file since.
      log = AppendLog(self._folder, self._cls, host=hosts.index)
      for path, offset, item in log.entries():
        self._note(path, offset, item)
      return all(key in self for key in keys)

    await_hosts(are_there, self._folder, hosts)

  def append(self, items: Sequence[T]) -> None:
    """Adds a line for each item, as AppendLog does, and indexes it."""
    locations = self._log.append(items)
    for (path, offset), item in zip(locations, items, strict=True):
      self._note(path, offset, item)

  def get(self, keys: Sequence[Hashable]) -> list[T]:
    """Returns the items of these keys, in this order.

    They are read in the order in which they lie in the files.
    """
    locations = [(*self._location(key), n) for n, key in enumerate(keys)]
    items: list[Any] = [None] * len(keys)
    self._log.flush()  # in a bucket the last ones may still wait in memory
    for path, group in itertools.groupby(sorted(locations), lambda p: p[0]):
      with parts.reader(path) as read:
        for _, offset, n in group:
          where = f'{os.fspath(path)}, byte {offset}'
          items[n] = _item(read(offset)[1], self._cls, where)
    return items

  def _location(self, key: Hashable) -> tuple[epath.Path, int]:
    """The file of a key's item and the offset in it."""
    return next(
      (path, offsets[key])
      for path, offsets in self._offsets.items()
      if key in offsets
    )

  def _note(self, path: epath.Path, offset: int, item: T) -> None:
    # setdefault: where an item stands twice, the first counts.
    self._offsets.setdefault(path, {}).setdefault(self._key(item), offset)


def _sealed(item: Any) -> bytes:
  r"""{"j": 3}  ->  b'{"j": 3, "crc": "a3501cd6"}\n'."""
  body = records.encoded(item).rstrip(b'\n')
  return body[:-1] + b', "crc": "%08x"}\n' % zlib.crc32(body)


def _unsealed(line: bytes) -> bytes | None:
  """Returns the line without its checksum; None where that does not fit."""
  match = SEALED.fullmatch(line)
  if match is None:
    return None
  body = match[1] + b'}'
  return body if zlib.crc32(body) == int(match[2], 16) else None


def _item(line: bytes, cls: type[T], where: str) -> T:
  body = _unsealed(line)
  if body is None:
    raise ValueError(f'{where}: changed since it was opened')
  return records.item(body, cls, where)


def _faults(path: epath.Path) -> tuple[int, list[int], list[int]]:
  """Returns a file's length, and the numbers of its torn and damaged lines.

  Only a last line can be torn: a kill in the middle of writing leaves one.
  """
  bad, end, number, line = [], 0, 0, b''
  for number, (offset, line) in enumerate(parts.lines(path), 1):
    end = offset + len(line)
    if _unsealed(line) is None:
      bad.append(number)
  ends_torn = bool(bad) and bad[-1] == number and _torn(line)
  return (end, bad[-1:], bad[:-1]) if ends_torn else (end, [], bad)


def _torn(last: bytes) -> bool:
  """Whether a kill can have left this: the beginning of a line, or zeros.

  Some file systems extend a file before they write its blocks.
  """
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
