"""Measures how fast work goes: counts and a clock in, rates out.

Rates of a `Pace`, and the time left, begin with the first result: until then
programs are compiled. Those of a summary (`overall`) include all seconds.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Spent:
  """What a sitting of a stage has taken so far; see io/sittings.py."""

  seconds: float  # all of them; those that follow are parts of it
  compiling: float
  waiting: float  # for other hosts, at barriers
  # Loading again after a kill, until the first item; and, where it is not
  # finished, the work that is not on disk: the next sitting does it again.
  redone: float
  programs: int  # compiled, those that a cache had left out

  @property
  def useful(self) -> float:
    """The seconds that are none of the other ones."""
    return self.seconds - self.compiling - self.waiting - self.redone


@dataclasses.dataclass(frozen=True)
class Pace:
  """A line of metrics.jsonl: how far the work is and how fast it goes."""

  sitting: int  # which of the processes that worked on it, from 0
  seconds: float  # since that one began
  done: int  # of `total`, by all sittings
  total: int
  made: int  # by this sitting, as are all counts and rates that follow
  tokens: int | None
  # Slot-steps in use: slots times decoding steps; in training: tokens.
  busy: int | None
  slots: int | None  # all slot-steps; in training: positions for tokens
  items_per_s: float | None  # since the first result; None: no second yet
  tokens_per_s: float | None  # as above
  occupancy: float | None  # busy / slots
  mean_reward: float | None  # of all answers that are scored
  accepted: float | None  # share of these that reach the reward `accept`
  left: float | None  # seconds until `total`, at this rate
  goodput: Spent | None = None  # of the stage; None in older logs


class Meter:
  """Adds up one sitting: what one process does of the work.

  meter = Meter(1000); meter.add(8, tokens=400); meter.now().tokens_per_s
  """

  def __init__(
    self,
    total: int,
    done: int = 0,
    *,
    accept: float | None = None,
    sitting: int = 0,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._total, self._before, self._accept = total, done, accept
    self._sitting = sitting
    self._made, self._counts = 0, {}
    # Seconds, items and tokens of the first result.
    self._first: tuple[float, int, int] | None = None
    self._rewards, self._reward, self._accepted = 0, 0.0, 0
    self._clock = clock
    self._start = clock()

  def add(
    self,
    n: int,
    *,
    tokens: int | None = None,
    busy: int | None = None,
    slots: int | None = None,
    rewards: Sequence[float] = (),
  ) -> None:
    """Counts `n` more items as done; None: such work does not count this."""
    self._made += n
    for name, more in (('tokens', tokens), ('busy', busy), ('slots', slots)):
      if more is not None:
        self._counts[name] = self._counts.get(name, 0) + more
    self._rewards += len(rewards)
    self._reward += sum(rewards)
    if self._accept is not None:
      self._accepted += sum(r >= self._accept for r in rewards)
    if (n or tokens) and not self._first:
      so_far = self._made, self._counts.get('tokens', 0)
      self._first = self._clock() - self._start, *so_far

  def now(self) -> Pace:
    """Returns where the work stands; rates are None until they are known."""
    seconds = self._clock() - self._start
    done = self._before + self._made
    tokens, busy, slots = map(self._counts.get, ('tokens', 'busy', 'slots'))
    begun, items_before, tokens_before = self._first or (seconds, 0, 0)
    rate = ratio(self._made - items_before, seconds - begun)
    since = None if tokens is None else tokens - tokens_before
    known = self._rewards if self._accept is not None else 0
    return Pace(
      sitting=self._sitting,
      seconds=seconds,
      done=done,
      total=self._total,
      made=self._made,
      tokens=tokens,
      busy=busy,
      slots=slots,
      items_per_s=rate,
      tokens_per_s=ratio(since, seconds - begun),
      occupancy=ratio(busy, slots),
      mean_reward=ratio(self._reward, self._rewards),
      accepted=ratio(self._accepted, known),
      left=ratio(self._total - done, rate),
    )


def overall(lines: Sequence[Pace]) -> dict[str, float]:
  """Returns the known rates over all sittings, from the last line of each.

  They include compiling: they are what a stage took, not what it would keep up.
  100 samples in 10 s, killed; then 20 in 2 s  ->  {'items_per_s': 10.0}
  """
  last = {pace.sitting: pace for pace in lines if pace.made}.values()

  def total(count: str) -> float | None:
    known = [n for pace in last if (n := getattr(pace, count)) is not None]
    return sum(known) if known else None

  rates = {
    'items_per_s': ratio(total('made'), total('seconds')),
    'tokens_per_s': ratio(total('tokens'), total('seconds')),
    'occupancy': ratio(total('busy'), total('slots')),
  }
  return {name: value for name, value in rates.items() if value is not None}


def of_all(shares: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """Returns the rates of all hosts together: sums, and the mean occupancy.

  `shares` are what hosts state when they gather, each with its own `rates`.
  """
  rates = [share['rates'] for share in shares if share['rates']]
  together = {}
  for name in dict.fromkeys(name for host in rates for name in host):
    values = [host[name] for host in rates if name in host]
    share = len(values) if name == 'occupancy' else 1
    together[name] = sum(values) / share
  return together


def ratio(part: float | None, whole: float | None) -> float | None:
  """part / whole; None where one is not known, or `whole` is 0."""
  return part / whole if part is not None and whole else None


def rates(pace: Pace) -> list[str]:
  """Returns texts for what is known beside items/s.

  ['210 tokens/s', '87% of slots busy', 'mean reward 0.512', '31% accepted']
  """
  texts = []
  if pace.tokens_per_s is not None:
    texts.append(f'{short(pace.tokens_per_s)} tokens/s')
  if pace.occupancy is not None:
    texts.append(f'{pace.occupancy:.0%} of slots busy')
  if pace.mean_reward is not None:
    texts.append(f'mean reward {pace.mean_reward:.3f}')
  if pace.accepted is not None:
    texts.append(f'{pace.accepted:.0%} accepted')
  return texts


def short(value: float) -> str:
  """0.1234 -> '0.123', 12345.6 -> '12,346'."""
  return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'
