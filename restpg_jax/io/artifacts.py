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
import itertools
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

from etils import epath

from restpg_jax import malloc, pulse
from restpg_jax.io import (
  append_log,
  contents,
  fingerprints,
  located,
  records,
  sittings,
)
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layouts

DONE = 'DONE.json'
# Who runs a stage, where there are several hosts.
FIRST, SHARES, TOGETHER = 'first', 'shares', 'together'
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
  hosts: str  # FIRST, SHARES or TOGETHER

  def __call__(self, *paths: epath.Path, **options: Any) -> dict[str, Any]:
    return self.fn(*paths, **options)


def stage(
  id: str, *, version: int = 1, hosts: str = FIRST
) -> Callable[[Callable[..., dict[str, Any]]], Stage]:
  """Marks a function as a stage, by an id that stays.

  Id and version are in the fingerprints of what it makes. The id says where the
  function stood when the first workdirs were made, and never changes, so that
  files can move and functions be renamed and every workdir is still found. The
  version is raised when the same settings come to give something else.

  `hosts` says who runs it: the FIRST host alone; all by SHARES, each on its own
  devices, until they `gather` and the first writes the whole; or all TOGETHER,
  as one program on the devices of all. The summary is the first host's.
  """
  return lambda fn: Stage(fn, id, version, hosts)


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
    layout: layouts.Layout,
    reads: fingerprints.Reads = fingerprints.WHOLE,
  ):
    self.workdir = epath.Path(workdir)
    self._layout = layout
    self._hosts = layout.hosts
    self._reads = reads
    self._printed = set()  # (fingerprint, extent) that have had their line
    self._steps = itertools.count()

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

    All hosts begin a stage together, and leave it together once its marker is
    there for all.
    """
    mark = fingerprint(name, fn, inputs, cfg, self._reads)
    folder = self.workdir / f'{name}-{mark[:12]}'
    extent = fingerprints.extent_of(cfg)
    # Methods share stages, and a barrier serves once: each step has its own.
    layout = self._layout.at(f'{name}-{mark[:12]}/{extent}/{next(self._steps)}')
    with pulse.working_on(name):
      if self._is_done(layout.hosts, folder, extent):
        summary = _done(folder)['summary']
        status = f'{"kept":>9}   ({summary_line(summary)})'
      else:
        before = _done(folder).get('seconds', 0.0)
        with sittings.account(folder, layout.hosts):
          seconds = self._make(
            name, fn, inputs, cfg, folder, mark, layout, before
          )
        summary = _done(folder)['summary']
        status = f'{seconds:7.1f} s   {summary_line(summary)}'
      if self._hosts.first:
        self._print_once((mark, extent), f'{name:<20} {status}')
        paths = [artifact.path for artifact in inputs]
        if after and (did := after(*paths, out=folder, cfg=cfg)):
          print(f'{name:<20} {did}', flush=True)
    return Artifact(folder, mark, summary)

  def _is_done(
    self, hosts: hosts_lib.Hosts, folder: epath.Path, extent: int
  ) -> bool:
    """Returns whether a stage reaches so far, which the first host decides."""
    (first, *_) = hosts.meet('begin', done=_reaches(folder, extent))
    if first['done']:
      append_log.await_hosts(lambda: _reaches(folder, extent), folder, hosts)
      if hosts.first:
        files = _done(folder).get('files', {})  # not in older workdirs
        contents.check_contents(folder, files, grows=bool(extent))
    return first['done']

  def _make(
    self,
    name: str,
    fn: Stage,
    inputs: tuple[Artifact, ...],
    cfg: Any,
    folder: epath.Path,
    mark: str,
    layout: layouts.Layout,
    before: float,
  ) -> float:
    """Runs the stage; the first host writes DONE.json last.

    Returns its seconds; `before` are those of the smaller extent from which it
    goes on.
    """
    hosts = layout.hosts
    start = time.monotonic()
    summary = {}
    if hosts.first or fn.hosts != FIRST:
      folder.mkdir(parents=True, exist_ok=True)
      paths = [artifact.path for artifact in inputs]
      where = layout if fn.hosts == TOGETHER else layout.of_host()
      summary = fn(*paths, out=folder, cfg=cfg, layout=where)
    seconds = time.monotonic() - start
    # Before the next stage loads its model: glibc keeps what a stage freed.
    malloc.trim()
    extent = fingerprints.extent_of(cfg)
    if hosts.first:
      _check(name, summary)
      marker = {
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
        'devices': {'kind': layout.device_kind, 'count': layout.devices},
        'files': contents.contents_of(folder, leaves_out=DONE),
      } | ({'extent': extent} if extent else {})
      records.write_json(folder / DONE, marker)
    hosts.meet('end')
    append_log.await_hosts(lambda: _reaches(folder, extent), folder, hosts)
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
  reads: fingerprints.Reads | None = fingerprints.WHOLE,
) -> str:
  """Hashes a stage's id and version, its inputs and what its settings mean.

  Where `reads` is None, it is that of a plan: files stand for themselves.
  """
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


def _reaches(folder: epath.Path, extent: int) -> bool:
  """Returns whether a stage is done, as far as that."""
  done = reached(folder)
  return done is not None and done >= extent


def reached(folder: epath.Path) -> int | None:
  """Returns how far the store of a stage reaches that is done, 0 where it is no
  store; None: it is not done."""
  marker = _done(folder)
  return marker.get('extent', 0) if marker else None


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
