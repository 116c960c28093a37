"""Reads requests for a text: LongLaMP's schema without `output`, or plain.

{"id": 7, "author": "u1", "input": "...", "profile": [{"content": "..."}, ..]}
{"id": "a", "input": "...", "profile": ["what the user wrote", ..]}
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from etils import epath

from restpg_jax import errors, types
from restpg_jax.data import cleaning, files, json_rows, longlamp, naming

COUNTS = ('rows', 'empty_profiles', 'skipped_items', 'cut_texts')


@dataclasses.dataclass(frozen=True)
class TextRequest:
  """One row of a file of requests: its id, and what the policy reads."""

  id: str | int  # the row's own, or else its number
  example: types.Example  # its id is the row's number, from 1; no output


def read_requests(
  path: epath.PathLike, *, task: str = '', counts: dict[str, int] | None = None
) -> Iterator[TextRequest]:
  """Yields the requests of a file of JSON lines, reading one row at a time.

  A row's own `task` decides first, then the argument `task`, then the names of
  the row's fields. Adds to counts[COUNTS]. Raises InputError at the first row
  that cannot be used.
  """
  path = epath.Path(path)
  if counts is None:
    counts = {}
  counts |= dict.fromkeys(longlamp.COUNTS, 0)
  seen = naming.Seen()
  like = '{"input": "..", "profile": [..]}'
  for location, row in json_rows.numbered_rows(path, counts, like):
    before = counts['skipped_items']
    text_request = request(
      row, counts['rows'], task, location=location, counts=counts
    )
    seen.add(
      row,
      text_request.example.task or types.CUSTOM,
      location=location,
      kept=len(text_request.example.profile),
      skipped=counts['skipped_items'] - before,
    )
    yield text_request
  seen.check(str(path))


def request(
  row: dict[str, Any],
  number: int,
  task: str,
  *,
  location: object,
  counts: dict[str, int],
) -> TextRequest:
  """Returns row `number` of a file as a request; its `output` is ignored.

  Adds to counts. Raises InputError, which begins with `location`, where a field
  is missing or of the wrong type.
  """
  text = cleaning.mend(files.required(row, 'input', location), counts)
  if 'profile' not in row:
    raise errors.InputError(
      f'{location}: profile is missing; give a list of what the user wrote, '
      '[] if there is nothing'
    )
  items = cleaning.items(row['profile'], location)
  task = request_task(row, items, task, location)
  documents = (
    _document(
      item, task, location=f'{location}: profile item {n}', counts=counts
    )
    for n, item in enumerate(items, 1)
  )
  profile = tuple(d for d in documents if d)
  counts['empty_profiles'] += not profile
  example = types.Example(str(number), task, text, '', profile)
  return TextRequest(row_id(row, number, location), example)


def request_task(
  row: dict[str, Any], items: list[Any], task: str, location: object
) -> str:
  """Returns one of EVERY_TASK, or '' where none is named and none is needed."""
  stated = row.get('task')
  if not files.is_missing(stated):
    if stated not in types.EVERY_TASK:
      raise errors.InputError(
        f'{location}: task is {stated!r}; it must be one of '
        f'{", ".join(types.EVERY_TASK)}'
      )
    return stated
  objects = [item for item in items if isinstance(item, dict)]
  if task or (items and not objects):
    return task
  candidates = _tasks(row, objects)
  if len(candidates) == 1:
    return candidates[0]
  if objects:
    raise errors.InputError(
      f'{location}: task is missing, and the fields of its profile '
      f'({files.named(sorted(map(str, objects[0])))}) do not tell it; add it '
      f'or give --task, one of {", ".join(types.EVERY_TASK)}'
    )
  return ''


def _tasks(row: dict[str, Any], objects: list[dict[str, Any]]) -> list[str]:
  """Returns the tasks whose fields these are.

  The items' fields decide; where several tasks share them, the user's field.
  """
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
  item: object, task: str, *, location: str, counts: dict[str, int]
) -> types.Document | None:
  """Returns the document of an item: a bare text, or the task's fields."""
  if not isinstance(item, str):
    texts = cleaning.item_texts(item, task, location=location, counts=counts)
    return cleaning.document(texts, task) if texts else None
  if not item.strip():
    counts['skipped_items'] += 1
    return None
  text = cleaning.kept(item, cleaning.MAX_TEXT, counts)
  return types.Document(text, text)


def row_id(row: dict[str, Any], number: int, location: object) -> str | int:
  id = row.get('id')
  if files.is_missing(id):
    return number
  # To Python a bool is an int.
  if not isinstance(id, str | int) or isinstance(id, bool):
    raise errors.InputError(
      f'{location}: id is a {type(id).__name__}; it must be a text or a whole '
      'number'
    )
  return id
