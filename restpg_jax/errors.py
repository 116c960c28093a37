"""The errors and warnings that are the user's to mend."""

import functools
import warnings

CUT = 'the file may be cut short: copy or download it again'  # remedies
RECODE = 'save the file as UTF-8'


class InputError(ValueError):
  """Bad data, flag or config: main prints the message and exits with 2."""


class DataWarning(UserWarning):
  """Odd data that is used as it is: main prints one line."""


@functools.cache
def warn_once(message: str) -> None:
  """A DataWarning, however often what it is about is looked at."""
  warnings.warn(message, DataWarning, stacklevel=3)


def detail(error: Exception) -> str:
  """What an exception says, on one line."""
  return ' '.join(str(getattr(error, 'msg', error)).split())
