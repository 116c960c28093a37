"""Notes what each sitting of a stage takes: goodput.jsonl in its folder.

Lines of metrics.jsonl have what it was at their time (`so_far`), too.

A sitting is what one run of the command does for a stage, until that is done or
the run is killed. Each host has a file; a line stands for all earlier ones of
its sitting, so that of a killed one the last is what counts. report/goodput.py
makes a table of them.
"""

import contextlib
import contextvars
import dataclasses
import functools
import threading
import time
from collections.abc import Iterator

import jax.monitoring
from etils import epath

from restpg_jax import folders, pulse
from restpg_jax.io import parts, records, speed
from restpg_jax.parallel import hosts as hosts_lib

PERIOD = 10.0  # seconds between two lines; a kill leaves the last one
# Tracing, lowering and what makes the executable, from a cache or not; each
# may go on within another one. Names are those of jax/_src/dispatch.py.
COMPILING = '/jax/core/compile/'
EXECUTABLE = '/jax/core/compile/backend_compile_duration'
FROM_CACHE = '/jax/compilation_cache/cache_hits'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sitting(speed.Spent):
  """A line: what the sitting has taken so far."""

  host: int
  hosts: int  # how many worked on the stage together
  sitting: int  # which one of this host's, from 0
  finished: bool  # False: it goes on, or was killed


@contextlib.contextmanager
def account(
  folder: epath.PathLike, hosts: hosts_lib.Hosts, *, period: float = PERIOD
) -> Iterator[None]:
  """Notes what the block takes: every `period` seconds, and at its end."""
  _listen()
  number = '' if hosts.first else f'-{hosts.index:05}'
  log = _Log(epath.Path(folder) / f'goodput{number}.jsonl', hosts)
  stopped = threading.Event()

  def note() -> None:
    while not stopped.wait(period):
      log.add(finished=False)

  log.add(finished=False)
  thread = threading.Thread(target=note, name='goodput', daemon=True)
  thread.start()
  finished, token = False, _current.set(log)
  try:
    yield
    finished = True
  finally:
    _current.reset(token)
    stopped.set()
    thread.join()
    log.add(finished=finished)
    log.close()


def so_far() -> speed.Spent | None:
  """Returns what the sitting that goes on has taken; None outside of all."""
  log = _current.get()
  return log and log.spent(finished=False)


def read(folder: epath.PathLike) -> list[Sitting]:
  """Returns the last line of each sitting of all hosts; [] for old folders."""
  files = map(parts.whole, folders.matching(folder, 'goodput*.jsonl'))
  last = {
    (line.host, line.sitting): line
    for path in sorted({*files})
    for line in _lines(path)
  }
  return list(last.values())


class _Log:
  """The file of a host, to which one sitting adds its lines."""

  def __init__(self, path: epath.Path, hosts: hosts_lib.Hosts):
    path.parent.mkdir(parents=True, exist_ok=True)
    parts.join(path)
    *_, before = [None, *_lines(path)]
    self._hosts = hosts
    self._sitting = before.sitting + 1 if before else 0
    self._again = before is not None and not before.finished
    self._tail = parts.Tail(path)
    if path.exists() and not path.read_bytes().endswith(b'\n'):
      self._tail.add(b'\n')  # behind a line that a kill tore
    self._start = time.monotonic()
    self._busy = pulse.NOW.saved = pulse.busy()
    pulse.NOW.first = None
    self._waited, self._compiled = pulse.waited(), pulse.NOW.compiled
    self._programs = pulse.NOW.programs

  def add(self, *, finished: bool) -> None:
    """Adds a line. A full disk, or a bucket that is not there, ends no run
    here: what a stage writes itself says so."""
    with contextlib.suppress(Exception):
      line = Sitting(
        **dataclasses.asdict(self.spent(finished)),
        host=self._hosts.index,
        hosts=self._hosts.count,
        sitting=self._sitting,
        finished=finished,
      )
      self._tail.add(records.encoded(line))

  def close(self) -> None:
    with contextlib.suppress(Exception):
      self._tail.close()

  def spent(self, finished: bool) -> speed.Spent:
    """Returns what the sitting has taken so far."""
    now, first = pulse.NOW, pulse.NOW.first
    seconds = time.monotonic() - self._start
    compiling = _between(now.compiled - self._compiled, seconds)
    waiting = _between(pulse.waited() - self._waited, seconds - compiling)
    redone = 0.0 if finished else pulse.busy() - now.saved
    if self._again and first is not None:
      redone += first - self._busy
    return speed.Spent(
      seconds,
      compiling,
      waiting,
      _between(redone, seconds - compiling - waiting),
      now.programs - self._programs,
    )


# Of the stage that this thread works on: tests have hosts that are threads, and
# these end in any order.
_current: contextvars.ContextVar[_Log | None] = contextvars.ContextVar(
  'sitting', default=None
)


def _between(value: float, most: float) -> float:
  """Returns the value, at least 0 and at most so much."""
  return min(max(value, 0.0), most)


def _lines(path: epath.Path) -> Iterator[Sitting]:
  """Yields the lines that are whole."""
  for _, line in parts.lines(path):
    with contextlib.suppress(ValueError):  # a kill or a full disk tore it
      yield records.item(line, Sitting, path.name)


class Spans:
  """Adds up spans of time, of which some lie within others or overlap."""

  def __init__(self):
    self._spans: list[tuple[float, float]] = []

  def add(self, start: float, end: float) -> float:
    """Returns how much of a span no earlier one has; it is to end last.

    (2, 3), then (1, 5)  ->  1.0, then 3.0
    """
    counted = 0.0
    while self._spans and self._spans[-1][0] >= start:
      first, last = self._spans.pop()
      counted += last - first
    if self._spans:
      start = max(start, self._spans[-1][1])
    self._spans.append((start, end))
    return max(end - start - counted, 0.0)


@functools.cache
def _listen() -> None:
  """Counts in pulse.NOW what JAX compiles from now on, once in a process."""
  spans, lock = Spans(), threading.Lock()

  def compiled(
    event: str, start_time: float, end_time: float, **_: str | int
  ) -> None:
    if event.startswith(COMPILING):
      with lock:
        pulse.NOW.compiled += spans.add(start_time, end_time)
        pulse.NOW.programs += event == EXECUTABLE

  def loaded(event: str, **_: str | int) -> None:
    if event == FROM_CACHE:
      with lock:
        pulse.NOW.programs -= 1  # EXECUTABLE follows, and counts it

  jax.monitoring.register_event_time_span_listener(compiled)
  jax.monitoring.register_event_listener(loaded)
