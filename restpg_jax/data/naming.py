"""A split whose fields are called other than a task calls them.

A row or a document without text is passed over and counted. Where nearly all
of a split go so, it is their name that is wrong, and the error says which
fields there are.
"""

import re

from restpg_jax import errors
from restpg_jax.data import cleaning, files, rows

# Of the filled documents of a split that may lack their text. Of the 16,942 in
# a sample of LongLaMP none does.
MOST = 0.9
KNOWN = 'id', 'input', 'output', 'truth'
LIST = re.compile(r'\s*\[\s*[{"\]]')  # as the text of one


class Seen:
  """What a split has held so far; in memory are counts and two examples."""

  def __init__(self):
    self._rows = self._documents = self._lost = 0
    self._profile = False  # some row has one
    self._first_list = self._first_lost = ''  # how the message begins
    self._first_error = None

  def noting(self, unusable: rows.Unusable) -> rows.Unusable:
    """`unusable` that remembers the first."""

    def noted(place: rows.RowLocation, error: errors.InputError) -> None:
      self._first_error = self._first_error or error
      unusable(place, error)

    return noted

  def add(
    self, row: dict, task: str, *, place: object, kept: int, skipped: int
  ) -> None:
    """A usable row, of whose profile `kept` items have text, `skipped` not."""
    self._rows += 1
    self._profile |= 'profile' in row
    self._documents += kept
    if not self._profile and not self._first_list:
      self._first_list = _list(row, place)
    if not skipped:
      return
    names = cleaning.FIELDS[task].text.split('|')
    for n, item in enumerate(cleaning.items(row['profile'], place), 1):
      if not _lost(item, names):
        continue
      self._lost += 1
      if not self._first_lost:
        self._first_lost = (
          f'{place}: profile item {n} has no text in the field '
          f'{" or ".join(names)}, but the fields {_fields(item)}'
        )

  def check(self, of: str) -> None:
    """Raises InputError where nothing, or next to nothing, is left `of` it.

    A split whose rows have no list at all is one of users without documents.
    """
    if not self._rows and self._first_error:
      raise errors.InputError(
        f'{of} has no rows that can be used; the first: {self._first_error}'
      )
    if self._first_list and not self._profile:
      raise errors.InputError(
        f'{self._first_list}, and none of {self._rows:,} rows has one; call '
        'the list of what the user wrote profile, or set profile to []'
      )
    items = self._documents + self._lost
    if self._lost > MOST * items:
      raise errors.InputError(
        f'{self._first_lost}, and so {self._lost:,} of {items:,} documents; '
        'call the field that holds the text as the task does'
      )


def _lost(item: object, names: list[str]) -> bool:
  """Something is in it, but not where its text belongs."""
  if not isinstance(item, dict):
    return False
  filled = {name for name, value in item.items() if _filled(value)}
  return bool(filled) and not filled.intersection(names)


def _list(row: dict, place: object) -> str:
  """Says that a row has a list where none but a profile is one."""
  if any(
    isinstance(value, list) or LIST.match(str(value))
    for name, value in row.items()
    if name not in KNOWN
  ):
    return f'{place}: no field profile, but {_fields(row)}'
  return ''


def _filled(value: object) -> bool:
  return not files.is_missing(value) and bool(str(value).strip())


def _fields(row: dict) -> str:
  return files.named(sorted(map(str, row)))
