"""A row of a file: where it stands, and what becomes of one that is no use."""

import dataclasses
from collections.abc import Callable, Iterator

from restpg_jax import errors

ON_ERROR = ('stop', 'skip')
LONGEST = 1 << 25  # bytes of a text that are read, about


@dataclasses.dataclass(frozen=True)
class RowLocation:
  """'FILE: row N', which opens every message about the row."""

  file: str
  row: int  # from 1
  line: int = 0  # of a file of lines, from 1
  share: float = 0.0  # of the split that lies before it, about

  def __str__(self) -> str:
    line = f' (line {self.line})' if self.line else ''
    return f'{self.file}: row {self.row}{line}'


@dataclasses.dataclass(frozen=True)
class Skipped:
  """A row that was passed over; a line of skipped.jsonl."""

  file: str
  row: int
  reason: str


Rows = Iterator[tuple[RowLocation, dict]]
Unusable = Callable[
  [RowLocation, errors.InputError], None
]  # what is done with one


def stop(place: RowLocation, error: errors.InputError) -> None:
  """on_error=stop: the first unusable row ends the reading."""
  del place
  raise error


def unusable(on_error: str, skipped: list[Skipped]) -> Unusable:
  """By name, one of ON_ERROR; 'skip' adds the row to `skipped`."""

  def skip(place: RowLocation, error: errors.InputError) -> None:
    reason = str(error).removeprefix(f'{place}: ')
    skipped.append(Skipped(place.file, place.row, reason))

  check_on_error(on_error)
  return {'stop': stop, 'skip': skip}[on_error]


def check_on_error(on_error: str) -> None:
  """Raises InputError where it is not one of ON_ERROR."""
  if on_error not in ON_ERROR:
    raise errors.InputError(
      f'data.on_error is {on_error!r}; it must be {" or ".join(ON_ERROR)}'
    )
