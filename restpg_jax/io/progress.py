"""How far a stage is: a bar on a terminal, else a line now and then."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import tqdm

PERIOD = 10.0  # seconds between two lines, at least


class Bar(Protocol):
  """What `bar` hands out."""

  def update(self, n: int = 1) -> None:
    """`n` more are done."""


@contextlib.contextmanager
def bar(total: int, unit: str, name: str, done: int = 0) -> Iterator[Bar]:
  """Shows progress on stderr; `done` of `total` were there before.

  with progress.bar(1000, 'examples', 'draw/1') as shown: shown.update(8)
  """
  if not _has_terminal():
    yield Heartbeat(total, unit, name, done)
    return
  with tqdm.tqdm(
    total=total,
    unit=f' {unit}',
    desc=name,
    initial=done,
    leave=False,
    dynamic_ncols=True,
  ) as shown:
    yield shown


class Heartbeat:
  """Prints a line at most every PERIOD seconds, none for what is quick.

  draw/1: 120 of 1,000 examples, 3.4 examples/s, 0:04:19 left
  """

  def __init__(
    self,
    total: int,
    unit: str,
    name: str,
    done: int = 0,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._total, self._unit, self._name = total, unit, name
    self._before = self._done = done
    self._clock = clock
    self._start = self._last = clock()

  def update(self, n: int = 1) -> None:
    self._done += n
    now = self._clock()
    if now - self._last < PERIOD:
      return
    self._last = now
    rate = (self._done - self._before) / (now - self._start)
    left = (self._total - self._done) / rate if rate else 0.0
    print(
      f'{self._name}: {self._done:,} of {self._total:,} {self._unit}, '
      f'{rate:.3g} {self._unit}/s, {_clock_face(left)} left',
      file=sys.stderr,
      flush=True,
    )


def _has_terminal() -> bool:
  """Some containers have one of no width, on which a bar shows nothing."""
  if not sys.stderr.isatty():
    return False
  return os.get_terminal_size(sys.stderr.fileno()).columns > 0


def _clock_face(seconds: float) -> str:
  """259.4 -> '0:04:19'."""
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}'
