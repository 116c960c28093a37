"""Stages and what they leave behind: made once, found again by fingerprint.

A stage's folder is `workdir/<name>-<fingerprint>/`. Its DONE.json is written
last: with it the stage is skipped, without it the stage runs in that folder
and goes on from what it finds there.

A stage whose settings have an EXTENT field (draw and score: m) keeps an
extensible store: the extent is not in the fingerprint, DONE.json says how far
the store reaches, and asking for more makes what is missing in that folder.
Who reads such a store says how far (io/samples.py), in its own settings.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from etils import epath

from restpg_jax import assets, config, errors, malloc, storage
from restpg_jax.io import code, located, records

DONE = 'DONE.json'
LIBRARIES = (
  *('jax', 'flax', 'optax', 'numpy', 'restpg_jax'),
  *('rouge_score', 'sacrebleu', 'nltk'),
)
# In a folder that is read whole: notes of people, of tools and of systems.
# Zarr's own begin with a dot, too.
UNREAD = re.compile(
  r'\.(?!z(array|attrs|group)$).*|README.*|__pycache__|.*\.lock'
)
# Kind of a folder -> (settings that name it, its path) -> what is read of it:
# files, and folders that are read whole.
Reads = Mapping[str, Callable[[Any, epath.Path], Sequence[epath.Path]]]
WHOLE: Reads = {}  # all folders are read whole


@dataclasses.dataclass(frozen=True)
class Artifact:
  """A finished stage."""

  path: epath.Path  # its folder
  fingerprint: str  # 64 hex digits, of all that can change its content
  summary: dict[str, Any]  # what the stage said, at least expected and made


@dataclasses.dataclass(frozen=True)
class Stage:
  """A function that makes an artifact; see `stage`."""

  fn: Callable[..., dict[str, Any]]
  id: str
  version: int

  def __call__(self, *paths: epath.Path, **how: Any) -> dict[str, Any]:
    return self.fn(*paths, **how)


def stage(
  id: str, *, version: int = 1
) -> Callable[[Callable[..., dict[str, Any]]], Stage]:
  """Marks a function as a stage, by a name that stays.

  Both are in the fingerprints of what it makes. The id says where the function
  stood when the first workdirs were made, and never changes, so that files can
  move and functions be renamed and every workdir is still found. The version
  is raised when the same settings come to give something else.
  """
  return lambda fn: Stage(fn, id, version)


class Until(Exception):
  """The stages that `--until` names are done: all is well."""


class Incomplete(RuntimeError):
  """A stage that made less or more than it expected."""


class Store:
  """Runs the stages of a workdir that are not yet there."""

  def __init__(
    self, workdir: epath.PathLike, *, layout: Any, reads: Reads = WHOLE
  ):
    self.workdir = epath.Path(workdir)
    self._layout = layout
    self._reads = reads
    self._told = set()  # (fingerprint, extent) that have had their line

  def step(
    self,
    name: str,
    fn: Stage,
    *inputs: Artifact,
    cfg: Any = None,
    after: Callable[..., str] | None = None,
  ) -> Artifact:
    """The artifact of `fn` on these inputs and settings, made if missing.

    fn(*paths, out=folder, cfg=cfg, layout=layout) -> summary, which counts
    the items it `expected` and those it `made`. An extensible store that
    reaches less far than cfg asks is made further.

    after(*paths, out=folder, cfg=cfg) -> what it did, '' for nothing: tidies up
    when DONE.json is written, and each time that the stage is found done, for
    a run may have been killed in between.
    """
    mark = fingerprint(name, fn, inputs, cfg, self._reads)
    folder = self.workdir / f'{name}-{mark[:12]}'
    done = _done(folder)
    if done and done.get('extent', 0) >= extent_of(cfg):
      summary = done['summary']
      told = f'{"kept":>9}   ({summary_line(summary)})'
    else:
      before = done.get('seconds', 0.0)
      seconds = self._make(name, fn, inputs, cfg, folder, mark, before)
      summary = _done(folder)['summary']
      told = f'{seconds:7.1f} s   {summary_line(summary)}'
    self._tell((mark, extent_of(cfg)), f'{name:<20} {told}')
    if after and (did := after(*(a.path for a in inputs), out=folder, cfg=cfg)):
      print(f'{name:<20} {did}', flush=True)
    return Artifact(folder, mark, summary)

  def _make(
    self,
    name: str,
    fn: Stage,
    inputs: tuple[Artifact, ...],
    cfg: Any,
    folder: epath.Path,
    mark: str,
    before: float,
  ) -> float:
    """Runs the stage, DONE.json written last; returns its seconds.

    `before` are those of the smaller extent that it goes on from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    paths = [artifact.path for artifact in inputs]
    summary = fn(*paths, out=folder, cfg=cfg, layout=self._layout)
    seconds = time.monotonic() - start
    malloc.trim()
    _check(name, summary)
    records.write_json(
      folder / DONE,
      {
        'name': name,
        'fingerprint': mark,
        'cfg': located.noted(cfg, self.workdir),
        'inputs': [
          {
            'path': os.path.relpath(a.path, self.workdir),
            'fingerprint': a.fingerprint,
          }
          for a in inputs
        ],
        'summary': summary,
        'seconds': before + seconds,
        'versions': versions(),
      }
      | ({'extent': extent_of(cfg)} if extent_of(cfg) else {}),
    )
    return seconds

  def _tell(self, of: tuple[str, int], text: str) -> None:
    if of not in self._told:
      print(text, flush=True)
    self._told.add(of)


def fingerprint(
  name: str,
  fn: Stage,
  inputs: tuple[Artifact, ...],
  cfg: Any,
  reads: Reads = WHOLE,
) -> str:
  """Of the stage and its version, its inputs and what its settings mean."""
  return _digest(
    {
      'name': name,
      'function': fn.id,
      'version': fn.version,
      'inputs': [artifact.fingerprint for artifact in inputs],
      'cfg': meaning(cfg, reads),
    }
  )


def extent_of(cfg: Any) -> int:
  """How far a stage with these settings is to go; 0 without EXTENT field."""
  if not dataclasses.is_dataclass(cfg):
    return 0
  return max(
    (
      getattr(cfg, field.name)
      for field in dataclasses.fields(cfg)
      if field.metadata == config.EXTENDABLE
    ),
    default=0,
  )


def meaning(value: Any, reads: Reads = WHOLE) -> Any:
  """What of a setting can change results, as JSON.

  Train(steps=10, clip=1.0)  ->  {'steps': 10, 'clip': 1, ...}
  config.FILE  ->  the content of the file, or what is read of the folder;
  CODE  ->  its name and, if it is imported, its code
  LOCAL, EXTENT  ->  left out, as is LATER at its default
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


def _means(field: dataclasses.Field, value: Any) -> bool:
  """Whether a setting is in a fingerprint."""
  if field.metadata == config.OMIT_AT_DEFAULT:
    return value != field.default
  return field.metadata not in (config.LOCAL, config.EXTENDABLE)


def _field_meaning(field: dataclasses.Field, owner: Any, reads: Reads) -> Any:
  value = getattr(owner, field.name)
  if field.metadata == config.CODE and ':' in value:
    return {'name': value} | code.module_content(value)
  if not config.is_path(field) or not value:
    return meaning(value, reads)
  path = assets.path(value)
  read = reads.get(field.metadata.get('reads'))
  parts = read(owner, path) if read and path.is_dir() else ()
  return {'content': content(path, parts)}


def content(path: epath.PathLike, parts: Sequence[epath.Path] = ()) -> str:
  """sha256 of a file's bytes, or of a folder's relative names and bytes.

  Of a folder only `parts` count, files and folders in it; (): all that is.
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
  return _folder_content(path, [file.relative_to(path).parts for file in files])


def _folder_content(path: epath.Path, names: list[tuple[str, ...]]) -> str:
  """Of these files: [('a',), ('b', 'c')]  ->  that of [[a, ..], [b, ..]]."""
  inside = collections.defaultdict(list)
  for first, *rest in names:
    inside[first].append(tuple(rest))
  found = []
  for name, rest in sorted(inside.items()):
    is_file = rest == [()]
    inner = path / name
    found.append(
      [name, content(inner) if is_file else _folder_content(inner, rest)]
    )
  return _digest(found)


def _files(path: epath.Path) -> Iterator[epath.Path]:
  """The file itself, or all files in a folder that may matter."""
  if not path.is_dir():
    yield path
    return
  for inner in path.iterdir():
    if not UNREAD.fullmatch(inner.name) and inner.exists():
      yield from _files(inner)


@functools.cache
def _file_content(path: str, size: int, changed: int) -> str:
  del size, changed  # a file that changed is read again
  found = hashlib.sha256()
  with epath.Path(path).open('rb') as file:
    while block := file.read(1 << 20):
      found.update(block)
  return found.hexdigest()


def _version(path: epath.Path) -> tuple[int, int]:
  if storage.remote(path):
    found = path.stat()
    return found.length, found.mtime
  found = os.stat(path)
  return found.st_size, found.st_mtime_ns


def _done(folder: epath.Path) -> dict[str, Any]:
  """What the marker says; {} where there is none."""
  marker = folder / DONE
  return records.read_json(marker) if marker.exists() else {}


def _digest(value: Any) -> str:
  text = json.dumps(value, sort_keys=True, default=records.plain)
  return hashlib.sha256(text.encode()).hexdigest()


def summary_line(summary: dict[str, Any]) -> str:
  """{'expected': 8, 'made': 8, 'loss': 1.234} -> '8 made, loss 1.234'."""
  words = []
  for key, value in summary.items():
    name = key.replace('_', ' ')
    if key == 'expected' or value is None:
      continue
    if isinstance(value, dict | list | tuple):
      continue  # for DONE.json only
    if isinstance(value, int) and not isinstance(value, bool):
      words.append(f'{value:,} {name}')
    elif isinstance(value, float):
      words.append(f'{name} {value:.4g}')
    else:
      words.append(f'{name} {value}')
  return ', '.join(words)


def versions() -> dict[str, str]:
  """Of Python and of the libraries that make the numbers."""
  found = {'python': platform.python_version()}
  for name in LIBRARIES:
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      found[name] = 'not installed'
  return found


def _check(name: str, summary: dict[str, Any]) -> None:
  counts = [summary.get('expected'), summary.get('made')]
  if None in counts:
    raise Incomplete(f'{name}: a stage must count what it expected and made')
  if counts[0] != counts[1]:
    raise Incomplete(
      f'{name}: expected {counts[0]} items and made {counts[1]}; what was '
      'made is kept, the same command goes on from there'
    )
