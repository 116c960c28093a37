"""Rows of a Parquet file: the only door to pyarrow."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from restpg_jax import errors

BATCH = 16  # rows decoded at once; a single row can hold hundreds of MB


def rows(
  path: epath.Path, *, fields: set[str], items: set[str]
) -> Iterator[tuple[str, dict]]:
  """Each (place, row) in file order, place being 'FILE: row N'.

  Only the columns `fields` and, of the items of a profile, only `items`.
  """
  number = 0
  try:
    with path.open('rb') as f:
      file = pq.ParquetFile(f, buffer_size=1 << 20)
      leaves = [column.path for column in file.schema]
      columns = _columns(leaves, fields, items)
      for batch in file.iter_batches(BATCH, columns=columns, use_threads=False):
        for i in range(batch.num_rows):
          number += 1
          place = f'{path}: row {number}'
          yield place, _row(batch, i, place)
  except (pa.ArrowException, OSError) as error:
    raise errors.InputError(
      f'{path}: row {number + 1}: not readable as Parquet '
      f'({errors.reason(error)}); {errors.CUT}'
    ) from error


def _columns(leaves: list[str], fields: set[str], items: set[str]) -> list[str]:
  """The leaves to read; those of a profile end in the names of its items.

  input, profile.list.element.id, profile.list.element.text; items = {text}
  ->  input, profile.list.element.text
  """
  wanted = [leaf for leaf in leaves if leaf.split('.')[0] in fields]
  narrow = [
    leaf
    for leaf in wanted
    if not leaf.startswith('profile.') or items & set(leaf.split('.')[1:])
  ]
  if any(leaf.split('.')[0] == 'profile' for leaf in narrow):
    return narrow
  return wanted  # items without text are still items, to be counted


def _row(batch: pa.RecordBatch, i: int, place: str) -> dict:
  row = {}
  for field in batch.schema.names:
    try:
      row[field] = batch.column(field)[i].as_py()
    except UnicodeDecodeError as error:
      raise errors.InputError(
        f'{place}: {field} is not UTF-8 ({errors.reason(error)}); '
        f'{errors.RECODE}'
      ) from error
  return row
