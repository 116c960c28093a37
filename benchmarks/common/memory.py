"""Reads the memory of this process, as the kernel counts it."""

import pathlib
import resource
import threading

GB, MIB, GIB = 10**9, 2**20, 2**30


def peak() -> int:
  """Returns the most bytes that this process has held."""
  return _usage().ru_maxrss * 1024


def faults() -> int:
  """Returns the number of pages that were touched for the first time."""
  return _usage().ru_minflt


def anonymous() -> int:
  """Returns bytes that no file backs (pages of a file can be dropped)."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith('RssAnon'):
      return int(line.split()[1]) * 1024
  return peak()


class Watch(threading.Thread):
  """Samples the most bytes of this process, without pages of mapped files."""

  def __init__(self):
    super().__init__(daemon=True)
    self._peak, self._ended = 0, threading.Event()
    self.start()

  def run(self):
    while not self._ended.wait(0.002):
      self._peak = max(self._peak, anonymous())

  def stop(self) -> int:
    """Ends the thread; returns the peak since it began, in bytes."""
    self._ended.set()
    self.join()
    return max(self._peak, anonymous())


def _usage() -> resource.struct_rusage:
  return resource.getrusage(resource.RUSAGE_SELF)
