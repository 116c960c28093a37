"""Finds the files of a split and reads them one row at a time.

A row comes with its location, 'FILE: row N' with N counted from 1, which opens
every message about it.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from etils import epath

from restpg_jax import errors, folders
from restpg_jax.data import json_rows, parquet, rows

NAMES = {
  'train': ('train',),
  'val': ('val', 'dev', 'validation'),
  'test': ('test',),
}
PARQUET = '-*.parquet'
# The hub's shards: train-00000-of-00004.parquet, once with a hash behind it.
SHARD = re.compile(r'(.*-)(\d+)(-of-(\d+)[-.].*)', re.DOTALL)
LINES = '.jsonl'
LIST = '.json'
PAIR = '_questions.json'  # the e-mail builder's, beside _outputs.json
FORMS = (PARQUET, LINES, LIST, PAIR)
PREPARED = '*/dataset_info.json'  # what `prepare` makes, of all splits


def find_split(folder: epath.Path, split: str) -> tuple[str, list[epath.Path]]:
  """Returns the form of a split, one of FORMS or PREPARED, and its files.

  The files are in the order of their rows. Raises InputError where the folder
  has no such split, more than one, or only a part of it.
  """
  candidates = {}
  for name in NAMES[split]:
    for form in FORMS:
      if paths := folders.matching(folder, name + form):
        candidates[name + form] = form, paths
  for path in prepared_versions(folder):
    candidates[path.name] = PREPARED, [path]
  if not candidates:
    raise errors.InputError(_no_split(folder, split))
  if len(candidates) > 1:
    raise errors.InputError(
      f'{folder}: split {split!r} is there more than once, as '
      f'{" and ".join(candidates)}; keep one of them'
    )
  form, paths = next(iter(candidates.values()))
  if form == PARQUET:
    _check_shards(folder, split, paths)
  elif form == PAIR:
    _outputs_of(paths[0])  # raises where there are none
  return form, paths


def prepared_versions(folder: epath.Path) -> list[epath.Path]:
  """Returns the folders of whole versions.

  TFDS calls a folder `..incomplete..` until it is whole.
  """
  versions = [path.parent for path in folders.matching(folder, PREPARED)]
  return [path for path in versions if 'incomplete' not in path.name]


def split_files(folder: epath.Path) -> list[epath.Path]:
  """Returns what is read of a task's folder.

  These are the files of all splits, or the folder of a prepared version.
  """
  read_paths = []
  for split in NAMES:
    form, paths = find_split(folder, split)
    read_paths += paths
    if form == PAIR:
      read_paths += map(_outputs_of, paths)
  return read_paths


def read_rows(
  folder: epath.Path,
  split: str,
  *,
  fields: set[str],
  items: set[str],
  text: set[str],
  max_text: int,
  counts: dict[str, int],
  unusable: rows.Unusable = rows.stop,
) -> rows.Rows:
  """Yields each (location, row) of a split in file order.

  From Parquet only the columns `fields` and, of the items of a profile, only
  `items` are read, or all where none of `text` is among them. A prepared split
  must have texts of up to max_text characters. Adds to
  counts['unused_outputs'], or what was counted when a split was prepared.
  """
  form, paths = find_split(folder, split)
  try:
    if form == PARQUET:
      yield from _joined(
        paths,
        lambda path: parquet.read_parquet(
          path,
          fields=fields,
          items=items,
          text=text,
          required=('input', 'output'),
          unusable=unusable,
        ),
      )
    elif form == LINES:
      yield from json_rows.line_rows(paths[0], unusable)
    elif form == LIST:
      yield from json_rows.list_rows(paths[0], unusable)
    elif form == PAIR:
      yield from _pair(paths[0], counts, unusable)
    else:
      # Seconds of imports that no other form needs.
      from restpg_jax.data import prepared

      yield from prepared.read_prepared(
        paths[0], split, max_text=max_text, counts=counts
      )
  except OSError as error:
    raise errors.InputError(
      f'{folder}: split {split!r} cannot be read ({errors.detail(error)}); '
      'check the files and who may read them'
    ) from error


def text_bytes(folder: epath.Path, split: str) -> int:
  """Returns roughly the bytes of the texts of a split, uncompressed."""
  form, paths = find_split(folder, split)
  if form == PARQUET:
    return sum(parquet.column_bytes(path) for path in paths)
  return sum(path.stat().length for path in paths)


def is_missing(value: object) -> bool:
  """Returns whether a value is null or NaN, which is pandas' empty cell."""
  return value is None or value != value  # only NaN differs from itself


def required(row: dict[str, Any], field: str, location: object) -> str:
  """Returns the text in a field that every row must fill.

  Raises InputError, which begins with `location`, where there is none.
  """
  value = row.get(field)
  if is_missing(value):
    has = ''
    if row and field not in row:
      has = f' (the row has {named(sorted(row))})'
    raise errors.InputError(
      f'{location}: {field} is missing; every row needs a text there{has}'
    )
  if not isinstance(value, str):
    raise errors.InputError(
      f'{location}: {field} is a {type(value).__name__}; it must be a text'
    )
  if not value.strip():
    raise errors.InputError(
      f'{location}: {field} is empty; fill it or remove the row'
    )
  return value


def _no_split(folder: epath.Path, split: str) -> str:
  candidates = [name + form for name in NAMES[split] for form in FORMS]
  names = sorted(path.name for path in folder.iterdir())
  more = ', ...' if len(names) > 8 else ''
  return (
    f'{folder}: no split {split!r}; add one of {", ".join(candidates)} '
    f'(the folder holds {", ".join(names[:8]) or "nothing"}{more})'
  )


def _check_shards(
  folder: epath.Path, split: str, paths: list[epath.Path]
) -> None:
  """Raises InputError where a download lacks a shard, or two are mixed.

  train-00000-of-00004-3d4c.parquet: number 0 of the 4 of one download.
  """
  matches = [SHARD.fullmatch(path.name) for path in paths]
  shards = [match for match in matches if match]
  if not shards:
    return
  first = shards[0]
  foreign = [
    path.name
    for path, match in zip(paths, matches, strict=True)
    if not match or match[3] != first[3]
  ]
  rest = f'or rename what you have ({split}-a.parquet) to read just that'
  if foreign:
    raise errors.InputError(
      f'{folder}: split {split!r} has files of more than one download: '
      f'{first[0]} and {named(foreign)}; keep those of one, {rest}'
    )
  count, numbers = int(first[4]), [int(match[2]) for match in shards]
  start = int(0 not in numbers and count in numbers)  # some count from 1
  missing = set(range(start, start + count)) - set(numbers)
  if missing:
    names = (
      f'{first[1]}{n:0{len(first[2])}}{first[3]}' for n in sorted(missing)
    )
    raise errors.InputError(
      f'{folder}: split {split!r} lacks {named(names)} of {count} Parquet '
      f'files; download them, {rest}'
    )
  if len(numbers) > count:
    raise errors.InputError(
      f'{folder}: split {split!r} has {len(numbers)} Parquet files, but '
      f'{first[0]} says {count}; remove those that are too many, {rest}'
    )


def named(names: Iterable[object], limit: int = 8) -> str:
  """Joins the first names for a message, and counts the others."""
  texts = list(map(str, names))
  more = f' and {len(texts) - limit} more' * (len(texts) > limit)
  return ', '.join(text[:80] for text in texts[:limit]) + more


def _joined(
  paths: list[epath.Path], read_file: Callable[[epath.Path], rows.Rows]
) -> Iterator[tuple[rows.RowLocation, dict[str, Any]]]:
  """Yields the rows of all files; their shares become those of the split."""
  # A file's rows are not counted beforehand: its bytes stand for them.
  sizes = [path.stat().length for path in paths]
  for n, path in enumerate(paths):
    for location, row in read_file(path):
      share = (sum(sizes[:n]) + location.share * sizes[n]) / sum(sizes)
      yield dataclasses.replace(location, share=share), row


def _pair(
  path: epath.Path, counts: dict[str, int], unusable: rows.Unusable
) -> rows.Rows:
  """Yields questions with their outputs, joined by id."""
  beside = _outputs_of(path)
  outputs = _outputs(beside, unusable)
  used = set()
  for location, row in json_rows.list_rows(path, unusable):
    try:
      key = identity(row, location)
      if key not in outputs:
        raise errors.InputError(
          f'{location}: output is missing: {beside.name} has no id {key!r}; '
          'add it there or remove the question'
        )
    except errors.InputError as error:
      unusable(location, error)
    else:
      used.add(key)
      yield location, row | {'output': outputs[key]}
  counts['unused_outputs'] += len(outputs.keys() - used)


def _outputs_of(questions: epath.Path) -> epath.Path:
  name = questions.name.replace('_questions', '_outputs')
  path = questions.with_name(name)
  if not path.exists():
    raise errors.InputError(
      f'{questions}: {name} is missing beside it; it holds the outputs'
    )
  return path


def _outputs(path: epath.Path, unusable: rows.Unusable) -> dict[str, str]:
  """Reads id -> output of {"golds": [{"id", "output"}, ..]} or a bare list."""
  whole = json_rows.whole_file(path)
  golds = whole.get('golds') if isinstance(whole, dict) else whole
  if not isinstance(golds, list):
    raise errors.InputError(
      f'{path}: golds is missing; write {{"golds": [...]}} or a bare list'
    )
  outputs = {}
  for number, gold in enumerate(golds, 1):
    location = rows.RowLocation(str(path), number)
    try:
      key = identity(json_rows.as_object(gold, location), location)
      output = required(gold, 'output', location)
      if outputs.setdefault(key, output) != output:
        raise errors.InputError(
          f'{location}: id {key!r} was there with another output; keep one '
          'of them'
        )
    except errors.InputError as error:
      unusable(location, error)
  return outputs


def identity(row: dict[str, Any], location: rows.RowLocation) -> str:
  """Returns the id that joins a question with its output."""
  if is_missing(row.get('id')):
    raise errors.InputError(
      f'{location}: id is missing; questions and outputs are joined by it'
    )
  return str(row['id'])
