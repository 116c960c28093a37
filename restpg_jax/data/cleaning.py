"""What is used of a row in LongLaMP's schema, each text as it is used."""

import dataclasses
import numbers
import re

from restpg_jax import config, errors, types
from restpg_jax.data import files, json_rows, rows

MAX_TEXT = config.Data.max_text  # characters kept of a text


@dataclasses.dataclass(frozen=True)
class Fields:
  """What a task calls its things; `a|b`: the first of them that is filled."""

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
  row: dict,
  task: str,
  max_text: int,
  *,
  place: rows.RowLocation,
  counts: dict[str, int],
) -> dict:
  """A row with `id` and `user` ('' if it does not say), `input`, `output`,
  `truth` as it is, and `profile`, a list of {field: text} without empty ones,
  all with the fields of `item_fields` in their order."""
  documents = [
    texts(
      item, task, max_text, place=f'{place}: profile item {n}', counts=counts
    )
    for n, item in enumerate(items(row.get('profile'), place), 1)
  ]
  user = row.get(FIELDS[task].user)
  return {
    'id': '' if files.is_missing(row.get('id')) else str(row['id']),
    'user': '' if files.is_missing(user) else str(user),
    'input': kept(files.required(row, 'input', place), max_text, counts),
    'output': kept(files.required(row, 'output', place), max_text, counts),
    'profile': [found for found in documents if found],
    'truth': row.get('truth'),
  }


def item_fields(task: str) -> list[str]:
  """What a cleaned profile item has: the first of each 'a|b'."""
  return [names.split('|')[0] for names in FIELDS[task].key]


def items(value: object, place: object) -> list:
  """Of a profile, which may be null or come as the text of a JSON list."""
  if isinstance(value, str):
    blank = not value.strip()
    value = None if blank else json_rows.parse_value(value, f'{place}: profile')
  if files.is_missing(value):
    return []
  if not isinstance(value, list):
    raise errors.InputError(
      f'{place}: profile is a {type(value).__name__}; it must be a list of '
      'items, or null'
    )
  return value


def texts(
  item: object,
  task: str,
  max_text: int = MAX_TEXT,
  *,
  place: object,
  counts: dict[str, int],
) -> dict[str, str] | None:
  """The fields of a profile item; None if the item has no text."""
  if task == types.CUSTOM and isinstance(item, str):
    item = {'text': item}
  if not isinstance(item, dict | None):
    raise errors.InputError(
      f'{place}: is a {type(item).__name__}; it must be an object'
    )
  found = {
    names.split('|')[0]: _filled(
      item or {}, names, max_text, place=place, counts=counts
    )
    for names in FIELDS[task].key
  }
  if not found[_text_field(task)]:
    counts['skipped_items'] += 1
    return None
  return found


def document(found: dict[str, str], task: str) -> types.Document:
  """Of what `texts` found."""
  key = ' '.join(filter(None, found.values()))
  return types.Document(found[_text_field(task)], key)


def _text_field(task: str) -> str:
  return FIELDS[task].text.split('|')[0]


def _filled(
  item: dict,
  names: str,
  max_text: int,
  *,
  place: object,
  counts: dict[str, int],
) -> str:
  """The first text of an item's fields 'a|b'; '' if none is filled."""
  for name in names.split('|'):
    value = item.get(name)
    if files.is_missing(value):
      continue
    if not isinstance(value, str | numbers.Number):  # `overall` may be either
      raise errors.InputError(
        f'{place}: {name} is a {type(value).__name__}; it must be a text'
      )
    text = str(value)
    if text.strip():
      return kept(text, max_text, counts)
  return ''


def kept(text: str, max_text: int, counts: dict[str, int]) -> str:
  """At most max_text characters, all of which can be written as UTF-8."""
  counts['cut_texts'] += len(text) > max_text
  return mend(text[:max_text], counts)


def mend(text: str, counts: dict[str, int]) -> str:
  """Half a surrogate pair (JSON can hold one) cannot be written as UTF-8."""
  try:
    text.encode()
  except UnicodeEncodeError:
    counts['mended_texts'] += 1
    return re.sub('[\ud800-\udfff]', '\ufffd', text)
  return text
