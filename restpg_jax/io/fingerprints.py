"""What settings and files mean: what of them can change a stage's results.

A stage is found again by a hash of this meaning (io/artifacts.py), so nothing
here may give an old setting another meaning: tests/io/test_artifacts.py has
fingerprints written out.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from restpg_jax import assets, config, errors, storage
from restpg_jax.io import code, records

# Ignored in a folder that is read whole: notes of people, tools and systems,
# which come and go. Zarr's own files, which hold weights, begin with a dot too.
UNREAD = re.compile(
  r'\.(?!z(array|attrs|group)$).*|README.*|__pycache__|.*\.lock'
)
# The `reads` of config.path_field -> (settings that name a path, that path) ->
# the files that are read of it or beside it, and the folders that are read
# whole; none: all of it.
Reads = Mapping[str, Callable[[Any, epath.Path], Sequence[epath.Path]]]
WHOLE: Reads = {}  # all folders are read whole


def extent_of(settings: Any) -> int:
  """Returns how far a stage is to go; 0 if it has no EXTENDABLE setting."""
  if not dataclasses.is_dataclass(settings):
    return 0
  return max(
    (
      getattr(settings, field.name)
      for field in dataclasses.fields(settings)
      if field.metadata == config.EXTENDABLE
    ),
    default=0,
  )


def meaning(value: Any, reads: Reads | None = WHOLE) -> Any:
  """Returns what of a setting can change results, as JSON.

  Train(steps=10, clip=1.0)  ->  {'steps': 10, 'clip': 1, ...}
  config.FILE  ->  the content of the file, or of what is read of the folder
  CODE  ->  its name and, if it is imported, its code
  LOCAL, EXTENDABLE  ->  left out, as is OMIT_AT_DEFAULT at its default

  Where `reads` is None, files and code stand for themselves and none is read.
  """
  if dataclasses.is_dataclass(value):
    return {
      field.name: _field_meaning(field, value, reads)
      for field in dataclasses.fields(value)
      if _means(field, getattr(value, field.name))
    }
  if isinstance(value, dict):
    return {str(key): meaning(v, reads) for key, v in value.items()}
  if isinstance(value, tuple | list):
    return [meaning(v, reads) for v in value]
  if isinstance(value, float) and value.is_integer():
    return int(value)  # 1 in a config file is the flag's 1.0
  return value


def _means(field: dataclasses.Field[Any], value: Any) -> bool:
  """Whether a setting is in a fingerprint."""
  if field.metadata == config.OMIT_AT_DEFAULT or _names(field):
    return value != field.default
  return field.metadata not in (config.LOCAL, config.EXTENDABLE)


def _field_meaning(
  field: dataclasses.Field[Any], owner: Any, reads: Reads | None
) -> Any:
  value = getattr(owner, field.name)
  if reads is None:
    return meaning(value, None)
  if dataclasses.is_dataclass(value):
    return meaning(value, reads) | _own_turns(field, value, reads)
  if field.metadata == config.CODE and ':' in value:
    return {'name': value} | code.module_content(value)
  if not config.is_path(field) or value in ('', *_names(field)):
    return meaning(value, reads)
  path = assets.path(value)
  read = reads.get(field.metadata.get('reads', ''))
  parts = read(owner, path) if read else ()
  return {'content': content(path, parts)}


def _names(field: dataclasses.Field[Any]) -> tuple[str, ...]:
  """Returns the values of a setting that are names though others are paths."""
  return field.metadata.get('names', ())


def _own_turns(
  field: dataclasses.Field[Any], model: Any, reads: Reads
) -> dict[str, Any]:
  """Returns what the chat template in its folder adds to a model's meaning, if
  that decides its turns; other models mean what they always did."""
  read = reads.get(field.metadata.get('reads', ''))
  if not read or model.turns or not model.tokenizer:
    return {}
  files = read(model, assets.path(model.tokenizer))
  return {'turns': {'content': content(files[0])}} if files else {}


def content(path: epath.PathLike, parts: Sequence[epath.Path] = ()) -> str:
  """Returns the sha256 of a file's bytes, or of a folder's names and bytes.

  Names are relative to the folder, so that it may move. Only `parts` count,
  files and folders in it or, of a file, it and others beside it; where there
  are none, everything does. Those elsewhere, the base of an adapter, are
  hashed as a folder of their own. Raises InputError for a file that cannot be
  read.
  """
  path = epath.Path(path)
  files = {file for part in parts or [path] for file in _files(part)}
  if files == {path}:
    try:
      return _file_content(os.fspath(path), *_version(path))
    except OSError as error:
      raise errors.InputError(
        f'{path}: it cannot be read ({errors.detail(error)})'
      ) from error
  folder = path.parent if path in files else path
  own = {file for file in files if file.is_relative_to(folder)}
  here = _folder_content(folder, [_parts(file, folder) for file in own])
  if not (apart := files - own):
    return here
  above = min((f.parent for f in apart), key=lambda p: (len(p.parts), str(p)))
  return digest(
    [here, _folder_content(above, [_parts(file, above) for file in apart])]
  )


def _parts(file: epath.Path, folder: epath.Path) -> tuple[str, ...]:
  return file.relative_to(folder).parts


def _folder_content(path: epath.Path, names: list[tuple[str, ...]]) -> str:
  """Hashes these files folder by folder.

  [('a',), ('b', 'c')]  ->  the digest of [['a', ..], ['b', ..]]
  """
  inside = collections.defaultdict(list)
  for first, *rest in names:
    inside[first].append(tuple(rest))
  entries = []
  for name, rest in sorted(inside.items()):
    is_file = rest == [()]
    inner = path / name
    entries.append(
      [name, content(inner) if is_file else _folder_content(inner, rest)]
    )
  return digest(entries)


def _files(path: epath.Path) -> Iterator[epath.Path]:
  """Yields the file itself, or all files in a folder that may matter."""
  if not path.is_dir():
    yield path
    return
  for inner in path.iterdir():
    # A link that leads nowhere is listed, but does not exist.
    if not UNREAD.fullmatch(inner.name) and inner.exists():
      yield from _files(inner)


@functools.cache
def _file_content(path: str, size: int, changed: int) -> str:
  # Weights have gigabytes and several stages read them: each version of a file
  # is hashed once. Its size and time are arguments as keys of the cache.
  del size, changed
  content_hash = hashlib.sha256()
  with epath.Path(path).open('rb') as file:
    while block := file.read(1 << 20):
      content_hash.update(block)
  return content_hash.hexdigest()


def _version(path: epath.Path) -> tuple[int, int]:
  """Returns the size and the time of the last change, as fine as there is."""
  if storage.remote(path):
    remote = path.stat()
    return remote.length, remote.mtime
  local = os.stat(path)  # epath's own rounds to seconds
  return local.st_size, local.st_mtime_ns


def digest(value: Any) -> str:
  """Returns the sha256 of a value as JSON, 64 hex digits."""
  text = json.dumps(value, sort_keys=True, default=records.plain)
  return hashlib.sha256(text.encode()).hexdigest()
