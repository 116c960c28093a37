"""Refuses a split whose fields have other names than a task gives them.

A row or a document without text is passed over and counted. Where nearly all
of a split go so, it is their name that is wrong, and the error says which
fields there are.
"""

import re
from typing import Any

from restpg_jax import errors
from restpg_jax.data import cleaning, files, rows

# The share of a split's filled documents that may lack their text. In a sample
# of LongLaMP none of 16,942 does.
MAX_LOST_SHARE = 0.9
KNOWN = 'id', 'input', 'output', 'truth'  # no profile, even if it is a list
LIST = re.compile(r'\s*\[\s*[{"\]]')  # a list written as text


class Seen:
  """What a split has held so far; memory holds counts and two examples."""

  def __init__(self) -> None:
    self._rows = self._documents = self._lost = 0
    self._profile = False  # whether some row has the field
    self._first_list = self._first_lost = ''  # how the message begins
    self._first_error = None

  def noting(self, unusable: rows.Unusable) -> rows.Unusable:
    """Returns `unusable`, wrapped so that the first error is remembered."""

    def noted(location: rows.RowLocation, error: errors.InputError) -> None:
      self._first_error = self._first_error or error
      unusable(location, error)

    return noted

  def add(
    self,
    row: dict[str, Any],
    task: str,
    *,
    location: object,
    kept: int,
    skipped: int,
  ) -> None:
    """Adds a usable row, whose profile has `kept` items with text.

    skipped: the number of its items without text.
    """
    self._rows += 1
    self._profile |= 'profile' in row
    self._documents += kept
    if not self._profile and not self._first_list:
      self._first_list = _list(row, location)
    if not skipped:
      return
    names = cleaning.FIELDS[task].text.split('|')
    for n, item in enumerate(cleaning.items(row['profile'], location), 1):
      if not _lost(item, names):
        continue
      self._lost += 1
      if not self._first_lost:
        self._first_lost = (
          f'{location}: profile item {n} has no text in the field '
          f'{" or ".join(names)}, but the fields {_fields(item)}'
        )

  def check(self, source: str) -> None:
    """Raises InputError where nothing, or next to nothing, can be used.

    A split whose rows have no list at all is one of users without documents.
    source: the file or split, as messages name it.
    """
    if not self._rows and self._first_error:
      raise errors.InputError(
        f'{source} has no rows that can be used; the first: {self._first_error}'
      )
    if self._first_list and not self._profile:
      raise errors.InputError(
        f'{self._first_list}, and none of {self._rows:,} rows has one; call '
        'the list of what the user wrote profile, or set profile to []'
      )
    items = self._documents + self._lost
    if self._lost > MAX_LOST_SHARE * items:
      raise errors.InputError(
        f'{self._first_lost}, and so {self._lost:,} of {items:,} documents; '
        'call the field that holds the text as the task does'
      )


def _lost(item: object, names: list[str]) -> bool:
  """Returns whether an item is filled, but not where its text belongs."""
  if not isinstance(item, dict):
    return False
  filled = {name for name, value in item.items() if _filled(value)}
  return bool(filled) and not filled.intersection(names)


def _list(row: dict[str, Any], location: object) -> str:
  """Returns a message if a row without profile has a list by another name.

  It is '' otherwise: no field but the profile is a list.
  """
  if any(
    isinstance(value, list) or LIST.match(str(value))
    for name, value in row.items()
    if name not in KNOWN
  ):
    return f'{location}: no field profile, but {_fields(row)}'
  return ''


def _filled(value: object) -> bool:
  return not files.is_missing(value) and bool(str(value).strip())


def _fields(row: dict[str, Any]) -> str:
  return files.named(sorted(map(str, row)))
