"""Reads texts that are to be scored: instruction, gold text and answer.

{"id": 7, "input": "...", "output": "what the user wrote", "answer": "..."}
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from etils import epath

from restpg_jax import errors
from restpg_jax.data import cleaning, files, json_rows, requests

COUNTS = ('rows', 'no_answer', 'mended_texts')


@dataclasses.dataclass(frozen=True)
class ScoredText:
  """One row of a file of texts to score."""

  id: str | int  # the row's own, or else its number
  instruction: str
  reference: str  # the gold text
  answer: str | None  # None: there is none, as `generate` writes it


def read_texts(
  path: epath.PathLike, counts: dict[str, int] | None = None
) -> Iterator[ScoredText]:
  """Yields the rows of a file of JSON lines, reading one at a time.

  Adds to counts[COUNTS]. Raises InputError at the first row that cannot be
  used.
  """
  path = epath.Path(path)
  counts = {} if counts is None else counts
  counts |= dict.fromkeys(COUNTS, 0)
  like = '{"input": "..", "output": "..", "answer": ".."}'
  for location, row in json_rows.numbered_rows(path, counts, like):
    yield scored_text(row, counts['rows'], location, counts)


def scored_text(
  row: dict[str, Any], number: int, location: object, counts: dict[str, int]
) -> ScoredText:
  """Returns row `number` of a file; an empty answer counts as none.

  Raises InputError, which begins with `location`, where a field is missing or
  of the wrong type.
  """
  instruction, reference = (
    cleaning.mend(files.required(row, name, location), counts)
    for name in ('input', 'output')
  )
  if 'answer' not in row:
    raise errors.InputError(
      f'{location}: answer is missing; give the text to score, null if there '
      f'is none (the row has {files.named(sorted(row))})'
    )
  answer = row['answer']
  if files.is_missing(answer):
    answer = ''
  if not isinstance(answer, str):
    raise errors.InputError(
      f'{location}: answer is a {type(answer).__name__}; it must be a text, or '
      'null'
    )
  answer = cleaning.mend(answer, counts).strip() or None
  counts['no_answer'] += answer is None
  id = requests.row_id(row, number, location)
  return ScoredText(id, instruction, reference, answer)
