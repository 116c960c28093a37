"""Reads rows in LongLaMP's schema as examples.

DIR/TASK_SETTING/ holds the splits of a task, for instance
DIR/product_review_user/train-00000-of-00002.parquet; data/files.py lists the
other forms. A row has `input`, `output`, `profile`; other fields are ignored.
"""

import collections
import hashlib
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.data import cleaning, files, naming, rows

SETTINGS = ('user', 'temporal')
COUNTS: tuple[str, ...] = (
  'rows',
  'empty_profiles',  # rows without any document
  'skipped_items',  # profile items without text
  'cut_texts',  # texts over data.max_text
  'mended_texts',  # half a surrogate pair became U+FFFD
  'duplicate_rows',  # rows equal to an earlier one of their split
  'duplicate_users',  # rows of a user who had an earlier one in their split
  'unused_outputs',  # outputs whose id no question has
)
# TFDS writes it beside a prepared data set. Nobody reads it, but it stays part
# of the fingerprint, so that older workdirs are still valid.
TFDS_NOTE = '.config/metadata.json'
# The mark before the retrieval query in an input, as the benchmark has it.
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
  """Returns every task's examples of a split, and their COUNTS.

  The counts grow as the examples are read. `limit` rows a task, 0 = all;
  duplicates are kept. A row that cannot be used raises InputError, or goes to
  `unusable`. With `tasks`, only these are read and checked.
  """
  if limit < 0:
    raise errors.InputError(f'data.limit is {limit}; 0 takes every row')
  counts = dict.fromkeys(COUNTS, 0)
  tasks = tasks or tasks_found(path, setting=setting)

  def examples() -> Iterator[types.Example]:
    for task in tasks:
      task_folder = folder(path, task, setting)
      rows_of_task = cleaned(
        task_folder,
        task,
        split,
        max_text=max_text,
        counts=counts,
        unusable=unusable,
        limit=limit,
      )
      yield from _examples(rows_of_task, task, split, counts, str(task_folder))

  return examples(), counts


def parse_rows(
  rows_by_task: dict[str, list[dict[str, Any]]], *, split: str, limit: int = 0
) -> tuple[Iterator[types.Example], dict[str, int]]:
  """Does as `read_examples` with rows in memory, given by task.

  Tasks without rows are left out.
  """
  counts = dict.fromkeys(COUNTS, 0)

  def examples() -> Iterator[types.Example]:
    for task, task_rows in rows_by_task.items():
      located = (
        (rows.RowLocation(task, n), r) for n, r in enumerate(task_rows, 1)
      )
      some = itertools.islice(located, limit or None)
      kept_rows = _cleaned(
        some, task, cleaning.MAX_TEXT, counts, rows.stop, naming.Seen()
      )
      if task_rows:
        yield from _examples(kept_rows, task, split, counts, 'world')

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
) -> Iterator[tuple[rows.RowLocation, dict[str, Any]]]:
  """Yields a task's first `limit` rows (0 = all), cleaned.

  Raises InputError behind the last one if the fields have other names than
  those of the task.
  """
  fields, seen = cleaning.FIELDS[task], naming.Seen()
  unusable = seen.noting(unusable)
  raw_rows = files.read_rows(
    folder,
    split,
    fields={'id', 'input', 'output', 'profile', 'truth', fields.user},
    items=set('|'.join(fields.key).split('|')),
    text=set(fields.text.split('|')),
    max_text=max_text,
    counts=counts,
    unusable=unusable,
  )
  some = _cleaned(raw_rows, task, max_text, counts, unusable, seen)
  yield from itertools.islice(some, limit or None)
  seen.check(f'{folder}: split {split!r}')


def tasks_found(path: epath.PathLike, *, setting: str) -> list[str]:
  """Returns the tasks that have a folder.

  Raises InputError where there is none, or one of them lacks a split.
  """
  task_folders = folders(path, setting=setting)
  tasks = [
    task for task, task_folder in task_folders.items() if task_folder.is_dir()
  ]
  if not tasks:
    names = ', '.join(task_folder.name for task_folder in task_folders.values())
    raise errors.InputError(
      f'{path}: no such folder, or none of the folders {names} in it; '
      'point data.path at the folder that holds them'
    )
  for task, split in itertools.product(tasks, files.NAMES):
    files.find_split(task_folders[task], split)
  return tasks


def data_files(path: epath.PathLike, *, setting: str) -> list[epath.Path]:
  """Returns the files that are read, of all tasks and splits."""
  paths = [
    file
    for task in tasks_found(path, setting=setting)
    for file in files.split_files(folder(path, task, setting))
  ]
  note = epath.Path(path) / TFDS_NOTE
  return [*paths, note] if note.exists() else paths


def folders(path: epath.PathLike, *, setting: str) -> dict[str, epath.Path]:
  """Returns the folder of every task, whether it exists or not."""
  if setting not in SETTINGS:
    raise errors.InputError(
      f'data.setting is {setting!r}; it must be one of {", ".join(SETTINGS)}'
    )
  return {task: folder(path, task, setting) for task in types.EVERY_TASK}


def check_data_settings(data: config.Data) -> None:
  """Raises InputError for settings by which nothing can be read."""
  rows.check_on_error(data.on_error)
  max_length = rows.LONGEST // 12  # bytes of a character, as two escapes
  if not 1 <= data.max_text <= max_length:
    raise errors.InputError(
      f'data.max_text is {data.max_text}; it must be from 1 to {max_length}'
    )


def folder(path: epath.PathLike, task: str, setting: str) -> epath.Path:
  """Returns the folder of a task's splits; one's own users have no settings."""
  name = task if task == types.CUSTOM else f'{task}_{setting}'
  return epath.Path(path) / name


def query(task: str, input: str) -> str:
  """Returns the part of an input that retrieval compares with documents.

  abstract, 'Generate ... using the following items: a, b'  ->  'a, b'
  """
  if task not in SEPARATORS:
    return input
  return input.partition(SEPARATORS[task])[2].strip() or input


def _cleaned(
  raw_rows: rows.Rows,
  task: str,
  max_text: int,
  counts: dict[str, int],
  unusable: rows.Unusable,
  seen: naming.Seen,
) -> Iterator[tuple[rows.RowLocation, dict[str, Any]]]:
  for location, row in raw_rows:
    # Counted apart: a row that turns out to be unusable must not count.
    row_counts = collections.Counter()
    try:
      clean = cleaning.clean(
        row, task, max_text, location=location, counts=row_counts
      )
    except errors.InputError as error:
      unusable(location, error)
    else:
      for name, number in row_counts.items():
        counts[name] += number
      kept, skipped = len(clean['profile']), row_counts['skipped_items']
      seen.add(row, task, location=location, kept=kept, skipped=skipped)
      yield location, clean


def _examples(
  clean_rows: Iterable[tuple[rows.RowLocation, dict[str, Any]]],
  task: str,
  split: str,
  counts: dict[str, int],
  source: str,
) -> Iterator[types.Example]:
  number, users, distinct = 0, set(), set()
  rows_of_users = 0
  for number, (_, row) in enumerate(clean_rows, 1):
    example = _example(row, f'{task}/{split}/{number - 1}', task)
    counts['rows'] += 1
    counts['empty_profiles'] += not example.profile
    distinct.add(_digest(example))
    if row['user']:
      rows_of_users += 1
      users.add(row['user'])
    yield example
  check_some(number, source, split)
  counts['duplicate_users'] += rows_of_users - len(users)
  if repeated := number - len(distinct):
    counts['duplicate_rows'] += repeated
    warnings.warn(
      f'{source}: {repeated} of {number} rows of split {split!r} repeat '
      'an earlier row; all are kept',
      errors.DataWarning,
      stacklevel=2,
    )


def check_some(number: int, source: object, split: str) -> None:
  """Raises InputError where a split has no rows."""
  if not number:
    raise errors.InputError(
      f'{source}: split {split!r} has no rows; add rows or remove the folder'
    )


def _example(row: dict[str, Any], id: str, task: str) -> types.Example:
  return types.Example(
    id=id,
    task=task,
    input=row['input'],
    output=row['output'],
    profile=tuple(cleaning.document(item, task) for item in row['profile']),
    truth=_truth(row['truth']),
  )


def _digest(example: types.Example) -> bytes:
  """Returns 16 bytes that are equal for equal input, output and profile."""
  content = repr((example.input, example.output, example.profile))
  return hashlib.sha256(content.encode()).digest()[:16]


def _truth(value: object) -> tuple[types.TruthSlot, ...]:
  """Returns a synthetic user's slots; a field of any other form is ignored."""
  slots = value if isinstance(value, list) else []
  if not all(_is_slot(slot) for slot in slots):
    return ()
  return tuple(
    types.TruthSlot(slot['want'], tuple(slot['among'])) for slot in slots
  )


def _is_slot(value: object) -> bool:
  if not isinstance(value, dict) or not isinstance(value.get('among'), list):
    return False
  choices = value['among']
  return value.get('want') in choices and all(
    isinstance(word, str) for word in choices
  )
