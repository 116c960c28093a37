"""Reduces a row of LongLaMP's schema to what is used, its texts cut."""

import dataclasses
import numbers
import re
from typing import Any

from restpg_jax import config, errors, types
from restpg_jax.data import files, json_rows, rows

MAX_TEXT = config.Data.max_text  # characters kept of a text


@dataclasses.dataclass(frozen=True)
class Fields:
  """The names of a task's fields; `a|b`: the first of them that is filled."""

  user: str  # of a row
  text: str  # of a profile item: what a prompt shows
  key: tuple[str, ...]  # of a profile item: what retrieval compares; has text


FIELDS = {  # keys: the official repository's corpus texts
  'email_generation': Fields('user_id', 'text', ('text',)),
  'abstract_generation': Fields('name', 'abstract', ('title', 'abstract')),
  'product_review': Fields(
    'reviewerId',
    'reviewText',
    ('overall', 'summary', 'description', 'reviewText'),
  ),
  'topic_writing': Fields(  # the hub's names | the official code's
    'author', 'content|output', ('summary|input', 'content|output')
  ),
  types.CUSTOM: Fields('user', 'text', ('text',)),  # an item may be the text
}


def clean(
  row: dict[str, Any],
  task: str,
  max_text: int,
  *,
  location: rows.RowLocation,
  counts: dict[str, int],
) -> dict[str, Any]:
  """Returns the row reduced to the fields that are used.

  They are `id` and `user` ('' where the row has none), `input`, `output`,
  `truth` as it is, and `profile`, a list of {field: text} without empty ones,
  each with the fields of `item_fields` in their order. Adds to counts. Raises
  InputError, which begins with `location`, where the row cannot be used.
  """
  documents = [
    item_texts(
      item,
      task,
      max_text,
      location=f'{location}: profile item {n}',
      counts=counts,
    )
    for n, item in enumerate(items(row.get('profile'), location), 1)
  ]
  user = row.get(FIELDS[task].user)
  return {
    'id': '' if files.is_missing(row.get('id')) else str(row['id']),
    'user': '' if files.is_missing(user) else str(user),
    'input': kept(files.required(row, 'input', location), max_text, counts),
    'output': kept(files.required(row, 'output', location), max_text, counts),
    'profile': [item for item in documents if item],
    'truth': row.get('truth'),
  }


def item_fields(task: str) -> list[str]:
  """Returns the fields of a cleaned profile item: the first of each 'a|b'."""
  return [names.split('|')[0] for names in FIELDS[task].key]


def items(value: object, location: object) -> list[Any]:
  """Returns a profile's items; it may be null, or the text of a JSON list.

  It may also be columns, what `datasets` and TFDS make of a list of objects:
  {'text': ['a', 'b'], 'id': ['1', '2']}  ->  [{'text': 'a', 'id': '1'}, ..]
  """
  if isinstance(value, str):
    blank = not value.strip()
    value = (
      None if blank else json_rows.parse_value(value, f'{location}: profile')
    )
  if files.is_missing(value):
    return []
  if isinstance(value, dict) and value:
    return _rows_of_columns(value, location)
  if not isinstance(value, list):
    raise errors.InputError(
      f'{location}: profile is a {type(value).__name__}; it must be a list of '
      'items, or null'
    )
  return value


def _rows_of_columns(
  columns: dict[str, Any], location: object
) -> list[dict[str, Any]]:
  lengths = {
    name: len(column) if isinstance(column, list) else type(column).__name__
    for name, column in columns.items()
  }
  if len({*lengths.values()}) > 1 or not isinstance(
    [*lengths.values()][0], int
  ):
    listed = ', '.join(f'{name}: {length}' for name, length in lengths.items())
    raise errors.InputError(
      f'{location}: profile is a dict of {listed}; it must be a list of items, '
      'or a dict of lists of equal length'
    )
  values = zip(*columns.values(), strict=True)
  return [dict(zip(columns, row, strict=True)) for row in values]


def item_texts(
  item: object,
  task: str,
  max_text: int = MAX_TEXT,
  *,
  location: object,
  counts: dict[str, int],
) -> dict[str, str] | None:
  """Returns {field: text} of a profile item; None if the item has no text."""
  if task == types.CUSTOM and isinstance(item, str):
    item = {'text': item}
  if not isinstance(item, dict | None):
    raise errors.InputError(
      f'{location}: is a {type(item).__name__}; it must be an object'
    )
  texts = {
    names.split('|')[0]: _filled(
      item or {}, names, max_text, location=location, counts=counts
    )
    for names in FIELDS[task].key
  }
  if not texts[_text_field(task)]:
    counts['skipped_items'] += 1
    return None
  return texts


def document(texts: dict[str, str], task: str) -> types.Document:
  """Returns the document that `item_texts` found in a profile item."""
  key = ' '.join(filter(None, texts.values()))
  return types.Document(texts[_text_field(task)], key)


def _text_field(task: str) -> str:
  return FIELDS[task].text.split('|')[0]


def _filled(
  item: dict[str, Any],
  names: str,
  max_text: int,
  *,
  location: object,
  counts: dict[str, int],
) -> str:
  """Returns the first text in an item's fields 'a|b', '' if all are empty."""
  for name in names.split('|'):
    value = item.get(name)
    if files.is_missing(value):
      continue
    if not isinstance(value, str | numbers.Number):  # `overall` may be either
      raise errors.InputError(
        f'{location}: {name} is a {type(value).__name__}; it must be a text'
      )
    text = str(value)
    if text.strip():
      return kept(text, max_text, counts)
  return ''


def kept(text: str, max_text: int, counts: dict[str, int]) -> str:
  """Returns at most max_text characters that can all be written as UTF-8."""
  counts['cut_texts'] += len(text) > max_text
  return mend(text[:max_text], counts)


def mend(text: str, counts: dict[str, int]) -> str:
  """Returns the text with U+FFFD for each half of a surrogate pair.

  JSON can hold such a half, but UTF-8 cannot.
  """
  try:
    text.encode()
  except UnicodeEncodeError:
    counts['mended_texts'] += 1
    return re.sub('[\ud800-\udfff]', '\ufffd', text)
  return text
