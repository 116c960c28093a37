"""The processes of a run, one on each host: who does what, where they meet.

Each takes its share of the items by a stable hash of their names (`owns`),
works alone, and meets the others at a named barrier (`meet`). Nobody waits for
a host that has ended, died or stands still: the first cause that any of them
states is the end of all (`end`), with its exit code.

What they tell each other are short texts under keys of a board, which JAX's
coordination service holds (parallel/cluster.py):

  meet/NAME/INDEX  what a host states at a barrier, JSON
  beat/INDEX       its signs of life, written by its watch (parallel/watch.py)
  stop/INDEX       it was asked to stop, and takes part until all have saved
  step/NAME/N      the first host's decision at a step: go or stop
  end              the first cause that ended the run, JSON
  left/INDEX       it has stopped using the board
"""

import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from restpg_jax import interrupts, pulse

POLL = 0.02, 0.5  # seconds between two looks at the board: first, and longest


class Board(Protocol):
  """Texts by key, which all hosts read and write."""

  def put(self, key: str, text: str) -> None:
    """Writes a text, over an older one."""

  def claim(self, key: str, text: str) -> None:
    """Writes a text unless there is one."""

  def list(self, folder: str) -> dict[str, str]:
    """Returns the texts whose keys begin with `folder/`, without that."""
    ...

  def get(self, key: str) -> str | None:
    """Returns a text at once; None where there is none."""
    ...

  def wait(self, key: str, seconds: float) -> str | None:
    """Returns a text as soon as it is there; None after so many seconds."""
    ...

  def remove(self, key: str) -> None:
    """Removes a text."""

  def await_alone(self, count: int, seconds: float) -> None:
    """Returns once none of `count` hosts but this one is connected, or after so
    many seconds."""


class Memory:
  """The board of a single process, or of threads in a test."""

  def __init__(self):
    self._texts: dict[str, str] = {}
    self._changed = threading.Condition()

  def put(self, key: str, text: str) -> None:
    with self._changed:
      self._texts[key] = text
      self._changed.notify_all()

  def claim(self, key: str, text: str) -> None:
    with self._changed:
      self._texts.setdefault(key, text)
      self._changed.notify_all()

  def list(self, folder: str) -> dict[str, str]:
    start = f'{folder}/'
    with self._changed:
      return {
        key.removeprefix(start): text
        for key, text in self._texts.items()
        if key.startswith(start)
      }

  def get(self, key: str) -> str | None:
    return self._texts.get(key)

  def wait(self, key: str, seconds: float) -> str | None:
    with self._changed:
      self._changed.wait_for(lambda: key in self._texts, seconds)
      return self._texts.get(key)

  def remove(self, key: str) -> None:
    with self._changed:
      self._texts.pop(key, None)

  def await_alone(self, count: int, seconds: float) -> None:
    """Threads have no connection that could be cut."""


@dataclasses.dataclass(frozen=True)
class End:
  """How a run ends, the same on all hosts."""

  code: int  # the exit code
  cause: str  # one line
  host: int  # whose cause it is


class Ended(Exception):
  """Raised on a host when the run has ended, by its own or another's cause."""

  def __init__(self, end: End, line: str):
    super().__init__(line)
    self.end, self.line = end, line  # what this host prints


@dataclasses.dataclass(frozen=True)
class Hosts:
  """This process among those of the run."""

  index: int = 0
  count: int = 1
  board: Board = dataclasses.field(
    default_factory=Memory, compare=False, repr=False
  )
  prefix: str = ''  # of the names of barriers: the member, the stage

  @property
  def first(self) -> bool:
    """Returns whether this host makes what is made once."""
    return self.index == 0

  def owns(self, name: str) -> bool:
    """Returns whether an item is this host's; each is one host's.

    It follows from the name alone, so that a share is the same after any
    restart with as many hosts.
    """
    if self.count == 1:
      return True
    content = name.encode('utf-8', 'surrogatepass')
    value = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(value, 'little') % self.count == self.index

  def at(self, name: str) -> 'Hosts':
    """Returns the same hosts, whose barriers are those of a part of this."""
    return dataclasses.replace(self, prefix=f'{self.prefix}{name}/')

  def meet(
    self, name: str, *, seconds: float | None = None, **facts: Any
  ) -> list[dict[str, Any]]:
    """Waits until all hosts have come; returns what each stated, in order.

    Without `seconds` it waits as long as those that are missing make progress:
    their watches, and this host's, end the run where one does not. Raises
    Ended then, or where any host ends.
    """
    if self.count == 1:
      return [facts]
    name = self.prefix + name
    self.board.put(f'meet/{name}/{self.index}', json.dumps(facts))
    came: dict[str, str] = {}

    def all_came() -> bool:
      came.update(self.board.list(f'meet/{name}'))
      return len(came) == self.count

    with pulse.waiting_at(name):
      if not self.until(all_came, seconds):
        missing = [n for n in range(self.count) if str(n) not in came]
        raise self.end_with(
          75,
          f'error: {listed(missing)} did not come to {name} within '
          f'{seconds:.0f} s',
        )
    return [json.loads(came[str(n)]) for n in range(self.count)]

  def gather(self, **facts: Any) -> list[dict[str, Any]]:
    """Meets when this host's share of a stage is on disk.

    Returns what all stated on the first host, which goes on to write the whole;
    [] on the others, which are done.
    """
    stated = self.meet('shares', **facts)
    return stated if self.first else []

  def until(
    self, condition: Callable[[], bool], seconds: float | None = None
  ) -> bool:
    """Returns True once the condition holds, False after so many seconds.

    Raises Ended where the run ends meanwhile.
    """
    self.check()
    if condition():
      return True
    start, (pause, longest) = time.monotonic(), POLL
    while seconds is None or time.monotonic() - start < seconds:
      time.sleep(pause)
      pause = min(2 * pause, longest)
      self.check()
      if condition():
        return True
    return False

  def check(self) -> None:
    """Raises Ended where the run has ended."""
    if end := self.ended():
      raise self.ended_by(end)

  def ended(self) -> End | None:
    """Returns how the run has ended; None while it goes on."""
    text = self.board.get('end')
    return End(**json.loads(text)) if text else None

  def end(self, code: int, cause: str) -> End:
    """States why the run ends; returns the first cause that was stated."""
    own = End(code, cause, self.index)
    try:
      self.board.claim('end', json.dumps(dataclasses.asdict(own)))
      return self.ended() or own
    except Exception:  # the board may be what has ended
      return own

  def end_with(self, code: int, cause: str) -> Ended:
    """States it, and returns what to raise."""
    return self.ended_by(self.end(code, cause))

  def ended_by(self, end: End) -> Ended:
    """Returns what to raise for an end that some host has stated."""
    own = end.host == self.index
    return Ended(end, end.cause if own else f'host {end.host}: {end.cause}')

  def stopping(self, name: str, step: int) -> str:
    """Returns why all hosts stop behind a step, '' to go on: the same on all.

    A host that was asked to stop still takes part in the steps; the first host
    decides, for one step must be the last of all of them.
    """
    if self.count == 1:
      return interrupts.noted()
    if cause := interrupts.noted():
      self.board.claim(f'stop/{self.index}', cause)
    key = f'step/{self.prefix}{name}/{step}'
    if self.first:
      stops = self.board.list('stop')
      causes = [f'{cause} on host {n}' for n, cause in sorted(stops.items())]
      self.board.put(key, f'stop {causes[0]}' if causes else 'go')
      self.board.remove(f'step/{self.prefix}{name}/{step - 2}')
    decision = None
    while decision is None:
      self.check()
      decision = self.board.wait(key, 1.0)
    return decision.removeprefix('go').removeprefix('stop ')

  def leave(self, seconds: float) -> None:
    """Says that this host uses the board no more; the first waits for all, and
    until they have taken their leave of its service, but no longer than that.

    The runtime aborts a host, with code 134, whose leave it cannot take.
    """
    self.board.put(f'left/{self.index}', '')
    end = time.monotonic() + seconds
    while self.first and time.monotonic() < end:
      if len(self.board.list('left')) == self.count:
        self.board.await_alone(self.count, end - time.monotonic())
        return
      time.sleep(0.1)


ONE = Hosts()  # a run on one host


def listed(numbers: list[int]) -> str:
  """[3] -> 'host 3', [1, 2, 5] -> 'hosts 1, 2 and 5'."""
  *others, last = map(str, numbers)
  if not others:
    return f'host {last}'
  return f'hosts {", ".join(others)} and {last}'
