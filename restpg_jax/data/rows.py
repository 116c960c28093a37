"""Names the location of a row, and says what happens to an unusable one."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from restpg_jax import errors

ON_ERROR = ('stop', 'skip')
LONGEST = 1 << 25  # roughly the bytes of a text that are read, at most


@dataclasses.dataclass(frozen=True)
class RowLocation:
  """'FILE: row N', which opens every message about the row."""

  file: str
  row: int  # from 1
  line: int = 0  # of a file of lines, from 1
  share: float = 0.0  # roughly the share of the split before it

  def __str__(self) -> str:
    line = f' (line {self.line})' if self.line else ''
    return f'{self.file}: row {self.row}{line}'


@dataclasses.dataclass(frozen=True)
class Skipped:
  """A row that was passed over; a line of skipped.jsonl."""

  file: str
  row: int
  reason: str


Rows = Iterator[tuple[RowLocation, dict[str, Any]]]
# What is done with an unusable row.
Unusable = Callable[[RowLocation, errors.InputError], None]


def stop(location: RowLocation, error: errors.InputError) -> None:
  """Ends the reading at the first unusable row, for on_error=stop."""
  del location
  raise error


def unusable(on_error: str, skipped: list[Skipped]) -> Unusable:
  """Returns what is done with unusable rows; 'skip' adds them to `skipped`.

  on_error: one of ON_ERROR.
  """

  def skip(location: RowLocation, error: errors.InputError) -> None:
    reason = str(error).removeprefix(f'{location}: ')
    skipped.append(Skipped(location.file, location.row, reason))

  check_on_error(on_error)
  return {'stop': stop, 'skip': skip}[on_error]


def check_on_error(on_error: str) -> None:
  """Raises InputError where it is not one of ON_ERROR."""
  if on_error not in ON_ERROR:
    raise errors.InputError(
      f'data.on_error is {on_error!r}; it must be {" or ".join(ON_ERROR)}'
    )
