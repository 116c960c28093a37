"""The errors and warnings that are the user's to mend."""

import functools
import warnings

CUT = 'the file may be cut short: copy or download it again'  # remedies
RECODE = 'save the file as UTF-8'


class InputError(ValueError):
  """Bad data, flag or config: main prints the message and exits with 2."""


class TryAgain(Exception):
  """What may be gone when the same command runs again: main exits with 75."""


class DataWarning(UserWarning):
  """Odd data that is used as it is: main prints one line."""


@functools.cache
def warn_once(message: str) -> None:
  """Gives a DataWarning at the first call with this message only."""
  warnings.warn(message, DataWarning, stacklevel=3)


def detail(error: Exception) -> str:
  """Returns the message of an exception on one line."""
  # JSONDecodeError and SyntaxError: `msg` is the message without the position.
  return ' '.join(str(getattr(error, 'msg', error)).split())
