"""Runs work in a process of its own, so that its peak memory is its own."""

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def call(function: Callable, *args: Any) -> Any:
  """Calls a function of a module in a new process."""
  with multiprocessing.get_context('spawn').Pool(1) as pool:
    return pool.apply(function, args)


def run(script: str, *flags: str) -> Any:
  """Runs a script with these flags; its last line is JSON."""
  done = subprocess.run(
    [sys.executable, script, *flags],
    check=True,
    stdout=subprocess.PIPE,
    text=True,
  )
  return json.loads(done.stdout.splitlines()[-1])
