"""JSON and JSON-lines files of dataclasses, whole or not there at all.

One item a line, UTF-8, strict JSON (no NaN), so that `jq` reads them. Paths
go through epath: gs:// works where a local path does.
"""

import dataclasses
import functools
import io
import json
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from etils import epath

from restpg_jax import errors, storage
from restpg_jax.io import parts

T = TypeVar('T')


def write(path: epath.PathLike, items: Iterable[Any]) -> int:
  """Writes a line for each item; returns how many. The file appears whole."""
  count = 0
  with storage.replacing(path) as file:
    for item in items:
      file.write(encoded(item))
      count += 1
  return count


def read(path: epath.PathLike, cls: type[T]) -> Iterator[T]:
  """The items of a file that `write` or `Appender` made, in order."""
  with storage.opened(path) as file:
    for number, line in enumerate(file, 1):
      yield item(line, cls, f'{os.fspath(path)}, line {number}')


def write_json(path: epath.PathLike, value: Any) -> None:
  """Writes one indented JSON value. The file appears whole."""
  with storage.replacing(path) as file:
    file.write(indented(value))


def read_json(path: epath.PathLike) -> Any:
  """What `write_json` wrote, as dicts, lists and scalars."""
  try:
    return json.loads(epath.Path(path).read_bytes())
  except ValueError as error:
    raise ValueError(f'{os.fspath(path)}: no whole JSON: {error}') from error


def json_of(path: epath.Path) -> Any:
  """The JSON of somebody else's file; InputError where it holds none."""
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise errors.InputError(
      f'{path}: no whole JSON ({errors.detail(error)}); {errors.CUT}'
    ) from error


def json_object(path: epath.Path) -> dict[str, Any]:
  """The same; InputError where it is no object."""
  value = json_of(path)
  if not isinstance(value, dict):
    raise errors.InputError(f'{path}: no JSON object; {errors.CUT}')
  return value


class Appender:
  """A JSON-lines file that grows, for going on where a killed run stopped.

  `done` holds the items found when it was opened. A last line that was torn
  (killed while writing) is dropped from the file; a batch of which only the
  first lines were written keeps those. In a bucket a kill can lose what came
  in the last parts.SECONDS; there it must be closed.
  """

  def __init__(self, path: epath.PathLike, cls: type):
    self._path = epath.Path(path)
    self._path.parent.mkdir(parents=True, exist_ok=True)
    parts.join(self._path)
    content = self._path.read_bytes() if self._path.exists() else b''
    lines = io.BytesIO(content).readlines()  # only b'\n' ends a line
    if lines and not _whole(lines[-1]):
      drop(self._path, {len(lines)})
      del lines[-1]
    self.done = [
      item(line, cls, f'{self._path}, line {number}')
      for number, line in enumerate(lines, 1)
    ]
    self._tail = parts.Tail(self._path)
    self.flush, self.close = self._tail.flush, self._tail.close

  def append(self, items: Sequence[Any]) -> None:
    """Adds a line for each item; on disk when this returns or, in a bucket,
    when `flush` or `close` does."""
    self._tail.add(b''.join(map(encoded, items)))


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


def indented(value: Any) -> bytes:
  """The content of a file with this one value, as `write_json` writes it."""
  return _json(value, indent=2) + b'\n'


def drop(path: epath.Path, numbers: set[int]) -> None:
  """Takes these lines, counted from 1, out of a file."""
  with storage.opened(path) as old, storage.replacing(path) as new:
    for number, line in enumerate(old, 1):
      if number not in numbers:
        new.write(line)


def item(line: bytes, cls: type[T], where: str) -> T:
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
