"""Combines settings into the members of a sweep, in a file of configs/sweeps.

A member is a dictionary of overrides, {'draw.m': 8, 'seed': 1}. A sweep file
has beside `get_config()`

  def sweep():
    return sweeps.product({'draw.m': [8, 16]}, {'seed': [0, 1, 2]})
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Overrides = dict[str, Any]
# Values by setting, or members that another helper has made.
Axis = Mapping[str, Sequence[Any]] | Iterable[Overrides]


def product(*axes: Axis) -> Iterator[Overrides]:
  """Yields every combination; the last axis changes fastest.

  product({'draw.m': [8, 16], 'seed': [0, 1]})
    ->  {'draw.m': 8, 'seed': 0}, {'draw.m': 8, 'seed': 1},
        {'draw.m': 16, 'seed': 0}, {'draw.m': 16, 'seed': 1}

  Raises ValueError for a setting that is in two axes.
  """
  parts = [part for axis in axes for part in _members(axis)]
  for combination in itertools.product(*parts):
    member: Overrides = {}
    for overrides in combination:
      for key in overrides:
        if key in member:
          raise ValueError(f'{key} is in two axes of a product')
      member |= overrides
    yield member


def zip_(values: Mapping[str, Sequence[Any]]) -> Iterator[Overrides]:
  """Yields the first values of all settings, then the second ones, and so on.

  zip_({'seed': [0, 1], 'data.world.seed': [0, 1]})
    ->  {'seed': 0, 'data.world.seed': 0}, {'seed': 1, 'data.world.seed': 1}

  Raises ValueError where there are not as many of each.
  """
  counts = {key: len(sequence) for key, sequence in values.items()}
  if len({*counts.values()}) > 1:
    listed = ', '.join(f'{count} of {key}' for key, count in counts.items())
    raise ValueError(f'zip_ needs as many values of each setting: {listed}')
  for row in zip(*values.values(), strict=True):
    yield dict(zip(values, row, strict=True))


def fixed(overrides: Overrides) -> Iterator[Overrides]:
  """Yields one member, for settings that all members of a product share."""
  yield dict(overrides)


def _members(axis: Axis) -> Iterator[list[Overrides]]:
  """Yields the members that each setting of an axis has, or those given."""
  if not isinstance(axis, Mapping):
    yield list(axis)
    return
  for key, values in axis.items():
    yield [{str(key): value} for value in values]
