"""The artifacts of stages: each is made once and found by its fingerprint.

A stage's folder is `workdir/<name>-<fingerprint>/`. Its DONE.json is written
last: with it the stage is skipped, without it the stage runs in that folder
and goes on from what is there.

A stage whose settings have an EXTENDABLE field (draw and score: m) keeps an
extensible store: the extent is not in the fingerprint, DONE.json says how far
the store reaches, and asking for more makes what is missing in that folder.
Whoever reads such a store says how far (io/samples.py), in its own settings.
"""

import dataclasses
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

from etils import epath

from restpg_jax import malloc
from restpg_jax.io import fingerprints, located, records
from restpg_jax.parallel import layout as layouts

DONE = 'DONE.json'
LIBRARIES = (  # those that decide numbers: DONE.json notes their versions
  *('jax', 'flax', 'optax', 'numpy', 'restpg_jax'),
  *('rouge_score', 'sacrebleu', 'nltk'),
)


@dataclasses.dataclass(frozen=True)
class Artifact:
  """A finished stage."""

  path: epath.Path  # its folder
  fingerprint: str  # 64 hex digits, of all that can change its content
  summary: dict[str, Any]  # what the stage returned: expected, made, ..


@dataclasses.dataclass(frozen=True)
class Stage:
  """A function that makes an artifact; see `stage`."""

  fn: Callable[..., dict[str, Any]]
  id: str
  version: int

  def __call__(self, *paths: epath.Path, **options: Any) -> dict[str, Any]:
    return self.fn(*paths, **options)


def stage(
  id: str, *, version: int = 1
) -> Callable[[Callable[..., dict[str, Any]]], Stage]:
  """Marks a function as a stage, by an id that stays.

  Both are in the fingerprints of what it makes. The id says where the function
  stood when the first workdirs were made, and never changes, so that files can
  move and functions be renamed and every workdir is still found. The version
  is raised when the same settings come to give something else.
  """
  return lambda fn: Stage(fn, id, version)


class Until(Exception):
  """Raised when the stages that `--until` names are done: all is well."""


class Incomplete(RuntimeError):
  """Raised for a stage that made fewer or more items than it expected."""


class Store:
  """Runs those stages of a workdir that are not done yet."""

  def __init__(
    self,
    workdir: epath.PathLike,
    *,
    layout: layouts.Layout | None,
    reads: fingerprints.Reads = fingerprints.WHOLE,
  ):
    self.workdir = epath.Path(workdir)
    self._layout = layout
    self._reads = reads
    self._printed = set()  # (fingerprint, extent) that have had their line

  def step(
    self,
    name: str,
    fn: Stage,
    *inputs: Artifact,
    cfg: Any = None,
    after: Callable[..., str] | None = None,
  ) -> Artifact:
    """Returns the artifact of `fn` on these inputs, made if it is missing.

    fn(*paths, out=folder, cfg=cfg, layout=layout) -> summary, which counts
    the items it `expected` and those it `made`. An extensible store that
    reaches less far than cfg says is extended. Raises Incomplete where the
    summary's counts differ or are missing.

    after(*paths, out=folder, cfg=cfg) -> what it did, '' for nothing: tidies up
    when DONE.json is written, and each time that the stage is already done,
    for a run may have been killed in between.
    """
    mark = fingerprint(name, fn, inputs, cfg, self._reads)
    folder = self.workdir / f'{name}-{mark[:12]}'
    done = _done(folder)
    extent = fingerprints.extent_of(cfg)
    if done and done.get('extent', 0) >= extent:
      summary = done['summary']
      status = f'{"kept":>9}   ({summary_line(summary)})'
    else:
      before = done.get('seconds', 0.0)
      seconds = self._make(name, fn, inputs, cfg, folder, mark, before)
      summary = _done(folder)['summary']
      status = f'{seconds:7.1f} s   {summary_line(summary)}'
    self._print_once((mark, extent), f'{name:<20} {status}')
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
    """Runs the stage and writes DONE.json last; returns its seconds.

    `before` are the seconds of the smaller extent from which it goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    paths = [artifact.path for artifact in inputs]
    summary = fn(*paths, out=folder, cfg=cfg, layout=self._layout)
    seconds = time.monotonic() - start
    # Before the next stage loads its model: glibc keeps what a stage freed.
    malloc.trim()
    _check(name, summary)
    extent = fingerprints.extent_of(cfg)
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
      | ({'extent': extent} if extent else {}),
    )
    return seconds

  def _print_once(self, key: tuple[str, int], text: str) -> None:
    """Methods share stages: each stage has one line in a run."""
    if key not in self._printed:
      print(text, flush=True)
    self._printed.add(key)


def fingerprint(
  name: str,
  fn: Stage,
  inputs: tuple[Artifact, ...],
  cfg: Any,
  reads: fingerprints.Reads = fingerprints.WHOLE,
) -> str:
  """Hashes a stage's id and version, its inputs and what its settings mean."""
  return fingerprints.digest(
    {
      'name': name,
      'function': fn.id,
      'version': fn.version,
      'inputs': [artifact.fingerprint for artifact in inputs],
      'cfg': fingerprints.meaning(cfg, reads),
    }
  )


def _done(folder: epath.Path) -> dict[str, Any]:
  """Returns the content of DONE.json; {} where there is none."""
  marker = folder / DONE
  return records.read_json(marker) if marker.exists() else {}


def summary_line(summary: dict[str, Any]) -> str:
  """Writes a summary as one line, for people.

  {'expected': 8, 'made': 8, 'loss': 1.234}  ->  '8 made, loss 1.234'
  """
  entries = []
  for key, value in summary.items():
    name = key.replace('_', ' ')
    if key == 'expected' or value is None:
      continue
    if isinstance(value, dict | list | tuple):
      continue  # for DONE.json only
    if isinstance(value, int) and not isinstance(value, bool):
      entries.append(f'{value:,} {name}')
    elif isinstance(value, float):
      entries.append(f'{name} {value:.4g}')
    else:
      entries.append(f'{name} {value}')
  return ', '.join(entries)


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the libraries that decide numbers."""
  installed = {'python': platform.python_version()}
  for name in LIBRARIES:
    try:
      installed[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      installed[name] = 'not installed'
  return installed


def _check(name: str, summary: dict[str, Any]) -> None:
  counts = [summary.get('expected'), summary.get('made')]
  if None in counts:
    raise Incomplete(f'{name}: a stage must count what it expected and made')
  if counts[0] != counts[1]:
    raise Incomplete(
      f'{name}: expected {counts[0]} items and made {counts[1]}; what was '
      'made is kept, the same command goes on from there'
    )
