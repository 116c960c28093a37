"""Shows how far a stage is: a bar on a terminal, else a line now and then."""

import abc
import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import tqdm
from etils import epath

from restpg_jax import pulse, types
from restpg_jax.io import records, sittings, speed, tracking
from restpg_jax.parallel import hosts as hosts_lib

PERIOD = 10.0  # the least seconds between two lines
COMPILING = 'compiling'  # what is shown until the first result
SAMPLES = 4  # texts of a sitting that a tracker is sent


class Shown(abc.ABC):
  """The progress that `bar` yields; subclasses say what it looks like."""

  def __init__(
    self,
    total: int,
    unit: str,
    name: str,
    done: int = 0,
    clock: Callable[[], float] = time.monotonic,
    *,
    accept: float | None = None,
    log: epath.Path | None = None,
    compiles: bool = True,
  ):
    self._unit, self._name = unit, name
    self._waits = COMPILING if compiles and done < total else ''
    self._log = records.Appender(log, speed.Pace) if log else None
    self._lines = list(self._log.done) if self._log else []
    sitting = self._lines[-1].sitting + 1 if self._lines else 0
    # A kill can lose work that has a line, in a bucket: `done` goes back.
    step = min(self._lines[-1].done, done) + 1 if self._lines else 0
    self._tracked = tracking.TrackedRun(log and log.parent, step)
    self._untold = SAMPLES
    self._meter = speed.Meter(
      total, done, accept=accept, sitting=sitting, clock=clock
    )
    self._logged = self._meter.now()
    self._begin(self._logged)

  def update(
    self,
    n: int = 1,
    *,
    tokens: int | None = None,
    busy: int | None = None,
    slots: int | None = None,
    rewards: Sequence[float] = (),
    samples: Sequence[types.Trajectory] = (),
  ) -> None:
    """Counts `n` more items as done, with what speed.Meter counts of them.

    samples: texts among them, of which a tracker is sent the first SAMPLES
    """
    pulse.beat(n)
    self._meter.add(n, tokens=tokens, busy=busy, slots=slots, rewards=rewards)
    pace = self._meter.now()
    self._send_texts(samples, pace.done)
    self._show(n, pace)
    if pace.made and pace.seconds - self._logged.seconds >= PERIOD:
      self._write(pace)

  def totals(self) -> dict[str, float]:
    """Returns the rates of all processes, once this one ended: a summary."""
    return speed.overall(self._lines)

  def end(self) -> None:
    """Writes a last line, if anything was made since the one before."""
    pace = self._meter.now()
    if pace.made > self._logged.made:
      self._write(pace)
    if self._log:
      self._log.close()
    self._tracked.close()

  @abc.abstractmethod
  def _begin(self, pace: speed.Pace) -> None:
    """Shows the start, before anything is made."""

  @abc.abstractmethod
  def _show(self, n: int, pace: speed.Pace) -> None:
    """Shows that `n` more items are made."""

  def _write(self, pace: speed.Pace) -> None:
    self._logged = pace = dataclasses.replace(pace, goodput=sittings.so_far())
    self._lines.append(pace)
    self._tracked.line(pace, pace.done)
    if self._log:
      self._log.append([pace])

  def _send_texts(self, samples: Sequence[types.Trajectory], step: int) -> None:
    for sample in samples[: self._untold]:
      title = f'{sample.example_id} {sample.j}'
      self._tracked.text('samples', f'{title}\n\n{sample.text}', step)
      self._untold -= 1


def log_of(folder: epath.Path, hosts: hosts_lib.Hosts) -> epath.Path:
  """Returns where a host notes how fast a stage goes: a file for each."""
  number = '' if hosts.first else f'-{hosts.index:05}'
  return folder / f'metrics{number}.jsonl'


@contextlib.contextmanager
def bar(
  total: int,
  unit: str,
  name: str,
  done: int = 0,
  *,
  accept: float | None = None,
  log: epath.Path | None = None,
  compiles: bool = True,
) -> Iterator[Shown]:
  """Shows progress on stderr; `done` of `total` items were there before.

  with progress.bar(1000, 'examples', 'draw/1') as shown: shown.update(8)

  accept: the reward from which an answer counts as accepted
  log:    a metrics.jsonl of speed.Pace, which gets a line every PERIOD
          seconds and one at the end
  compiles: whether the first result waits for a program to be compiled
  """
  cls = Terminal if _has_terminal() else Heartbeat
  shown = cls(
    total, unit, name, done, accept=accept, log=log, compiles=compiles
  )
  try:
    yield shown
  finally:
    shown.end()


class Terminal(Shown):
  """A bar of tqdm's, which disappears when the work is done."""

  def _begin(self, pace: speed.Pace) -> None:
    self._bar = tqdm.tqdm(
      total=pace.total,
      desc=self._name,
      initial=pace.done,
      leave=False,
      dynamic_ncols=True,
      postfix=self._waits,
      # Not tqdm's own {remaining}: it counts compiling.
      bar_format='{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]',
    )

  def end(self) -> None:
    self._bar.close()
    super().end()

  def _show(self, n: int, pace: speed.Pace) -> None:
    left = f'{_clock_face(pace.left)} left, ' if pace.left is not None else ''
    rates = left + _rates(pace, self._unit)
    self._bar.set_postfix_str(rates, refresh=False)
    self._bar.update(n)


class Heartbeat(Shown):
  """Prints a line at most every PERIOD seconds, none for what is quick.

  draw/1: 0 of 1,000 samples, compiling
  draw/1: 120 of 1,000 samples, 3.4 samples/s, 210 tokens/s, 0:04:19 left
  """

  def _begin(self, pace: speed.Pace) -> None:
    self._printed = pace.seconds  # when the last line was
    # Nobody calls `update` while a program is compiled, which takes minutes.
    self._timer = threading.Timer(PERIOD, self._print, [pace, self._waits])
    self._timer.daemon = True
    if self._waits:
      self._timer.start()

  def end(self) -> None:
    self._timer.cancel()
    super().end()

  def _show(self, n: int, pace: speed.Pace) -> None:
    if n or pace.tokens:
      self._timer.cancel()
    if not pace.items_per_s or pace.seconds - self._printed < PERIOD:
      return
    self._printed = pace.seconds
    left = f'{_clock_face(pace.left or 0.0)} left'
    self._print(pace, f'{_rates(pace, self._unit)}, {left}')

  def _print(self, pace: speed.Pace, text: str) -> None:
    print(
      f'{self._name}: {pace.done:,} of {pace.total:,} {self._unit}, {text}',
      file=sys.stderr,
      flush=True,
    )


def _has_terminal() -> bool:
  """Whether stderr is a terminal on which a bar can be seen."""
  if not sys.stderr.isatty():
    return False
  # Some containers have a terminal of no width.
  return os.get_terminal_size(sys.stderr.fileno()).columns > 0


def _rates(pace: speed.Pace, unit: str) -> str:
  rate = pace.items_per_s
  known = [f'{speed.short(rate)} {unit}/s'] if rate else []
  return ', '.join([*known, *speed.rates(pace)])


def _clock_face(seconds: float) -> str:
  """259.4 -> '0:04:19'."""
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}'
