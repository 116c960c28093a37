"""The errors and warnings that are the user's to mend."""


class InputError(ValueError):
  """Bad data, flag or config: main prints the message and exits with 2."""


class DataWarning(UserWarning):
  """Odd data that is used as it is: main prints one line."""
