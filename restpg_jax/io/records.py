"""JSON and JSON-lines files of dataclasses, whole or not there at all.

One item a line, UTF-8, strict JSON (no NaN), so that `jq` reads them. Paths
go through epath: gs:// works where a local path does.
"""

import contextlib
import dataclasses
import functools
import io
import json
import numbers
import os
import re
import types
import typing
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from etils import epath

from restpg_jax import errors

T = TypeVar('T')
SEALED = re.compile(rb'(.*), "crc": "([0-9a-f]{8})"}\n', re.DOTALL)


def write(path: epath.PathLike, items: Iterable[Any]) -> int:
  """Writes a line for each item; returns how many. The file appears whole."""
  count = 0
  with _replacing(path) as file:
    for item in items:
      file.write(encoded(item))
      count += 1
  return count


def read(path: epath.PathLike, cls: type[T]) -> Iterator[T]:
  """The items of a file that `write` or `Appender` made, in order."""
  with epath.Path(path).open('rb') as file:
    for number, line in enumerate(file, 1):
      yield _item(line, cls, f'{os.fspath(path)}, line {number}')


def write_json(path: epath.PathLike, value: Any) -> None:
  """Writes one indented JSON value. The file appears whole."""
  with _replacing(path) as file:
    file.write(_json(value, indent=2) + b'\n')


def read_json(path: epath.PathLike) -> Any:
  """What `write_json` wrote, as dicts, lists and scalars."""
  try:
    return json.loads(epath.Path(path).read_bytes())
  except ValueError as error:
    raise ValueError(f'{os.fspath(path)}: no whole JSON: {error}') from error


class Appender:
  """A JSON-lines file that grows, for going on where a killed run stopped.

  `done` holds the items found when it was opened. A last line that was torn
  (killed while writing) is dropped from the file; a batch of which only the
  first lines were written keeps those.
  """

  def __init__(self, path: epath.PathLike, cls: type):
    self._path = epath.Path(path)
    self._path.parent.mkdir(parents=True, exist_ok=True)
    content = self._path.read_bytes() if self._path.exists() else b''
    lines = io.BytesIO(content).readlines()  # only b'\n' ends a line
    if lines and not _whole(lines[-1]):
      _drop(self._path, {len(lines)})
      del lines[-1]
    self.done = [
      _item(line, cls, f'{self._path}, line {number}')
      for number, line in enumerate(lines, 1)
    ]

  def append(self, items: Sequence[Any]) -> None:
    """Adds a line for each item; on disk when this returns."""
    lines = b''.join(map(self._form, items))
    with self._path.open('ab') as file:
      file.write(lines)
      _flush(file, self._path)

  def _form(self, item: Any) -> bytes:
    return encoded(item)


class Shards(Appender):
  """A folder of such files, one a host, each line with its checksum.

  `done` holds the items of all hosts; `append` adds to the file of `host`:
  folder/00000.jsonl, 00001.jsonl, ..; "crc" is crc32 of the line without it.
  What a kill tore is dropped as by Appender. Any other line that is not as it
  was written is named in a DataWarning and dropped, so only its item is made
  again. An item may so stand there twice; the first counts.
  """

  def __init__(self, folder: epath.PathLike, cls: type, *, host: int):
    folder = epath.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    self._path = folder / f'{host:05}.jsonl'
    self.done = []
    for path in sorted(folder.glob('*.jsonl')):
      items, torn, damaged = _shard(path, cls)
      self.done += items
      if damaged:
        _warn(path, damaged)
      if (torn or damaged) and path == self._path:  # a host mends its own
        _drop(path, {*torn, *damaged})

  def _form(self, item: Any) -> bytes:
    return _sealed(item)


def plain(value: Any) -> Any:
  """What JSON lacks: dataclasses as dicts, numpy's scalars as numbers."""
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return {
      field.name: getattr(value, field.name)
      for field in dataclasses.fields(value)
    }
  if isinstance(value, numbers.Integral):
    return int(value)
  if isinstance(value, numbers.Real):
    return float(value)
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  raise TypeError(f'{type(value).__name__} has no form in JSON: {value!r}')


def _json(value: Any, indent: int | None = None) -> bytes:
  dumps = functools.partial(
    json.dumps, value, default=plain, allow_nan=False, indent=indent
  )
  try:
    return dumps(ensure_ascii=False).encode()
  except UnicodeEncodeError:  # half of a surrogate pair: only as an escape
    return dumps(ensure_ascii=True).encode()


def encoded(item: Any) -> bytes:
  """The line of an item, its end included."""
  return _json(item) + b'\n'


def _sealed(item: Any) -> bytes:
  r"""{"j": 3}  ->  b'{"j": 3, "crc": "a3501cd6"}\n'."""
  body = _json(item)
  return body[:-1] + b', "crc": "%08x"}\n' % zlib.crc32(body)


def _unsealed(line: bytes) -> bytes | None:
  """The line without its checksum; None where that does not fit."""
  match = SEALED.fullmatch(line)
  body = match and match[1] + b'}'
  return body if match and zlib.crc32(body) == int(match[2], 16) else None


def _shard(path: epath.Path, cls: type) -> tuple[list, list[int], list[int]]:
  """(items, numbers of torn lines, numbers of damaged lines)."""
  items, bad, line = [], [], b''
  with path.open('rb') as file:
    for number, line in enumerate(file, 1):
      body = _unsealed(line)
      if body is None:
        bad.append(number)
      else:
        items.append(_item(body, cls, f'{os.fspath(path)}, line {number}'))
  ends_torn = bool(bad) and bad[-1] == number and _torn(line)
  return (items, bad[-1:], bad[:-1]) if ends_torn else (items, [], bad)


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


def _drop(path: epath.Path, numbers: set[int]) -> None:
  """Takes these lines, counted from 1, out of a file."""
  with path.open('rb') as old, _replacing(path) as new:
    for number, line in enumerate(old, 1):
      if number not in numbers:
        new.write(line)


def _item(line: bytes, cls: type[T], where: str) -> T:
  try:
    return _builder(cls)(json.loads(line))
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(f'{where}: no {cls.__name__}: {error}') from error


@functools.cache
def _builder(kind: Any) -> Callable[[Any], Any]:
  """Turns parsed JSON into `kind`: dataclasses and tuples, nested."""
  if dataclasses.is_dataclass(kind):
    hints = typing.get_type_hints(kind)
    builders = {
      field.name: _builder(hints[field.name])
      for field in dataclasses.fields(kind)
    }
    return lambda value: kind(**{k: builders[k](v) for k, v in value.items()})
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if origin is tuple and arguments[1:] == (...,):
    build = _builder(arguments[0])
    return lambda value: tuple(build(v) for v in value)
  if origin in (types.UnionType, typing.Union):
    (inner,) = (a for a in arguments if a is not types.NoneType)
    build = _builder(inner)
    return lambda value: None if value is None else build(value)
  return lambda value: value


def _whole(line: bytes) -> bool:
  if not line.endswith(b'\n'):
    return False
  try:
    json.loads(line)
  except ValueError:
    return False
  return True


@contextlib.contextmanager
def _replacing(path: epath.PathLike) -> Iterator[Any]:
  """A binary file beside `path` that takes its place when all went well."""
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  new = path.parent / f'{path.name}.tmp'
  try:
    with new.open('wb') as file:
      yield file
      _flush(file, new)
    new.replace(path)
  except BaseException:
    new.unlink(missing_ok=True)
    raise


def _flush(file: Any, path: epath.Path) -> None:
  file.flush()
  if '://' not in os.fspath(path):
    os.fsync(file.fileno())
