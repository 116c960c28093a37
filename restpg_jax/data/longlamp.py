"""Rows in LongLaMP's schema -> examples.

DIR/TASK_SETTING/ holds the splits of a task, for instance
DIR/product_review_user/train-00000-of-00002.parquet; data/files.py lists the
other forms. A row has `input`, `output`, `profile`; other fields are ignored.
"""

import collections
import hashlib
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.data import cleaning, files, naming, rows

SETTINGS = ('user', 'temporal')
COUNTS = (
  'rows',
  'empty_profiles',  # rows without any document
  'skipped_items',  # profile items without text
  'cut_texts',  # texts over data.max_text
  'mended_texts',  # half a surrogate pair became U+FFFD
  'duplicate_rows',  # rows equal to an earlier one of their split
  'duplicate_users',  # rows of a user who had an earlier one in their split
  'unused_outputs',  # outputs whose id no question has
)
# Beside what `prepare` makes: not read, but fingerprints have always held it.
TFDS_NOTE = '.config/metadata.json'
SEPARATORS = {'abstract_generation': 'items:', 'email_generation': ':'}


def read_examples(
  path: epath.PathLike,
  *,
  setting: str,
  split: str,
  limit: int = 0,
  max_text: int = cleaning.MAX_TEXT,
  unusable: rows.Unusable = rows.stop,
  tasks: Sequence[str] = (),
) -> tuple[Iterator[types.Example], dict[str, int]]:
  """Every task's examples of a split, and COUNTS of those that were taken.

  `limit` rows a task, 0 = all; duplicates are kept. A row that cannot be used
  is an InputError, or what `unusable` does with it. With `tasks`, of these
  alone, however the others are.
  """
  if limit < 0:
    raise errors.InputError(f'data.limit is {limit}; 0 takes every row')
  counts = dict.fromkeys(COUNTS, 0)
  tasks = tasks or tasks_found(path, setting=setting)

  def examples():
    for task in tasks:
      of_task = folder(path, task, setting)
      found = cleaned(
        of_task,
        task,
        split,
        max_text=max_text,
        counts=counts,
        unusable=unusable,
        limit=limit,
      )
      yield from _examples(found, task, split, counts, str(of_task))

  return examples(), counts


def parse_rows(
  of_tasks: dict[str, list[dict]], *, split: str, limit: int = 0
) -> tuple[Iterator[types.Example], dict[str, int]]:
  """The same from rows in memory, by task; tasks without rows are left out."""
  counts = dict.fromkeys(COUNTS, 0)

  def examples():
    for task, of_task in of_tasks.items():
      placed = (
        (rows.RowLocation(task, n), r) for n, r in enumerate(of_task, 1)
      )
      some = itertools.islice(placed, limit or None)
      how = (counts, rows.stop, naming.Seen())
      found = _cleaned(some, task, cleaning.MAX_TEXT, *how)
      if of_task:
        yield from _examples(found, task, split, counts, 'world')

  return examples(), counts


def cleaned(
  folder: epath.Path,
  task: str,
  split: str,
  *,
  max_text: int,
  counts: dict[str, int],
  unusable: rows.Unusable,
  limit: int = 0,
) -> Iterator[tuple[rows.RowLocation, dict]]:
  """The rows of a task as cleaning.clean gives them, the first `limit` of them.

  Raises InputError behind the last of them where their fields have other names.
  """
  fields, seen = cleaning.FIELDS[task], naming.Seen()
  unusable = seen.noting(unusable)
  found = files.read_rows(
    folder,
    split,
    fields={'id', 'input', 'output', 'profile', 'truth', fields.user},
    items=set('|'.join(fields.key).split('|')),
    text=set(fields.text.split('|')),
    max_text=max_text,
    counts=counts,
    unusable=unusable,
  )
  some = _cleaned(found, task, max_text, counts, unusable, seen)
  yield from itertools.islice(some, limit or None)
  seen.check(f'{folder}: split {split!r}')


def tasks_found(path: epath.PathLike, *, setting: str) -> list[str]:
  """The tasks that have a folder, each with all its splits."""
  places = folders(path, setting=setting)
  found = [task for task, place in places.items() if place.is_dir()]
  if not found:
    raise errors.InputError(
      f'{path}: no such folder, or none of the folders '
      f'{", ".join(place.name for place in places.values())} in it; '
      'point data.path at the folder that holds them'
    )
  for task, split in itertools.product(found, files.NAMES):
    files.find_split(places[task], split)
  return found


def data_files(path: epath.PathLike, *, setting: str) -> list[epath.Path]:
  """What is read of a folder, of all tasks and splits."""
  found = [
    file
    for task in tasks_found(path, setting=setting)
    for file in files.split_files(folder(path, task, setting))
  ]
  note = epath.Path(path) / TFDS_NOTE
  return [*found, note] if note.exists() else found


def folders(path: epath.PathLike, *, setting: str) -> dict[str, epath.Path]:
  """Where each task would be."""
  if setting not in SETTINGS:
    raise errors.InputError(
      f'data.setting is {setting!r}; it must be one of {", ".join(SETTINGS)}'
    )
  return {task: folder(path, task, setting) for task in types.EVERY_TASK}


def check_data_settings(data: config.Data) -> None:
  """Raises InputError for settings by which nothing can be read."""
  rows.check_on_error(data.on_error)
  most = rows.LONGEST // 12  # bytes of a character, as two escapes
  if not 1 <= data.max_text <= most:
    raise errors.InputError(
      f'data.max_text is {data.max_text}; it must be from 1 to {most}'
    )


def folder(path: epath.PathLike, task: str, setting: str) -> epath.Path:
  """Where the splits of a task lie; one's own users have no settings."""
  name = task if task == types.CUSTOM else f'{task}_{setting}'
  return epath.Path(path) / name


def query(task: str, input: str) -> str:
  """The part of an input that retrieval compares with documents.

  abstract, 'Generate ... using the following items: a, b'  ->  'a, b'
  """
  if task not in SEPARATORS:
    return input
  return input.partition(SEPARATORS[task])[2].strip() or input


def _cleaned(
  found: rows.Rows,
  task: str,
  max_text: int,
  counts: dict[str, int],
  unusable: rows.Unusable,
  seen: naming.Seen,
) -> Iterator[tuple[rows.RowLocation, dict]]:
  for place, row in found:
    # Not of a row that turns out to be unusable.
    new = collections.Counter()
    try:
      clean = cleaning.clean(row, task, max_text, place=place, counts=new)
    except errors.InputError as error:
      unusable(place, error)
    else:
      for name, number in new.items():
        counts[name] += number
      kept, skipped = len(clean['profile']), new['skipped_items']
      seen.add(row, task, place=place, kept=kept, skipped=skipped)
      yield place, clean


def _examples(
  found: Iterable[tuple[rows.RowLocation, dict]],
  task: str,
  split: str,
  counts: dict[str, int],
  where: str,
) -> Iterator[types.Example]:
  number, users, distinct = 0, set(), set()
  of_users = 0
  for number, (_, row) in enumerate(found, 1):
    example = _example(row, f'{task}/{split}/{number - 1}', task)
    counts['rows'] += 1
    counts['empty_profiles'] += not example.profile
    distinct.add(_digest(example))
    if row['user']:
      of_users += 1
      users.add(row['user'])
    yield example
  check_some(number, where, split)
  counts['duplicate_users'] += of_users - len(users)
  if repeated := number - len(distinct):
    counts['duplicate_rows'] += repeated
    warnings.warn(
      f'{where}: {repeated} of {number} rows of split {split!r} repeat '
      'an earlier row; all are kept',
      errors.DataWarning,
      stacklevel=2,
    )


def check_some(number: int, where: object, split: str) -> None:
  if not number:
    raise errors.InputError(
      f'{where}: split {split!r} has no rows; add rows or remove the folder'
    )


def _example(row: dict, id: str, task: str) -> types.Example:
  return types.Example(
    id=id,
    task=task,
    input=row['input'],
    output=row['output'],
    profile=tuple(cleaning.document(found, task) for found in row['profile']),
    truth=_truth(row['truth']),
  )


def _digest(example: types.Example) -> bytes:
  """Equal for equal input, output and profile."""
  what = repr((example.input, example.output, example.profile))
  return hashlib.sha256(what.encode()).digest()[:16]


def _truth(value: object) -> tuple[types.TruthSlot, ...]:
  """The slots of a synthetic user; a field of any other form is ignored."""
  slots = value if isinstance(value, list) else []
  if not all(_is_slot(slot) for slot in slots):
    return ()
  return tuple(
    types.TruthSlot(slot['want'], tuple(slot['among'])) for slot in slots
  )


def _is_slot(value: object) -> bool:
  if not isinstance(value, dict) or not isinstance(value.get('among'), list):
    return False
  words = value['among']
  return value.get('want') in words and all(isinstance(w, str) for w in words)
