"""The error that is the user's to mend."""


class InputError(ValueError):
  """Bad data, flag or config: main prints the message and exits with 2."""
