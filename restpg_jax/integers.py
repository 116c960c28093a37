"""Division that rounds up."""


def cdiv(a: int, b: int) -> int:
  """Returns the smallest integer that is at least a / b: 7, 3 -> 3."""
  return -(-a // b)


def round_up(n: int, multiple: int) -> int:
  """Returns the smallest multiple that is at least n: 7, 3 -> 9."""
  return cdiv(n, multiple) * multiple
