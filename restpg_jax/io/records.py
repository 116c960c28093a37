"""JSON and JSON-lines files of dataclasses, which appear whole or not at all.

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
  """Writes a line for each item and returns their number.

  The file appears whole.
  """
  count = 0
  with storage.replacing(path) as file:
    for item in items:
      file.write(encoded(item))
      count += 1
  return count


def read(path: epath.PathLike, cls: type[T]) -> Iterator[T]:
  """Yields the items of a file that `write` or `Appender` wrote, in order.

  Raises ValueError, with the number of the line, where it holds no `cls`.
  """
  with storage.opened(path) as file:
    for number, line in enumerate(file, 1):
      yield item(line, cls, f'{os.fspath(path)}, line {number}')


def write_json(path: epath.PathLike, value: Any) -> None:
  """Writes one indented JSON value. The file appears whole."""
  with storage.replacing(path) as file:
    file.write(indented(value))


def read_json(path: epath.PathLike) -> Any:
  """Returns what `write_json` wrote, as dicts, lists and scalars."""
  try:
    return json.loads(epath.Path(path).read_bytes())
  except ValueError as error:
    raise ValueError(f'{os.fspath(path)}: no whole JSON: {error}') from error


def json_of(path: epath.Path) -> Any:
  """Reads a JSON file that the user brought.

  Raises InputError, with a remedy, where it holds no JSON.
  """
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise errors.InputError(
      f'{path}: no whole JSON ({errors.detail(error)}); {errors.CUT}'
    ) from error


def json_object(path: epath.Path) -> dict[str, Any]:
  """Reads the same; raises InputError also where it is no JSON object."""
  value = json_of(path)
  if not isinstance(value, dict):
    raise errors.InputError(f'{path}: no JSON object; {errors.CUT}')
  return value


class Appender:
  """A JSON-lines file that grows, and from which a killed run goes on.

  `done` holds the items that were there when it was opened. A last line that
  was torn (killed while writing) is dropped from the file; a batch of which
  only the first lines were written keeps those. In a bucket a kill can lose
  what came in the last parts.SECONDS; there it must be closed.
  """

  def __init__(self, path: epath.PathLike, cls: type[Any]):
    self._path = epath.Path(path)
    self._path.parent.mkdir(parents=True, exist_ok=True)
    parts.join(self._path)
    content = self._path.read_bytes() if self._path.exists() else b''
    lines = io.BytesIO(content).readlines()  # only b'\n' ends a line
    if lines and not is_whole(lines[-1]):
      drop(self._path, {len(lines)})
      del lines[-1]
    self.done = [
      item(line, cls, f'{self._path}, line {number}')
      for number, line in enumerate(lines, 1)
    ]
    self._tail = parts.Tail(self._path)
    self.flush, self.close = self._tail.flush, self._tail.close

  def append(self, items: Sequence[Any]) -> None:
    """Adds a line for each item.

    They are on disk when this returns or, in a bucket, when `flush` or `close`
    does.
    """
    self._tail.add(b''.join(map(encoded, items)))


def plain(value: Any) -> Any:
  """Turns into JSON what it lacks: dataclasses, NumPy's scalars and paths."""
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return {
      field.name: getattr(value, field.name)
      for field in dataclasses.fields(value)
    }
  # NumPy's scalars are registered with `numbers`; most subclass no Python type.
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
  """Returns the line of an item, its newline included."""
  return _json(item) + b'\n'


def indented(value: Any) -> bytes:
  """The content of a file with this one value, as `write_json` writes it."""
  return _json(value, indent=2) + b'\n'


def drop(path: epath.Path, numbers: set[int]) -> None:
  """Removes these lines, counted from 1, from a file, which stays whole."""
  with storage.opened(path) as old, storage.replacing(path) as new:
    for number, line in enumerate(old, 1):
      if number not in numbers:
        new.write(line)


def item(line: bytes, cls: type[T], where: str) -> T:
  """Parses a line; a ValueError, with `where`, says that it is no `cls`."""
  try:
    return _builder(cls)(json.loads(line))
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(f'{where}: no {cls.__name__}: {error}') from error


@functools.cache
def _builder(cls: Any) -> Callable[[Any], Any]:
  """Returns what turns parsed JSON into `cls`: nested dataclasses and tuples.

  Type hints are slow to resolve, so each class is resolved once.
  """
  if isinstance(cls, type) and dataclasses.is_dataclass(cls):
    hints = typing.get_type_hints(cls)
    builders = {
      field.name: _builder(hints[field.name])
      for field in dataclasses.fields(cls)
    }
    return lambda value: cls(**{k: builders[k](v) for k, v in value.items()})
  origin, arguments = typing.get_origin(cls), typing.get_args(cls)
  if origin is tuple and arguments[1:] == (...,):
    build = _builder(arguments[0])
    return lambda value: tuple(build(v) for v in value)
  if origin in (types.UnionType, typing.Union):
    (inner,) = (a for a in arguments if a is not types.NoneType)
    build = _builder(inner)
    return lambda value: None if value is None else build(value)
  return lambda value: value


def is_whole(line: bytes) -> bool:
  """Whether a line was written to its end: a kill can tear the last one."""
  if not line.endswith(b'\n'):
    return False
  try:
    json.loads(line)
  except ValueError:
    return False
  return True
