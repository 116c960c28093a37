"""The errors and warnings that are the user's to mend."""

CUT = 'the file may be cut short: copy or download it again'  # remedies
RECODE = 'save the file as UTF-8'


class InputError(ValueError):
  """Bad data, flag or config: main prints the message and exits with 2."""


class DataWarning(UserWarning):
  """Odd data that is used as it is: main prints one line."""


def reason(error: Exception) -> str:
  """What an exception says, on one line."""
  return ' '.join(str(getattr(error, 'msg', error)).split())
