"""The child of the kill harness: a run that ends itself at a named point.

`run` is the command `restpg`, whose functions are wrapped: each notes in a log
that it was passed, and at the n-th pass of one of them something happens, as
the plan says. The log is written by appending, so that a kill loses nothing.
"""

import collections
import dataclasses
import errno
import faulthandler
import functools
import json
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

LOGS = 'drawn', 'answers', 'rewards', 'measured'  # folders of append logs


def _signal(name: str) -> None:
  os.kill(os.getpid(), getattr(signal, name))


def _full() -> None:
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _raise() -> None:
  raise RuntimeError('the harness')


# What happens at a point.
ACTIONS: dict[str, Callable[[], None]] = {
  'SIGKILL': functools.partial(_signal, 'SIGKILL'),
  'SIGTERM': functools.partial(_signal, 'SIGTERM'),
  'SIGINT': functools.partial(_signal, 'SIGINT'),
  'SIGSTOP': functools.partial(
    _signal, 'SIGSTOP'
  ),  # until all others have ended
  'full': _full,  # OSError of a full disk
  'error': _raise,
}
TEARING = 'SIGKILL', 'full', 'error'  # they may leave half of a line


@dataclasses.dataclass(frozen=True)
class Kill:
  """What is done to which host, and when."""

  point: str  # a name that `install` gives
  stage: str  # as its folder, 'e_step1/draw-0123'; 'starting': outside of all
  call: int  # the n-th pass, from 1
  action: str  # of ACTIONS
  host: int
  # Stages that come later: where that many passes are not left, the first of
  # these that passes the point is taken.
  later: tuple[str, ...] = ()

  def __str__(self):
    return (
      f'{self.action} on host {self.host} at {self.point} {self.call} of '
      f'{self.stage}'
    )


class Points:
  """Counts the passes of points in this process, and acts at one of them."""

  def __init__(self, kill: Kill | None, log: str | os.PathLike):
    self._kill = kill
    self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    self._passes = collections.Counter()
    self._lock = threading.Lock()
    self._mark = ''  # the fingerprint of the last stage that was begun

  @property
  def stage(self) -> str:
    from restpg_jax import pulse

    where = pulse.NOW.where
    return where if where == 'starting' else f'{where}-{self._mark[:4]}'

  def named(self, fingerprint: Callable[..., str]) -> Callable[..., str]:
    """Returns the function, made to tell stages of one name apart."""

    def noted(*args: Any, **kwargs: Any) -> str:
      self._mark = fingerprint(*args, **kwargs)
      return self._mark

    return noted

  def note(self, kind: str, count: int = 1) -> None:
    """Logs so many finished items, or that something happened."""
    line = [kind, self.stage, count, time.monotonic()]
    os.write(self._log, (json.dumps(line) + '\n').encode())

  def due(self, point: str) -> str:
    """Counts a pass; returns the action that is due, '' for none."""
    stage = self.stage
    with self._lock:
      self._passes[point, stage] += 1
      passes = self._passes[point, stage]
    self.note(f'at {point}')
    kill = self._kill
    if not kill or kill.point != point:
      return ''
    if stage not in kill.later and (stage, passes) != (kill.stage, kill.call):
      return ''
    self._kill = None
    self.note('acted')
    return kill.action

  def at(self, point: str) -> None:
    """Counts a pass, and acts if it is the one."""
    if action := self.due(point):
      ACTIONS[action]()

  def before(self, owner: Any, name: str, point: str) -> None:
    """Makes each call of owner.name pass a point first."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
      self.at(point)
      return function(*args, **kwargs)

    setattr(owner, name, wrapped)


def install(points: Points) -> None:
  """Wraps the functions that are points."""
  from restpg_jax import experiments
  from restpg_jax.engines import rewards, trainer
  from restpg_jax.io import artifacts, checkpoints
  from restpg_jax.parallel import hosts
  from restpg_jax.report import build, plots
  from restpg_jax.sampling import engine

  # Drawing takes as long as all stages, and only its files can be torn.
  empty = plots.Drawing('<svg viewBox="0 0 1 1"></svg>', b'')
  plots.draw = lambda chart: empty
  artifacts.fingerprint = points.named(artifacts.fingerprint)
  points.before(engine, 'prefill_arrays', 'prefill')
  points.before(checkpoints.Saver, 'save', 'save')
  points.before(checkpoints.Saver, '_finish', 'finish')
  points.before(checkpoints, 'save_model', 'save_model')
  points.before(hosts.Hosts, 'meet', 'barrier')
  points.before(experiments, 'note_method', 'note_method')
  points.before(build, 'build_report', 'report')
  _wrap_collect(points, engine.SlotTable)
  _wrap_judgements(points, rewards)
  _wrap_update(points, trainer)
  _wrap_add(points)
  _wrap_replace(points)


def _wrap_collect(points: Points, table: Any) -> None:
  """Makes a point behind each decode chunk, and logs the samples that ended."""
  collect = table.collect

  def collected(self: Any, chunk: Any) -> Any:
    points.at('decode')
    output = collect(self, chunk)
    points.note('samples', len(output.samples))
    return output

  table.collect = collected


def _wrap_judgements(points: Points, rewards: Any) -> None:
  """Makes a point behind each batch that was judged, and logs the answers."""
  judgements = rewards.judgements

  @functools.wraps(judgements)
  def judged(*args: Any) -> Iterator[Any]:
    for batch in judgements(*args):
      points.note('judged', len(batch))
      points.at('judge')
      yield batch

  rewards.judgements = judged


def _wrap_update(points: Points, trainer: Any) -> None:
  """Makes a point between `accumulate` and `update`, and logs the steps."""
  build = trainer.training_programs

  @functools.wraps(build)
  def programs(*args: Any, **kwargs: Any) -> Any:
    built = build(*args, **kwargs)

    @functools.wraps(built.update)
    def stepped(*arrays: Any) -> Any:
      points.at('step')
      updated = built.update(*arrays)
      points.note('steps')
      return updated

    stepped.lower = built.update.lower  # pyright: ignore
    return built._replace(update=stepped)

  trainer.training_programs = programs


def _wrap_add(points: Points) -> None:
  """Makes a point of each addition to a log of items, which may tear it."""
  from restpg_jax.io import parts

  add = parts.Tail.add

  def added(tail: Any, data: bytes) -> int:
    path = tail._path
    if path.parent.name not in LOGS:
      return add(tail, data)
    if action := points.due('append'):
      if action in TEARING:
        with open(path, 'ab') as file:
          file.write(data[: len(data) // 2])
      ACTIONS[action]()
    return add(tail, data)

  parts.Tail.add = added  # pyright: ignore


def _wrap_replace(points: Points) -> None:
  """Makes points before and after a file appears under its name."""
  from etils import epath

  cls = type(epath.Path('x'))
  replace = cls.replace

  def replaced(path: Any, target: Any) -> Any:
    name, parts = pathlib.PurePath(target).name, pathlib.PurePath(path).parts
    if 'compiled' in parts:
      return replace(path, target)
    known = {'DONE.json': 'marker', 'model.json': 'model.json'}
    point = known.get(name, 'file')
    points.at(f'before {point}')
    result = replace(path, target)
    points.at(f'after {point}')
    return result

  cls.replace = replaced  # pyright: ignore


def run(
  argv: Sequence[str], kill: Kill | None, log: str, output: str, cwd: str
) -> None:
  """Does what `restpg ARGV` does, and what is planned meanwhile."""
  import jax

  # That of tests is JAX's own, into which only the first process writes.
  jax.config.update('jax_compilation_cache_dir', None)
  os.chdir(cwd)
  redirect(output)
  install(Points(kill, log))
  command(argv)


def redirect(output: str) -> None:
  """Sends standard output and error to the end of a file."""
  file = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
  for number, name in ((1, 'stdout'), (2, 'stderr')):
    os.dup2(file, number)
    setattr(sys, name, os.fdopen(number, 'w', buffering=1))


def command(argv: Sequence[str]) -> None:
  """Is the command, in a process that was forked."""
  # Where a process hangs, its stacks are requested before it is ended.
  faulthandler.register(signal.SIGUSR1, sys.stderr, all_threads=True)
  # A program that a shell has put in the background ignores it.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  from restpg_jax import main

  sys.argv = ['restpg', *argv]
  main.console()
