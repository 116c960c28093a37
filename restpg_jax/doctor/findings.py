"""What a look at something finds; looks go on after the faults before them."""

import dataclasses
from collections.abc import Callable

from restpg_jax import assets, errors

OK, NOTE, MISSING, BROKEN = 'ok', 'note', 'missing', 'broken'
BAD = MISSING, BROKEN  # what no run can do without


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line: present, missing or broken, and how to get it."""

  name: str
  state: str  # OK; NOTE: a run goes on, but a person should know; or of BAD
  said: str
  remedy: str = ''


def look(name: str, into: Callable[..., str], *arguments) -> Finding:
  """OK with what into(*arguments) says, or BROKEN with why it cannot."""
  try:
    return Finding(name, OK, into(*arguments))
  except Exception as error:  # of any library: one fault must not hide others
    return broken(name, error)


def broken(name: str, error: Exception) -> Finding:
  said = errors.detail(error)
  if not isinstance(error, errors.InputError):
    said = f'{type(error).__name__}: {said}'
  return Finding(name, BROKEN, said)


def there(name: str) -> bool:
  """Whether a setting names an existing path or a bundled asset."""
  try:
    return bool(assets.path(name))
  except errors.InputError:
    return False
