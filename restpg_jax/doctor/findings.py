"""Describes what an inspection finds; one that fails does not stop the next."""

import dataclasses
from collections.abc import Callable
from typing import Any

from restpg_jax import assets, backends, errors

OK, NOTE, MISSING, BROKEN = 'ok', 'note', 'missing', 'broken'
BAD = MISSING, BROKEN  # no run can do without what is in such a state


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line: present, missing or broken, and how to get it."""

  name: str
  state: str  # OK; NOTE: a run goes on, but a person should know; or of BAD
  said: str  # named as doctor.json has it
  remedy: str = ''


def look(
  name: str, inspect: Callable[..., str | None], *arguments: Any
) -> Finding:
  """Returns OK with what inspect(*arguments) says, or BROKEN with its error."""
  try:
    return Finding(name, OK, inspect(*arguments) or '')
  except Exception as error:  # of any library: one fault must not hide others
    return broken(name, error)


def broken(name: str, error: Exception) -> Finding:
  """Returns BROKEN with the error, named by its type unless it is ours."""
  message = errors.detail(error)
  if not isinstance(error, errors.InputError):
    # A model cannot be looked at without a device, whatever JAX says of that.
    message = backends.backend_fault() or f'{type(error).__name__}: {message}'
  return Finding(name, BROKEN, message)


def exists(name: str) -> bool:
  """Returns whether a setting names an existing path or a bundled asset."""
  try:
    return bool(assets.path(name))
  except errors.InputError:
    return False
