"""Rows in LongLaMP's schema -> examples.

DIR/TASK_SETTING/ holds the splits of a task, for instance
DIR/product_review_user/train-00000-of-00002.parquet; data/files.py lists the
other forms. A row has `input`, `output`, `profile`; other fields are ignored.
"""

import dataclasses
import itertools
import numbers
import re
import warnings

from etils import epath

from restpg_jax import errors, types
from restpg_jax.data import files

SETTINGS = ('user', 'temporal')
MAX_TEXT = 100_000  # characters kept of a field of a document; one has > 2**28
COUNTS = (
  'rows',
  'empty_profiles',  # rows without any document
  'skipped_items',  # profile items without text
  'cut_texts',  # fields of documents over MAX_TEXT
  'mended_texts',  # half a surrogate pair became U+FFFD
  'duplicate_rows',  # rows equal to an earlier one of their split
  'duplicate_users',  # rows of a user who had an earlier one in their split
  'unused_outputs',  # outputs whose id no question has
)


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
}
SEPARATORS = {'abstract_generation': 'items:', 'email_generation': ':'}


def read(
  path: epath.PathLike, *, setting: str, split: str, limit: int = 0
) -> tuple[list[types.Example], dict[str, int]]:
  """Every task's examples of a split and COUNTS; `limit` rows a task, 0 = all.

  All rows are kept, duplicates too; an unusable row is an InputError.
  """
  if limit < 0:
    raise errors.InputError(f'data.limit is {limit}; 0 takes every row')
  counts = dict.fromkeys(COUNTS, 0)
  examples = []
  for task in tasks_found(path, setting=setting):
    folder = epath.Path(path) / f'{task}_{setting}'
    examples += _read_task(folder, task, split, limit=limit, counts=counts)
  return examples, counts


def parse(
  rows: dict[str, list[dict]], *, split: str, limit: int = 0
) -> tuple[list[types.Example], dict[str, int]]:
  """The same from rows in memory, by task; tasks without rows are left out."""
  counts = dict.fromkeys(COUNTS, 0)
  examples = []
  for task, of_task in rows.items():
    if of_task:
      placed = ((f'{task}: row {n}', r) for n, r in enumerate(of_task, 1))
      examples += _examples(
        placed, task, split, limit=limit, counts=counts, where='world'
      )
  return examples, counts


def tasks_found(path: epath.PathLike, *, setting: str) -> list[str]:
  """The tasks that have a folder, each with all its splits."""
  if setting not in SETTINGS:
    raise errors.InputError(
      f'data.setting is {setting!r}; it must be one of {", ".join(SETTINGS)}'
    )
  folders = {
    task: epath.Path(path) / f'{task}_{setting}' for task in types.TASKS
  }
  found = [task for task, folder in folders.items() if folder.is_dir()]
  if not found:
    raise errors.InputError(
      f'{path}: no such folder, or none of the folders '
      f'{", ".join(folder.name for folder in folders.values())} in it; '
      'point data.path at the folder that holds them'
    )
  for task, split in itertools.product(found, files.NAMES):
    files.find(folders[task], split)
  return found


def query(task: str, input: str) -> str:
  """The part of an input that retrieval compares with documents.

  abstract, 'Generate ... using the following items: a, b'  ->  'a, b'
  """
  if task not in SEPARATORS:
    return input
  return input.partition(SEPARATORS[task])[2].strip() or input


def _read_task(
  folder: epath.Path,
  task: str,
  split: str,
  *,
  limit: int,
  counts: dict[str, int],
) -> list[types.Example]:
  fields = FIELDS[task]
  rows = files.rows(
    folder,
    split,
    fields={'input', 'output', 'profile', 'truth', fields.user},
    items=set('|'.join(fields.key).split('|')),
    counts=counts,
  )
  return _examples(
    rows, task, split, limit=limit, counts=counts, where=str(folder)
  )


def _examples(
  rows: files.Rows,
  task: str,
  split: str,
  *,
  limit: int,
  counts: dict[str, int],
  where: str,
) -> list[types.Example]:
  examples, users = [], []
  for place, row in itertools.islice(rows, limit or None):
    id = f'{task}/{split}/{len(examples)}'
    examples.append(_example(row, id, task, place=place, counts=counts))
    if not files.missing(user := row.get(FIELDS[task].user)):
      users.append(str(user))
  if not examples:
    raise errors.InputError(
      f'{where}: split {split!r} has no rows; add rows or remove the folder'
    )
  counts['rows'] += len(examples)
  counts['duplicate_users'] += len(users) - len(set(users))
  counts['duplicate_rows'] += _duplicates(examples, where, split)
  return examples


def _duplicates(examples: list[types.Example], where: str, split: str) -> int:
  """How many rows repeat an earlier one, with a warning if any do."""
  distinct = {(x.input, x.output, x.profile) for x in examples}
  number = len(examples) - len(distinct)
  if number:
    warnings.warn(
      f'{where}: {number} of {len(examples)} rows of split {split!r} repeat '
      'an earlier row; all are kept',
      errors.DataWarning,
      stacklevel=2,
    )
  return number


def _example(
  row: dict, id: str, task: str, *, place: str, counts: dict[str, int]
) -> types.Example:
  profile = _profile(row.get('profile'), task, place=place, counts=counts)
  if not profile:
    counts['empty_profiles'] += 1
  return types.Example(
    id=id,
    task=task,
    input=mend(files.required(row, 'input', place), counts),
    output=mend(files.required(row, 'output', place), counts),
    profile=profile,
    truth=_truth(row.get('truth')),
  )


def _profile(
  value: object, task: str, *, place: str, counts: dict[str, int]
) -> tuple[types.Document, ...]:
  documents = (
    document(item, task, place=f'{place}: profile item {n}', counts=counts)
    for n, item in enumerate(items(value, place), 1)
  )
  return tuple(d for d in documents if d)


def items(value: object, place: str) -> list:
  """Of a profile, which may be null or come as the text of a JSON list."""
  if isinstance(value, str):
    blank = not value.strip()
    value = None if blank else files.parse(value, f'{place}: profile')
  if files.missing(value):
    return []
  if not isinstance(value, list):
    raise errors.InputError(
      f'{place}: profile is a {type(value).__name__}; it must be a list of '
      'items, or null'
    )
  return value


def document(
  item: object, task: str, *, place: str, counts: dict[str, int]
) -> types.Document | None:
  """The Document of a profile item, None if the item has no text."""
  if not isinstance(item, dict | None):
    raise errors.InputError(
      f'{place}: is a {type(item).__name__}; it must be an object'
    )
  filled = {
    names: _filled(item or {}, names, place=place, counts=counts)
    for names in FIELDS[task].key
  }
  text = filled[FIELDS[task].text]
  if not text:
    counts['skipped_items'] += 1
    return None
  return types.Document(text, ' '.join(filter(None, filled.values())))


def _filled(
  item: dict, names: str, *, place: str, counts: dict[str, int]
) -> str:
  """The first text of an item's fields 'a|b'; '' if none is filled."""
  for name in names.split('|'):
    value = item.get(name)
    if files.missing(value):
      continue
    if not isinstance(value, str | numbers.Number):  # `overall` may be either
      raise errors.InputError(
        f'{place}: {name} is a {type(value).__name__}; it must be a text'
      )
    text = str(value)
    if text.strip():
      counts['cut_texts'] += len(text) > MAX_TEXT
      return mend(text[:MAX_TEXT], counts)
  return ''


def mend(text: str, counts: dict[str, int]) -> str:
  """Half a surrogate pair (JSON can hold one) cannot be written as UTF-8."""
  try:
    text.encode()
  except UnicodeEncodeError:
    counts['mended_texts'] += 1
    return re.sub('[\ud800-\udfff]', '\ufffd', text)
  return text


def _truth(value: object) -> tuple[types.Slot, ...]:
  """The slots of a synthetic user; a field of any other form is ignored."""
  slots = value if isinstance(value, list) else []
  if not all(_is_slot(slot) for slot in slots):
    return ()
  return tuple(types.Slot(slot['want'], tuple(slot['among'])) for slot in slots)


def _is_slot(value: object) -> bool:
  if not isinstance(value, dict) or not isinstance(value.get('among'), list):
    return False
  words = value['among']
  return value.get('want') in words and all(isinstance(w, str) for w in words)
