"""Takes the seconds of calls in alternating rounds, and their ratios."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Seconds(NamedTuple):
  """Seconds by the clock, and of all cores: others may use the machine too."""

  wall: float
  cpu: float


def timed(run: Callable, *inputs, **options) -> tuple[Any, Seconds]:
  """Returns what the call returns, and what it took."""
  wall, cpu = time.monotonic(), time.process_time()
  result = run(*inputs, **options)
  return result, Seconds(time.monotonic() - wall, time.process_time() - cpu)


def alternate(
  ways: Mapping[str, Callable],
  rounds: int,
  *inputs,
  after: Callable[[dict[str, Seconds]], None] = lambda seconds: None,
) -> dict[str, list[Seconds]]:
  """Returns seconds of each way, in rounds in which all take turns.

  So a machine that slows down for a while slows all of them. `after` sees
  each round as it ends.
  """
  seconds: dict[str, list[Seconds]] = {name: [] for name in ways}
  for _ in range(rounds):
    for name, run in ways.items():
      seconds[name].append(timed(run, *inputs)[1])
    after({name: each[-1] for name, each in seconds.items()})
  return seconds


def medians(rounds: Sequence[Seconds]) -> Seconds:
  return Seconds(*map(statistics.median, zip(*rounds, strict=True)))


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
  """Returns the median of the rounds' ratios.

  Not the ratio of medians, which compares one round with another.
  """
  return statistics.median(a / b for a, b in zip(above, below, strict=True))


def ratios(theirs: Sequence[Seconds], ours: Sequence[Seconds]) -> Seconds:
  """Returns how many times as long theirs took, by the clock and all cores."""
  columns = zip(zip(*theirs, strict=True), zip(*ours, strict=True), strict=True)
  return Seconds(*(ratio(above, below) for above, below in columns))
