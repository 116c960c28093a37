"""Signs of progress of this process, by which its watch sees that it works.

Whatever makes something calls `beat`, and whatever puts it on disk `saved`;
parallel/watch.py and io/sittings.py read the counts.
"""

import contextlib
import time
from collections.abc import Iterator

STARTING = 'starting'  # where a process is outside of all stages


class Pulse:
  """What the process has done so far, and where it is."""

  def __init__(self):
    self.beats = 0  # pieces of work that were finished
    self.where = STARTING  # the stage, for messages
    self.awaited = ''  # what it waits for other hosts at; '': it works
    self.came: float | None = None  # when that wait began
    self.waited = 0.0  # seconds spent waiting for other hosts, before it
    self.compiled = 0.0  # seconds spent compiling programs
    self.programs = 0  # number of programs compiled
    # By the clock `busy`: when the stage had made its first item, and up to
    # when its work is on disk.
    self.first: float | None = None
    self.saved = 0.0


NOW = Pulse()


def beat(items: int = 0) -> None:
  """Notes that a piece of work is finished, perhaps with items of a stage."""
  NOW.beats += 1
  if items and NOW.first is None:
    NOW.first = busy()


def waited() -> float:
  """Returns the seconds spent waiting for other hosts, up to this moment."""
  came = NOW.came
  return NOW.waited + (time.monotonic() - came if came is not None else 0.0)


def busy() -> float:
  """Returns the seconds on a clock that stands still while programs are
  compiled and while this process waits for other hosts."""
  return time.monotonic() - waited() - NOW.compiled


def saved(when: float | None = None) -> None:
  """Notes that all work up to a time of `busy`, or up to now, is on disk."""
  NOW.saved = max(NOW.saved, busy() if when is None else when)


@contextlib.contextmanager
def working_on(name: str) -> Iterator[None]:
  """Says where the process is while the block runs; that is a beat, too."""
  before, NOW.where = NOW.where, name
  beat()
  try:
    yield
  finally:
    NOW.where = before
    beat()


@contextlib.contextmanager
def waiting_at(name: str) -> Iterator[None]:
  """Counts the seconds of the block as waiting for other hosts."""
  start = NOW.came = time.monotonic()
  NOW.awaited = name
  try:
    yield
  finally:
    NOW.awaited, NOW.came = '', None
    NOW.waited += time.monotonic() - start
    beat()
