"""Starts runs that kill themselves, again and again, and compares their end.

A round is a workdir: it is run with one kill after another, in the order in
which their points come, and then to its end. What it holds then must be what
an undisturbed run with as many processes holds.
"""

import collections
import dataclasses
import json
import multiprocessing
import os
import pathlib
import random
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

from common import kill_contents, kill_points

HERE = pathlib.Path(__file__).parent
LIMIT = 60.0  # seconds from a kill until all processes must have ended
START = 1800.0  # seconds a sitting may take where nothing happens
SLOTS = 4  # of a host: compute.prompts x compute.samples of kill_config.py
MODULES = (  # imported once, then forked
  *('main', 'restpg', 'parallel.cluster', 'report.build'),
  *('sampling.engine', 'parallel.watch'),
)
SAME = 75  # what all hosts end with, but for those in CODES
CODES = {'full': 1, 'error': 1}


@dataclasses.dataclass(frozen=True)
class Row:
  """What a kill did."""

  kill: kill_points.Kill
  processes: int
  seconds: float  # until the last process had ended
  codes: list[int]  # of all hosts
  redone: dict[str, int]  # items that have to be made again, by kind
  fault: str  # '' where all was well

  def __str__(self):
    again = ', '.join(f'{n} {kind}' for kind, n in self.redone.items() if n)
    codes = ' '.join(map(str, self.codes))
    return (
      f'{self.kill.action:<8}{self.kill.point:<18}{self.kill.stage:<20}'
      f'host {self.kill.host} of {self.processes} {self.seconds:6.1f} s  '
      f'{codes:<16} {again or "nothing"} again {self.fault}'
    )

  def noted(self) -> dict[str, Any]:
    return dataclasses.asdict(self) | {'kill': str(self.kill)}


class Harness:
  """Runs of one config, in a folder of its own."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    self._context = fork_context()
    if not (folder / 'model').exists():
      self.call(make_model, folder / 'model')
    self._whole: dict[int, dict[str, str]] = {}  # processes -> contents
    self._logs: dict[int, list[list[Any]]] = {}  # and what they logged

  def call(self, function: Any, *args: Any) -> None:
    """Calls a function in a process of its own."""
    process = self._context.Process(target=function, args=args)
    process.start()
    process.join()
    if process.exitcode:
      raise RuntimeError(f'{function.__name__} ended with {process.exitcode}')

  def contents(self, workdir: pathlib.Path) -> dict[str, str]:
    """Returns what is in a finished workdir, by name: hashes and texts."""
    to = workdir.parent / 'contents.json'
    self.call(kill_contents.write_contents, workdir, to)
    return json.loads(to.read_text())

  def reference(self, processes: int) -> dict[str, str]:
    """Returns the contents of an undisturbed run; makes it the first time."""
    if processes not in self._whole:
      run = self.sitting(f'whole-{processes}', processes, None)
      assert run.codes == [0] * processes, run.output()
      self._whole[processes] = self.contents(run.workdir)
      self._logs[processes] = run.log()
    return self._whole[processes]

  def sitting(
    self, name: str, processes: int, kill: kill_points.Kill | None
  ) -> 'Sitting':
    """Starts the run of a round once; returns when it has ended."""
    home = self._folder / name
    if not home.exists():  # all rounds share their compiled programs
      (home / 'run').mkdir(parents=True)
      (self._folder / 'compiled').mkdir(exist_ok=True)
      (home / 'run' / 'compiled').symlink_to(self._folder / 'compiled')
    return Sitting(self._context, home, self._folder, processes, kill)

  def plan(
    self, processes: int, kills: int, rng: random.Random
  ) -> list[kill_points.Kill]:
    """Chooses kills of a round, in the order of the reference's passes.

    Each is of a kind of point of its own, as long as there are some.
    """
    self.reference(processes)
    times = collections.defaultdict(list)  # (point, stage, host) -> times
    for host, kind, stage, _, when in self._logs[processes]:
      if kind.startswith('at '):
        times[kind.removeprefix('at '), stage, host].append(when)
    points = sorted({point for point, _, _ in times})
    chosen: dict[tuple[str, str], tuple[float, kill_points.Kill]] = {}
    while len(chosen) < kills:
      for point in rng.sample(points, len(points))[: kills - len(chosen)]:
        _, stage, host = passed = rng.choice(
          sorted(passed for passed in times if passed[0] == point)
        )
        call = rng.randrange(len(times[passed])) + 1
        first = {
          other: passes[0]
          for (point, other, host), passes in times.items()
          if (point, host) == passed[::2]
        }
        later = tuple(s for s, t in first.items() if t > times[passed][-1])
        action = rng.choice(
          [
            action
            for action in kill_points.ACTIONS
            if processes > 1 or action != 'SIGSTOP'
          ]
        )
        chosen[point, stage] = (
          times[passed][call - 1],
          kill_points.Kill(point, stage, call, action, host, later),
        )
    planned: list[kill_points.Kill] = []
    for _, kill in sorted(chosen.values(), key=lambda pair: pair[0]):
      again = planned and planned[-1].stage == kill.stage
      planned.append(dataclasses.replace(kill, call=1) if again else kill)
    return planned

  def round(
    self, name: str, processes: int, kills: Sequence[kill_points.Kill]
  ) -> Iterator[Row]:
    """Kills a run at each of these, and yields what happened; then ends it.

    A kill whose point is not passed any more is left out. Raises
    AssertionError where the workdir differs at the end.
    """
    whole, lost = self.reference(processes), collections.Counter()
    for kill in [*kills, None]:
      sitting = self.sitting(name, processes, kill)
      if sitting.acted and kill:
        now = sitting.lost()
        redone = {kind: n - lost[kind] for kind, n in now.items()}
        lost = now
        fault = fault_of(kill, sitting.codes) or too_much(redone, processes)
        yield Row(
          kill, processes, sitting.seconds, sitting.codes, redone, fault
        )
      elif any(sitting.codes):
        raise AssertionError(f'{name}: {sitting.codes}\n{sitting.output()}')
    ended = self.contents(self._folder / name / 'run')
    differ = {
      key: (whole.get(key, 'nothing')[:400], ended.get(key, 'nothing')[:400])
      for key in whole.keys() | ended.keys()
      if whole.get(key) != ended.get(key)
    }
    assert not differ, (name, differ)


def fork_context() -> Any:
  """Returns what starts processes that have imported the package already."""
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(
    [*(f'restpg_jax.{name}' for name in MODULES), 'rouge_score.rouge_scorer']
  )
  return context


class Sitting:
  """The processes of a run, from their start to their end."""

  def __init__(
    self,
    context: Any,
    home: pathlib.Path,
    folder: pathlib.Path,
    processes: int,
    kill: kill_points.Kill | None,
  ):
    self.workdir, self._home, self._processes = home / 'run', home, processes
    self._before = [size_of(path) for path in self._outputs()]
    self._seen = len(self.log())
    argv = [
      f'--config={HERE / "kill_config.py"}:{folder / "model"}',
      f'--workdir={self.workdir}',
    ]
    if processes > 1:
      argv += [f'--coordinator=127.0.0.1:{free_port()}']
      argv += [f'--num_processes={processes}']
    started = [
      context.Process(
        target=kill_points.run,
        args=(
          [*argv, *[f'--process_id={n}'] * (processes > 1)],
          kill if kill and kill.host == n else None,
          os.fspath(home / f'log-{n}'),
          os.fspath(output),
          os.fspath(home),
        ),
      )
      for n, output in enumerate(self._outputs())
    ]
    for process in started:
      process.start()
    self._await(started, kill)

  def _await(
    self, started: Sequence[Any], kill: kill_points.Kill | None
  ) -> None:
    begin, self.acted = time.monotonic(), 0.0
    while any(process.is_alive() for process in started):
      time.sleep(0.05)
      self.acted = self.acted or self._time_of_act()
      now = time.monotonic()
      alive = [n for n, p in enumerate(started) if p.is_alive()]
      if kill and kill.action == 'SIGSTOP' and alive == [kill.host]:
        os.kill(started[kill.host].pid, signal.SIGCONT)
      limit = self.acted + LIMIT if self.acted else begin + START
      if now > limit:
        self._end_hung([p for p in started if p.is_alive()])
    self.acted = self.acted or self._time_of_act()
    self.seconds = time.monotonic() - (self.acted or begin)
    codes = [process.exitcode for process in started]
    self.codes = [code if code >= 0 else 128 - code for code in codes]

  def _end_hung(self, hung: Sequence[Any]) -> None:
    for process in hung:
      os.kill(process.pid, signal.SIGUSR1)  # its stacks
    time.sleep(1)
    for process in hung:
      process.kill()
      process.join()
    raise AssertionError(f'{self._home}: hung\n{self.output()}')

  def _time_of_act(self) -> float:
    new = self.log()[self._seen :]
    return next((entry[-1] for entry in new if entry[1] == 'acted'), 0.0)

  def _outputs(self) -> list[pathlib.Path]:
    return [self._home / f'output-{n}' for n in range(self._processes)]

  def output(self) -> str:
    """Returns what the processes of this sitting printed."""
    return '\n'.join(
      f'host {n}: ' + path.read_bytes()[before:].decode(errors='replace')
      for n, (path, before) in enumerate(
        zip(self._outputs(), self._before, strict=True)
      )
      if path.exists()
    )

  def log(self) -> list[list[Any]]:
    """Returns all entries of this round: host, kind, stage, count, time."""
    entries = [
      [n, *json.loads(line)]
      for n in range(self._processes)
      if (path := self._home / f'log-{n}').exists()
      for line in path.read_text().splitlines(keepends=True)
      if line.endswith(']\n')  # it may be written just now
    ]
    return sorted(entries, key=lambda entry: entry[-1])

  def lost(self) -> collections.Counter:
    """Returns, by kind, how many items were made so far and are not kept."""
    counts = collections.Counter()
    steps = collections.Counter()  # (stage, host) -> those counts
    for host, kind, stage, count, _ in self.log():
      if kind in ('samples', 'judged'):
        counts[kind] += count
      if kind == 'steps':
        steps[stage, host] += count
    stages = {stage for stage, _ in steps}
    counts['steps'] = sum(
      max(n for (name, _), n in steps.items() if name == stage)
      for stage in stages
    )
    return counts - kill_contents.kept_in(self.workdir)


def fault_of(kill: kill_points.Kill, codes: Sequence[int]) -> str:
  """Says what is wrong with the exit codes after a kill; '' for nothing."""
  if kill.action not in ('SIGKILL', 'SIGSTOP'):
    code = CODES.get(kill.action, SAME)
    return '' if {*codes} == {code} else f'exit codes {codes}, not {code}'
  others = [code for n, code in enumerate(codes) if n != kill.host]
  allowed = {SAME} if kill.host else {SAME, 134}
  hit = {137} if kill.action == 'SIGKILL' else {SAME, 134}
  if codes[kill.host] not in hit or not {*others} <= allowed:
    return f'exit codes {codes}'
  return ''


def too_much(redone: dict[str, int], processes: int) -> str:
  """Says what is made again beyond what may be; '' for nothing."""
  limits = {
    'samples': 2 * SLOTS * processes,
    'judged': processes,
    'steps': 4,  # the save of step N is whole, at the latest, at step N + 2
  }
  return ', '.join(
    f'{redone[kind]} {kind} again'
    for kind, limit in limits.items()
    if redone.get(kind, 0) > limit
  )


def free_port() -> int:
  """Returns a port that nobody listens on now."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def size_of(path: pathlib.Path) -> int:
  return path.stat().st_size if path.exists() else 0


def make_model(folder: pathlib.Path) -> None:
  """Saves a model of one layer, with the bundled tokenizer's vocabulary."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from restpg_jax.io import checkpoints
  from restpg_jax.models import decoder, size

  small = size.Size(
    layers=1,
    width=16,
    hidden=16,
    heads=2,
    kv_heads=1,
    head_size=8,
    vocabulary=1024,
  )
  shapes = jax.eval_shape(
    decoder.Decoder(small).init, jax.random.key(0), jnp.zeros((1, 4), int)
  )['params']
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes
  )
  checkpoints.save_model(folder, params, small)
