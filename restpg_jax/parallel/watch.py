"""Watches a run from a thread on each host, and ends it where it stands still.

A host gives a sign of life every second. One that gives none for `silence`
seconds has died; one that makes nothing for `patience` seconds stands still,
and the stacks of its threads say where. Either, and whatever cause another host
states, ends the run on all hosts: the main thread is interrupted and, where
that is no help (it waits in a collective for a host that is gone), the process
is ended from here. What is on disk is whole at any moment.

Calls of the board wait for the first host as long as that takes, and a disk may
stand still: such calls are made in threads of their own.
"""

import contextlib
import dataclasses
import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from etils import epath

from restpg_jax import interrupts, pulse, storage
from restpg_jax.parallel import hosts as hosts_lib

PERIOD = 1.0  # seconds between two signs of life
FILE_PERIOD = 10.0  # and between two writings of the file
GRACE = 10.0  # seconds that the main thread has to come to its end
LEAVE = 10.0  # seconds that the first host waits for the others to leave
FOLDER = 'hosts'  # of the workdir


T = TypeVar('T')


@dataclasses.dataclass
class Peer:
  """What is known of another host, by the clock of this one."""

  sign: str = ''  # its last sign of life
  beats: str = ''
  where: str = ''
  lived: float = 0.0  # when that came
  moved: float = 0.0  # when it had last made something


class Watch:
  """A thread that gives and looks for signs of life."""

  def __init__(
    self,
    hosts: hosts_lib.Hosts,
    workdir: epath.PathLike,
    *,
    silence: float,
    patience: float,
    period: float = PERIOD,
    exit: Callable[[int], object] = os._exit,
  ):
    """`silence` and `patience` are seconds, 0: never."""
    self._hosts = hosts
    self._folder = epath.Path(workdir) / FOLDER
    self._silence, self._patience = silence, patience
    self._period, self._exit = period, exit
    self._stopped = threading.Event()
    now = time.monotonic()
    self._own = Peer(beats=str(pulse.NOW.beats), moved=now)
    others = [n for n in range(hosts.count) if n != hosts.index]
    self._peers = {n: Peer(lived=now, moved=now) for n in others}
    self._stated = False  # whether it was this watch that ended the run
    self._signs = 0
    self._written = now
    self._reached = now  # when the board last answered
    self._error = ''  # what it said instead
    self._other: hosts_lib.End | None = None  # how the run has ended
    self.end: hosts_lib.End | None = None  # the same, or what is seen here
    self._threads = [
      threading.Thread(target=self._run, name='watch', daemon=True),
      threading.Thread(target=self._exchange, name='signs', daemon=True),
    ]
    self._writer: threading.Thread | None = None

  def __enter__(self) -> 'Watch':
    for thread in self._threads:
      thread.start()
    return self

  def __exit__(self, *exception: object) -> None:
    self._stopped.set()
    for thread in self._threads:
      thread.join(timeout=2 * self._period)

  def _run(self) -> None:
    while not self._stopped.wait(self._period):
      end = self._end()
      self._note()
      if end:
        self.end = end
        self._finish(end)
        return

  def _exchange(self) -> None:
    """Gives signs of life and looks for those of others."""
    while True:
      now = time.monotonic()
      try:
        self._sign()
        self._look(now)
        self._other = self._other or self._hosts.ended()
        self._reached = now
      except Exception as error:  # the first host, with the board, is gone
        self._error = f' ({first_line(error)})'
      if self._stopped.wait(self._period):
        return

  def _end(self) -> hosts_lib.End | None:
    """Returns how the run ends; None while it goes on."""
    now = time.monotonic()
    current = pulse.NOW
    if str(current.beats) != self._own.beats:
      self._own.beats, self._own.moved = str(current.beats), now
    if self._other:
      return self._other
    if self._gone(now):
      cause = (
        f'error: the first host gave no answer for {self._silence:.0f} s'
        f'{self._error}'
      )
      self._stated = True
      return hosts_lib.End(75, cause, self._hosts.index)
    if cause := self._dead(now) or self._still(now):
      self._stated = True
      own = hosts_lib.End(75, f'error: {cause}', self._hosts.index)
      stated = answer(lambda: self._hosts.end(own.code, own.cause), GRACE)
      return stated or own
    return None

  def _gone(self, now: float) -> bool:
    """Returns whether the board has not answered for too long."""
    waits = bool(self._silence) and self._hosts.count > 1
    return waits and now - self._reached > self._silence

  def _sign(self) -> None:
    self._signs += 1
    current = pulse.NOW
    sign = {
      'sign': self._signs,
      'beats': current.beats,
      'where': current.awaited or current.where,
    }
    if self._hosts.count > 1:
      self._hosts.board.put(f'beat/{self._hosts.index}', json.dumps(sign))

  def _look(self, now: float) -> None:
    if not self._peers:
      return
    signs = self._hosts.board.list('beat')
    for n, peer in self._peers.items():
      if (text := signs.get(str(n))) and text != peer.sign:
        sign = json.loads(text)
        if str(sign['beats']) != peer.beats:
          peer.beats, peer.moved = str(sign['beats']), now
        peer.sign, peer.where, peer.lived = text, sign['where'], now

  def _dead(self, now: float) -> str:
    """Says which hosts have given no sign of life; '' where all have."""
    dead = [
      n
      for n, peer in self._peers.items()
      if self._silence and now - peer.lived > self._silence
    ]
    if not dead:
      return ''
    where = ', '.join({self._peers[n].where or 'its start' for n in dead})
    return (
      f'{hosts_lib.listed(dead)} gave no sign of life for '
      f'{self._silence:.0f} s, the last from {where}'
    )

  def _still(self, now: float) -> str:
    """Says where this host makes nothing, or waits for hosts that make nothing;
    '' while there is progress."""
    if not self._patience:
      return ''
    current, minutes = pulse.NOW, self._patience / 60
    if not current.awaited:
      if now - self._own.moved <= self._patience:
        return ''
      self._dump_stacks()
      return (
        f'no progress in {current.where} for {minutes:g} minutes '
        f'(compute.patience); the stacks of all threads are in {self._stacks}'
      )
    # Others are watched by themselves, but where all wait for each other.
    moved = max([self._own.moved, *(p.moved for p in self._peers.values())])
    if now - moved <= self._patience + 10 * self._period:
      return ''
    places = ', '.join(
      f'host {n} is at {peer.where}' for n, peer in self._peers.items()
    )
    return (
      f'all hosts wait for each other for {minutes:g} minutes: host '
      f'{self._hosts.index} is at {current.awaited}, {places}'
    )

  @property
  def _stacks(self) -> epath.Path:
    return self._folder / f'{self._hosts.index:05}.stacks.txt'

  def _dump_stacks(self) -> None:
    """Writes the stacks of all threads to a file, or to stderr."""
    if not storage.remote(self._folder):
      with contextlib.suppress(OSError), self._stacks.open('w') as file:
        faulthandler.dump_traceback(file, all_threads=True)
        return
    faulthandler.dump_traceback(sys.stderr, all_threads=True)

  def _note(self) -> None:
    """Writes the heartbeat of this host, for people and their tools."""
    now = time.monotonic()
    if now - self._written < FILE_PERIOD:
      return
    if pulse.NOW.where == pulse.STARTING:
      return  # the workdir may turn out to be another run's
    if self._writer and self._writer.is_alive():
      return
    self._written = now
    state = {
      'host': socket.gethostname(),
      'process': os.getpid(),
      'time': time.time(),
      'where': pulse.NOW.where,
      'awaits': pulse.NOW.awaited,
      'beats': pulse.NOW.beats,
      'seconds_without_progress': round(now - self._own.moved, 1),
    }
    self._writer = threading.Thread(
      target=self._write_file, args=(state,), daemon=True
    )
    self._writer.start()

  def _write_file(self, state: dict[str, Any]) -> None:
    path = self._folder / f'{self._hosts.index:05}.json'
    # A disk that is full, or a bucket that cannot be reached, ends no run here.
    with contextlib.suppress(Exception):
      if self._folder.parent.is_dir():
        self._folder.mkdir(exist_ok=True)
        path.write_text(json.dumps(state) + '\n')

  def _finish(self, end: hosts_lib.End) -> None:
    """Brings the main thread to its end, or ends the process."""
    if self._stopped.is_set():
      return
    # What the main thread has stated by itself, it is about to leave by.
    if self._stated or end.host != self._hosts.index:
      interrupts.end_now()
    if self._stopped.wait(GRACE):
      return
    self._tell(end)
    if not self._gone(time.monotonic()):
      answer(lambda: self._hosts.leave(LEAVE), LEAVE + 1)
    self._exit(end.code)

  def exit_if_gone(self) -> None:
    """Ends the process where the first host is gone, and the board with it.

    Who takes leave of the runtime then waits, or is aborted without a word.
    """
    if self.end and self._gone(time.monotonic()):
      with contextlib.suppress(OSError):  # nobody may read it any more
        sys.stdout.flush()
      self._tell(self.end)
      self._exit(self.end.code)

  def _tell(self, end: hosts_lib.End) -> None:
    print(self._hosts.ended_by(end).line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def watched(
  hosts: hosts_lib.Hosts,
  workdir: epath.PathLike,
  *,
  silence: float,
  patience: float,
) -> Iterator[Watch]:
  """Watches this process while the block runs."""
  with Watch(hosts, workdir, silence=silence, patience=patience) as watching:
    yield watching


def answer(call: Callable[[], T], seconds: float) -> T | None:
  """Returns what a call of the board gives; None where it fails or waits longer
  than that: the first host may stand still."""
  answers: list[T] = []

  def ask() -> None:
    with contextlib.suppress(Exception):
      answers.append(call())

  thread = threading.Thread(target=ask, name='board', daemon=True)
  thread.start()
  thread.join(seconds)
  return answers[0] if answers else None


def first_line(error: Exception) -> str:
  """Returns the first line of a message: the runtime's have stacks behind."""
  lines = str(error).splitlines() or [type(error).__name__]
  return lines[0][:200]
