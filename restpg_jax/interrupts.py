"""Signals that ask this process to end: SIGTERM and SIGINT.

They raise KeyboardInterrupt where the process is. Training asks for time to
save its state: inside `deferred` the first of them is only noted, and the loop
looks at `noted` after each step. A second one is raised at once.
"""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator

NUMBERS = signal.SIGTERM, signal.SIGINT


class _State:
  def __init__(self):
    self.deferred = False
    self.noted = ''  # the name of the signal that waits, 'SIGTERM'


_STATE = _State()


def noted() -> str:
  """Returns the name of the signal that waits for the end of a step, or ''."""
  return _STATE.noted


@contextlib.contextmanager
def deferred() -> Iterator[None]:
  """Lets the first signal wait while the block runs; see `noted`.

  What nobody looked at is raised behind the block.
  """
  _STATE.deferred, _STATE.noted = True, ''
  try:
    yield
  finally:
    _STATE.deferred = False
  if _STATE.noted:
    raise KeyboardInterrupt(_STATE.noted)


@contextlib.contextmanager
def raised() -> Iterator[None]:
  """Makes both signals a KeyboardInterrupt, which names it, in the block.

  JAX's distributed runtime takes handlers away that were set before it began.
  """
  if threading.current_thread() is not threading.main_thread():
    yield  # Python lets only the main thread set a handler
    return
  # A program that a shell has put in the background is to ignore SIGINT.
  numbers = [n for n in NUMBERS if signal.getsignal(n) != signal.SIG_IGN]
  before = {number: signal.signal(number, _handle) for number in numbers}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def end_now() -> None:
  """Raises KeyboardInterrupt in the main thread, whatever it defers.

  A real signal also ends what the main thread waits for. It is SIGTERM, for a
  program that was started in the background may be one that ignores SIGINT.
  """
  _STATE.deferred = False
  main = threading.main_thread().ident
  if main is not None:
    signal.pthread_kill(main, signal.SIGTERM)


def was_lost() -> None:
  """Raises the KeyboardInterrupt again that Python has thrown away.

  It does so with what is raised where nobody can catch it, as in a destructor
  or in JAX's callback of the garbage collector.
  """
  if signal.getsignal(signal.SIGTERM) == _handle:
    timer = threading.Timer(0.1, end_now)
    timer.daemon = True
    timer.start()


def _handle(number: int, frame: types.FrameType | None) -> None:
  del frame
  name = signal.Signals(number).name
  if _STATE.deferred and not _STATE.noted:
    _STATE.noted = name
    return
  raise KeyboardInterrupt(name)
