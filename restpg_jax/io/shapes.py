"""Which tensors there are, which there should be, and what that says."""

from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]
SHOWN = 10  # differences that an error lists


def differences(found: Shapes, expected: Shapes) -> list[str]:
  """'a is missing, [2, 3] expected', 'b is [2], [3] expected', .."""

  def said(shape):
    return str(list(shape))

  return [
    *(
      f'{name} is {said(found[name])}, {said(shape)} expected'
      for name, shape in expected.items()
      if name in found and tuple(found[name]) != tuple(shape)
    ),
    *(
      f'{name} is missing, {said(shape)} expected'
      for name, shape in expected.items()
      if name not in found
    ),
    *(
      f'{name} {said(shape)} is unexpected'
      for name, shape in found.items()
      if name not in expected
    ),
  ]


def listed(differences: list[str]) -> str:
  """The first of them, and how many more there are."""
  cut = len(differences) - SHOWN
  more = f'; and {cut} more' if cut > 0 else ''
  return f'{"; ".join(differences[:SHOWN])}{more}'
