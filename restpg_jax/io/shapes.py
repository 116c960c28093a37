"""Compares the tensors that there are with those that there should be."""

from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]
SHOWN = 10  # differences that an error lists: all would fill screens


def differences(actual: Shapes, expected: Shapes) -> list[str]:
  """Lists what differs: first wrong shapes, then missing, then unexpected ones.

  ['b is [2], [3] expected', 'a is missing, [2, 3] expected', ..]
  """

  def text(shape: tuple[int, ...]) -> str:
    return str(list(shape))

  return [
    *(
      f'{name} is {text(actual[name])}, {text(shape)} expected'
      for name, shape in expected.items()
      if name in actual and tuple(actual[name]) != tuple(shape)
    ),
    *(
      f'{name} is missing, {text(shape)} expected'
      for name, shape in expected.items()
      if name not in actual
    ),
    *(
      f'{name} {text(shape)} is unexpected'
      for name, shape in actual.items()
      if name not in expected
    ),
  ]


def listed(differences: list[str]) -> str:
  """Joins the first SHOWN of them, and adds the number of the others."""
  cut = len(differences) - SHOWN
  more = f'; and {cut} more' if cut > 0 else ''
  return f'{"; ".join(differences[:SHOWN])}{more}'
