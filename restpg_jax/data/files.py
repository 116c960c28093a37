"""The files that a split may lie in, read one row at a time.

A row comes with its place, 'FILE: row N' with N counted from 1, which opens
every message about it.
"""

import json
import re
from collections.abc import Iterator

from etils import epath

from restpg_jax import errors
from restpg_jax.data import parquet

NAMES = {'train': ('train',), 'val': ('val', 'dev'), 'test': ('test',)}
PARQUET = '-*.parquet'  # the hub's shards: train-00000-of-00004.parquet
LINES = '.jsonl'
LIST = '.json'
PAIR = '_questions.json'  # the e-mail builder's, beside _outputs.json
FORMS = (PARQUET, LINES, LIST, PAIR)
SPACE = re.compile(r'\s*')
Rows = Iterator[tuple[str, dict]]  # (place, row)


def find(folder: epath.Path, split: str) -> tuple[str, list[epath.Path]]:
  """The form of a split, one of FORMS, and its files in order."""
  found = {}
  for name in NAMES[split]:
    for form in FORMS:
      if paths := sorted(folder.glob(name + form)):
        found[name + form] = form, paths
  if not found:
    raise errors.InputError(_no_split(folder, split))
  if len(found) > 1:
    raise errors.InputError(
      f'{folder}: split {split!r} is there more than once, as '
      f'{" and ".join(found)}; keep one of them'
    )
  form, paths = next(iter(found.values()))
  if form == PARQUET:
    _check_shards(folder, split, paths)
  elif form == PAIR:
    _outputs_of(paths[0])
  return form, paths


def rows(
  folder: epath.Path,
  split: str,
  *,
  fields: set[str],
  items: set[str],
  counts: dict[str, int],
) -> Rows:
  """Each (place, row) of a split in file order.

  From Parquet only the columns `fields` and, of the items of a profile, only
  `items` are read. Adds to counts['unused_outputs'].
  """
  form, paths = find(folder, split)
  try:
    if form == PARQUET:
      for path in paths:
        yield from parquet.rows(path, fields=fields, items=items)
    elif form == LINES:
      yield from json_lines(paths[0])
    elif form == LIST:
      yield from _json_list(paths[0])
    else:
      yield from _pair(paths[0], counts)
  except OSError as error:
    raise errors.InputError(
      f'{folder}: split {split!r} cannot be read ({errors.reason(error)}); '
      'check the files and who may read them'
    ) from error


def missing(value: object) -> bool:
  """Null or NaN, which is pandas' empty cell."""
  return value is None or value != value


def required(row: dict, field: str, place: str) -> str:
  """The text in a field that every row must fill."""
  value = row.get(field)
  if missing(value):
    raise errors.InputError(
      f'{place}: {field} is missing; every row needs a text there'
    )
  if not isinstance(value, str):
    raise errors.InputError(
      f'{place}: {field} is a {type(value).__name__}; it must be a text'
    )
  if not value.strip():
    raise errors.InputError(
      f'{place}: {field} is empty; fill it or remove the row'
    )
  return value


def parse(text: str, place: str) -> object:
  """A JSON value, NaN allowed."""
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise errors.InputError(
      f'{place}: not valid JSON ({errors.reason(error)}); {errors.CUT}'
    ) from error


def _no_split(folder: epath.Path, split: str) -> str:
  looked = [name + form for name in NAMES[split] for form in FORMS]
  holds = sorted(path.name for path in folder.iterdir())
  more = ', ...' if len(holds) > 8 else ''
  return (
    f'{folder}: no split {split!r}; add one of {", ".join(looked)} '
    f'(the folder holds {", ".join(holds[:8]) or "nothing"}{more})'
  )


def _check_shards(
  folder: epath.Path, split: str, paths: list[epath.Path]
) -> None:
  """A download that lacks a shard must not pass for the whole split."""
  for path in paths:
    match = re.search(r'-of-(\d+)\.parquet$', path.name)
    if match and int(match[1]) != len(paths):
      raise errors.InputError(
        f'{folder}: split {split!r} has {len(paths)} Parquet files, but '
        f'{path.name} says {int(match[1])}; add or remove files, or rename '
        f'them ({split}-a.parquet) to read just these'
      )


def json_lines(path: epath.Path) -> Rows:
  """Each (place, row) of a file with an object a line; blank ones are none."""
  number = 0
  with path.open('rb') as f:
    for line, data in enumerate(f, 1):
      place = f'{path}: row {number + 1} (line {line})'
      if text := _decode(data, place).strip():
        number += 1
        yield place, _object(parse(text, place), place)


def _json_list(path: epath.Path) -> Rows:
  """Parses a row at a time, so that an error can name its row."""
  text = path.read_bytes().decode('utf-8-sig', 'surrogateescape')
  at = _skip(text, 0)
  if text[at : at + 1] != '[':
    raise errors.InputError(
      f'{path}: row 1: not a JSON list of rows in UTF-8; write '
      '[{...}, {...}], or one row a line in a file named .jsonl'
    )
  at, number = _skip(text, at + 1), 0
  while text[at : at + 1] != ']':
    number += 1
    place = f'{path}: row {number}'
    row, at = _element(text, at, place)
    yield place, _object(row, place)
  if _skip(text, at + 1) != len(text):
    raise errors.InputError(
      f'{path}: row {number + 1}: text after the end of the list; write all '
      'rows as one list'
    )


def _element(text: str, start: int, place: str) -> tuple[object, int]:
  """The JSON value at `start`, and where the next one or the `]` is."""
  try:
    value, end = json.JSONDecoder().raw_decode(text, start)
    text[start:end].encode()  # fails on a byte that was not UTF-8
    at = _skip(text, end)
    if text[at : at + 1] not in (',', ']'):
      raise json.JSONDecodeError('Expecting , or ]', text, at)
  except UnicodeEncodeError as error:
    raise errors.InputError(f'{place}: not UTF-8; {errors.RECODE}') from error
  except (ValueError, RecursionError) as error:
    raise errors.InputError(
      f'{place}: not valid JSON ({errors.reason(error)}); {errors.CUT}'
    ) from error
  return value, at if text[at] == ']' else _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
  return SPACE.match(text, at).end()


def _pair(path: epath.Path, counts: dict[str, int]) -> Rows:
  """Questions with their outputs, joined by id."""
  beside = _outputs_of(path)
  outputs = _outputs(beside)
  used = set()
  for place, row in _json_list(path):
    key = _id(row, place)
    if key not in outputs:
      raise errors.InputError(
        f'{place}: output is missing: {beside.name} has no id {key!r}; add it '
        'there or remove the question'
      )
    used.add(key)
    yield place, row | {'output': outputs[key]}
  counts['unused_outputs'] += len(outputs.keys() - used)


def _outputs_of(questions: epath.Path) -> epath.Path:
  name = questions.name.replace('_questions', '_outputs')
  path = questions.with_name(name)
  if not path.exists():
    raise errors.InputError(
      f'{questions}: {name} is missing beside it; it holds the outputs'
    )
  return path


def _outputs(path: epath.Path) -> dict[str, str]:
  """id -> output of {"golds": [{"id", "output"}, ...]} or of the bare list."""
  whole = parse(_decode(path.read_bytes(), str(path)), str(path))
  golds = whole.get('golds') if isinstance(whole, dict) else whole
  if not isinstance(golds, list):
    raise errors.InputError(
      f'{path}: golds is missing; write {{"golds": [...]}} or a bare list'
    )
  outputs = {}
  for number, gold in enumerate(golds, 1):
    place = f'{path}: row {number}'
    key = _id(_object(gold, place), place)
    output = required(gold, 'output', place)
    if outputs.setdefault(key, output) != output:
      raise errors.InputError(
        f'{place}: id {key!r} was there with another output; keep one of them'
      )
  return outputs


def _id(row: dict, place: str) -> str:
  if missing(row.get('id')):
    raise errors.InputError(
      f'{place}: id is missing; questions and outputs are joined by it'
    )
  return str(row['id'])


def _object(value: object, place: str) -> dict:
  if not isinstance(value, dict):
    raise errors.InputError(
      f'{place}: is a {type(value).__name__}; it must be an object with the '
      'fields of a row'
    )
  return value


def _decode(data: bytes, place: str) -> str:
  """UTF-8 with or without a byte-order mark."""
  try:
    return data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise errors.InputError(
      f'{place}: not UTF-8 ({errors.reason(error)}); {errors.RECODE}'
    ) from error
