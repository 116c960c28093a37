"""Rows that ask for a text: LongLaMP's schema without `output`, or plain.

{"id": 7, "author": "u1", "input": "...", "profile": [{"content": "..."}, ..]}
{"id": "a", "input": "...", "profile": ["what the user wrote", ..]}
"""

import dataclasses
from collections.abc import Iterator

from etils import epath

from restpg_jax import errors, types
from restpg_jax.data import cleaning, files, json_rows, longlamp, naming

COUNTS = ('rows', 'empty_profiles', 'skipped_items', 'cut_texts')


@dataclasses.dataclass(frozen=True)
class TextRequest:
  """A row: who is asking, and for what."""

  id: str | int  # the row's own, or else its number
  example: types.Example  # its id is the row's number, from 1; no output


def read_requests(
  path: epath.PathLike, *, task: str = '', counts: dict[str, int] | None = None
) -> Iterator[TextRequest]:
  """Of a file of JSON lines, a row at a time; an unusable row is an InputError.

  A row's `task` counts first, then `task`, then what its fields are called.
  Adds to counts[COUNTS].
  """
  path = epath.Path(path)
  if counts is None:
    counts = {}
  counts |= dict.fromkeys(longlamp.COUNTS, 0)
  seen = naming.Seen()
  try:
    for place, row in json_rows.line_rows(path):
      counts['rows'] += 1
      before = counts['skipped_items']
      found = request(row, counts['rows'], task, place=place, counts=counts)
      seen.add(
        row,
        found.example.task or types.CUSTOM,
        place=place,
        kept=len(found.example.profile),
        skipped=counts['skipped_items'] - before,
      )
      yield found
  except OSError as error:
    raise errors.InputError(
      f'{path}: cannot be read ({errors.detail(error)}); give a file of JSON '
      'lines, a row each'
    ) from error
  if not counts['rows']:
    raise errors.InputError(
      f'{path}: it has no rows; write one a line, as {{"input": "..", '
      '"profile": [..]}'
    )
  seen.check(str(path))


def request(
  row: dict, number: int, task: str, *, place: str, counts: dict[str, int]
) -> TextRequest:
  """Row `number` of a file; a field `output` is not looked at."""
  text = cleaning.mend(files.required(row, 'input', place), counts)
  if 'profile' not in row:
    raise errors.InputError(
      f'{place}: profile is missing; give a list of what the user wrote, [] if '
      'there is nothing'
    )
  items = cleaning.items(row['profile'], place)
  task = request_task(row, items, task, place)
  documents = (
    _document(item, task, place=f'{place}: profile item {n}', counts=counts)
    for n, item in enumerate(items, 1)
  )
  profile = tuple(d for d in documents if d)
  counts['empty_profiles'] += not profile
  example = types.Example(str(number), task, text, '', profile)
  return TextRequest(_id(row, number, place), example)


def request_task(row: dict, items: list, task: str, place: str) -> str:
  """One of EVERY_TASK; '' where it is not said and nothing depends on it."""
  named = row.get('task')
  if not files.is_missing(named):
    if named not in types.EVERY_TASK:
      raise errors.InputError(
        f'{place}: task is {named!r}; it must be one of '
        f'{", ".join(types.EVERY_TASK)}'
      )
    return named
  objects = [item for item in items if isinstance(item, dict)]
  if task or (items and not objects):
    return task
  found = _tasks(row, objects)
  if len(found) == 1:
    return found[0]
  if objects:
    raise errors.InputError(
      f'{place}: task is missing, and the fields of its profile '
      f'({files.named(sorted(map(str, objects[0])))}) do not tell it; add it '
      f'or give --task, one of {", ".join(types.EVERY_TASK)}'
    )
  return ''


def _tasks(row: dict, objects: list[dict]) -> list[str]:
  """Whose fields these are: of the items, and of the user if in doubt."""
  names = {name for item in objects for name in item}
  by_text = [
    task
    for task in types.TASKS
    if names & set(cleaning.FIELDS[task].text.split('|'))
  ]
  if len(by_text) == 1:
    return by_text
  return [
    task for task in by_text or types.TASKS if cleaning.FIELDS[task].user in row
  ]


def _document(
  item: object, task: str, *, place: str, counts: dict[str, int]
) -> types.Document | None:
  """An item may be a text by itself, or an object with the task's fields."""
  if not isinstance(item, str):
    found = cleaning.texts(item, task, place=place, counts=counts)
    return cleaning.document(found, task) if found else None
  if not item.strip():
    counts['skipped_items'] += 1
    return None
  text = cleaning.kept(item, cleaning.MAX_TEXT, counts)
  return types.Document(text, text)


def _id(row: dict, number: int, place: str) -> str | int:
  id = row.get('id')
  if files.is_missing(id):
    return number
  if not isinstance(id, str | int) or isinstance(id, bool):
    raise errors.InputError(
      f'{place}: id is a {type(id).__name__}; it must be a text or a whole '
      'number'
    )
  return id
