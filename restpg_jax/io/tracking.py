"""Sends metrics, texts and figures to a tracker while a run goes on.

  with tracking.tracked_by('tensorboard', workdir): ...

Whatever writes a metrics.jsonl opens a `TrackedRun` for its folder and sends
each line before it writes it; without a tracker nothing is sent. A tracker
decides nothing: at its first failure there is one warning, and from then on it
is sent nothing.
"""

import contextlib
import dataclasses
import numbers
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from etils import epath

from restpg_jax import errors, folders
from restpg_jax.io import code, event_files

T = TypeVar('T')


class Run(Protocol):
  """What a tracker keeps of one folder of the workdir."""

  def scalars(self, values: Mapping[str, float], step: int) -> None: ...
  def text(self, name: str, text: str, step: int) -> None: ...
  def image(self, name: str, png: bytes, step: int) -> None: ...
  def close(self) -> None: ...


# tracker('e_step1/draw-01234567', step) opens a run, or goes on with it: what
# a killed sitting sent of steps from `step` on does not count any more.
Tracker = Callable[[str, int], Run]
TRACKERS = {'tensorboard': event_files.tensorboard}


@dataclasses.dataclass
class _Active:
  """The tracker of this process."""

  name: str  # the setting `track`
  workdir: epath.Path
  tracker: Tracker | None = None
  failed: bool = False

  def attempt(self, act: Callable[[], T]) -> T | None:
    """Returns what `act` does; None where it, or an earlier one, has failed."""
    if self.failed:
      return None
    try:
      return act()
    except Exception as error:
      self.failed = True
      errors.warn_once(
        f'track={self.name}: {type(error).__name__}: {errors.detail(error)}; '
        'the run goes on without it'
      )
    return None


_active: _Active | None = None


def builder(name: str) -> Callable[[epath.Path], Tracker]:
  """Returns what builds a tracker for a workdir, of TRACKERS or an outsider's.

  Raises InputError for a name that is not known or cannot be imported.
  """
  if name in TRACKERS:
    return TRACKERS[name]
  if ':' not in name:
    raise errors.InputError(
      f'track is {name!r}; known are {", ".join(TRACKERS)}, or '
      'package.module:function'
    )
  return code.function('track', name)


def check_name(name: str) -> None:
  """Raises InputError for what `builder` does not know; '' is no tracker."""
  if name:
    builder(name)


@contextlib.contextmanager
def tracked_by(name: str, workdir: epath.PathLike) -> Iterator[None]:
  """Sends what is measured in the block to a tracker; '': to none."""
  global _active
  before, new = _active, None
  if name:
    build, root = builder(name), epath.Path(workdir)
    new = _Active(name, root)
    new.tracker = new.attempt(lambda: build(root))
  _active = new
  try:
    yield
  finally:
    _active = before


class TrackedRun:
  """A run of the active tracker, if there is one; it raises nothing.

  folder: in the workdir; None: nothing is sent
  step: what earlier sittings sent of this step and later ones is made again
  """

  def __init__(self, folder: epath.Path | None, step: int):
    self._active = active = _active
    self._run: Run | None = None
    if folder and active and (tracker := active.tracker):
      self._run = active.attempt(
        lambda: tracker(os.fspath(folder.relative_to(active.workdir)), step)
      )

  def line(self, line: Any, step: int) -> None:
    """Sends the numbers of a line of metrics.jsonl."""
    self._send(lambda run: run.scalars(scalars_of(line), step))

  def text(self, name: str, text: str, step: int) -> None:
    """Sends a text."""
    self._send(lambda run: run.text(name, text, step))

  def image(self, name: str, png: bytes, step: int) -> None:
    """Sends the bytes of a PNG file."""
    self._send(lambda run: run.image(name, png, step))

  def close(self) -> None:
    """Ends what this sitting sends."""
    self._send(lambda run: run.close())

  def _send(self, act: Callable[[Run], None]) -> None:
    if self._active and (run := self._run):
      self._active.attempt(lambda: act(run))


def send_figures(name: str, workdir: epath.PathLike) -> None:
  """Sends the PNG files of a workdir's report, where there are any."""
  report = epath.Path(workdir) / 'report'
  if paths := folders.matching(report / 'figures', '*.png'):
    with tracked_by(name, workdir):
      run = TrackedRun(report, 0)
      for path in paths:
        run.image(path.stem, path.read_bytes(), 0)
      run.close()


def scalars_of(line: Any, prefix: str = '') -> dict[str, float]:
  """Returns the numbers of a dataclass, of nested ones as 'goodput/seconds'."""
  scalars = {}
  for field in dataclasses.fields(line):
    value, name = getattr(line, field.name), f'{prefix}{field.name}'
    if dataclasses.is_dataclass(value):
      scalars |= scalars_of(value, f'{name}/')
    elif isinstance(value, numbers.Real):
      scalars[name] = float(value)
  return scalars
