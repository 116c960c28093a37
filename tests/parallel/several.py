"""Starts the command as several processes that are forked, not started anew."""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from common import kill_points, kills

from tests import many


@dataclasses.dataclass
class Ended:
  """How a process ended."""

  code: int
  seconds: float
  output: str  # standard output and error

  @property
  def last(self) -> str:
    return self.output.splitlines()[-1] if self.output else ''


class Several:
  """Processes of one run, in a folder."""

  def __init__(self, folder: pathlib.Path, count: int = 2):
    self.folder, self.count = folder, count
    self._held = contextlib.ExitStack()
    self.port = self._held.enter_context(many.free_port())
    (folder / 'small.py').write_text(many.SMALL)
    self._context = kills.fork_context()
    self._started = {}

  def start(
    self,
    index: int,
    *flags: str,
    workdir: str = 'run',
    change: Callable[[], None] | None = None,
  ) -> multiprocessing.Process:
    """Starts process `index`; `change` is called in it before the command."""
    argv = [
      f'--config={self.folder / "small.py"}',
      f'--workdir={self.folder / workdir}',
      '--config.compute.cpu_devices=1',
      '--config.compute.silence=4',
      '--config.compute.joining=60',
      f'--coordinator=127.0.0.1:{self.port}',
      f'--num_processes={self.count}',
      f'--process_id={index}',
      *flags,
    ]
    output = self.folder / f'output-{workdir}-{index}'
    process = self._context.Process(
      target=command, args=(argv, os.fspath(output), change)
    )
    process.start()
    self._started[process] = output, time.monotonic()
    return process

  def end(self, seconds: float = 100.0) -> list[Ended]:
    """Returns how all have ended, which must be within so many seconds."""
    ended, limit = {}, time.monotonic() + seconds
    try:
      while len(ended) < len(self._started):
        assert time.monotonic() < limit, self.outputs()
        time.sleep(0.05)
        for process, (_, begun) in self._started.items():
          if not process.is_alive():
            ended.setdefault(process, time.monotonic() - begun)
    finally:
      for process in self._started:
        process.kill()
      self._held.close()
    return [
      Ended(
        code if (code := process.exitcode) >= 0 else 128 - code,
        ended[process],
        output.read_text(errors='replace'),
      )
      for process, (output, _) in self._started.items()
    ]

  def outputs(self) -> str:
    return '\n'.join(path.read_text() for path, _ in self._started.values())


def command(
  argv: Sequence[str], output: str, change: Callable[[], None] | None
) -> None:
  """Does what `restpg ARGV` does; called in a process of its own."""
  kill_points.redirect(output)
  if change:
    change()
  kill_points.command(argv)


def other_version() -> None:
  from restpg_jax.io import artifacts

  installed = artifacts.versions() | {'jax': '0.0.1'}
  artifacts.versions = lambda: installed


def other_code() -> None:
  from restpg_jax import startup

  startup.code_digest = lambda: '0123456789ab'


def late_clock() -> None:
  now = time.time
  time.time = lambda: now() - 3600


def multislice() -> None:
  os.environ['MEGASCALE_COORDINATOR_ADDRESS'] = '10.0.0.1'


def late_leave() -> None:
  import jax

  leave = jax.distributed.shutdown

  def late() -> None:
    time.sleep(3)
    leave()

  jax.distributed.shutdown = late


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
  """Somebody else listens on a port."""
  with socket.socket() as other:
    # The port is held for this run (many.free_port), by one that listens not.
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.bind(('127.0.0.1', port))
    other.listen()
    yield
