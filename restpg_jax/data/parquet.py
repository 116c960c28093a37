"""Reads rows of Parquet files: the only door to pyarrow."""

import codecs
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath

from restpg_jax import errors, storage
from restpg_jax.data import remedies, rows

BATCH = 16  # rows decoded at once, at most: one alone can have hundreds of MB
BATCH_BYTES = 1 << 24  # bytes decoded at once, if a row group's mean row allows


def read_parquet(
  path: epath.Path,
  *,
  fields: set[str],
  items: set[str],
  text: set[str],
  required: Sequence[str] = (),
  unusable: rows.Unusable = rows.stop,
) -> rows.Rows:
  """Yields (location, row) in file order.

  Only the columns `fields` and, of the items of a profile, only `items`, or all
  of them where none of `text` is there. Raises InputError where a `required`
  column is not there.
  """
  number = 0
  try:
    with storage.opened(path) as f:
      # A column chunk can have gigabytes: read it in pieces, not ahead.
      file = pq.ParquetFile(f, buffer_size=1 << 20, pre_buffer=False)
      total = max(file.metadata.num_rows, 1)
      _check_columns(path, file, required)
      for batch in _batches(file, fields, items, text):
        for i in range(batch.num_rows):
          location = rows.RowLocation(
            str(path), number + 1, share=number / total
          )
          number += 1
          try:
            row = _row(batch, i, location)
          except errors.InputError as error:
            unusable(location, error)
          else:
            yield location, row
  except (pa.ArrowException, OSError) as error:
    raise _unreadable(path, number + 1, error) from error


def column_bytes(path: epath.Path) -> int:
  """Returns the bytes of all columns, uncompressed."""
  try:
    with storage.opened(path) as f:
      data = pq.ParquetFile(f).metadata
      return sum(
        data.row_group(n).total_byte_size for n in range(data.num_row_groups)
      )
  except (pa.ArrowException, OSError) as error:
    raise _unreadable(path, 1, error) from error


def _batches(
  file: pq.ParquetFile, fields: set[str], items: set[str], text: set[str]
) -> Iterator[pa.RecordBatch]:
  leaves = [column.path for column in file.schema]
  columns = _columns(leaves, fields, items, text)
  for n in range(file.metadata.num_row_groups):
    group = file.metadata.row_group(n)
    mean = group.total_byte_size // max(group.num_rows, 1)
    yield from file.iter_batches(
      max(1, min(BATCH, BATCH_BYTES // max(mean, 1))),
      row_groups=[n],
      columns=columns,
      use_threads=False,
    )


def _unreadable(
  path: epath.Path, row: int, error: Exception
) -> errors.InputError:
  return errors.InputError(
    f'{path}: row {row}: not readable as Parquet '
    f'({errors.detail(error)}); {_remedy(path)}'
  )


def _remedy(path: epath.Path) -> str:
  try:
    with path.open('rb') as f:
      head = f.read(remedies.HEAD)
  except OSError:
    return errors.CUT
  if head.startswith(b'PAR1'):
    return errors.CUT
  if remedy := remedies.of_file(head):
    return remedy
  if head.lstrip()[:1] in (b'{', b'['):
    return 'the file is JSON: call it .jsonl, or .json if it is one list'
  return errors.CUT


def _check_columns(
  path: epath.Path, file: pq.ParquetFile, required: Sequence[str]
) -> None:
  schema = file.schema_arrow
  lacking = [name for name in required if name not in schema.names]
  if 'profile' not in schema.names and any(
    (pa.types.is_list(field.type) or pa.types.is_large_list(field.type))
    and field.name != 'truth'
    for field in schema
  ):
    lacking.append('profile')  # its list has another name
  if required and lacking:
    raise errors.InputError(
      f'{path}: row 1: {" is missing, ".join(lacking)} is missing: the file '
      f'has the columns {", ".join(name[:80] for name in schema.names[:20])}; '
      'rename them as LongLaMP does'
    )


def _columns(
  leaves: list[str], fields: set[str], items: set[str], text: set[str]
) -> list[str]:
  """Returns the leaves to read; a profile's end in the names of its fields.

  input, profile.list.element.id, profile.list.element.text; items = {text}
  = text  ->  input, profile.list.element.text
  """
  selected = [leaf for leaf in leaves if leaf.split('.')[0] in fields]
  narrow = [
    leaf
    for leaf in selected
    if not leaf.startswith('profile.') or items & set(leaf.split('.')[1:])
  ]
  if any(text & set(leaf.split('.')[1:]) for leaf in narrow):
    return narrow
  return selected  # items without text are still items, to be counted


def _row(
  batch: pa.RecordBatch, i: int, location: rows.RowLocation
) -> dict[str, Any]:
  row = {}
  for field in batch.schema.names:
    column = batch.column(field)
    giant = column.nbytes > rows.LONGEST
    try:
      [row[field]] = (
        _values(column.slice(i, 1)) if giant else [column[i].as_py()]
      )
    except UnicodeDecodeError as error:
      raise errors.InputError(
        f'{location}: {field} is not UTF-8 ({errors.detail(error)}); '
        f'{errors.RECODE}'
      ) from error
  return row


def _values(array: pa.Array) -> list[Any]:
  """Does as to_pylist, but returns at most LONGEST bytes of each text.

  It avoids Arrow's scalars, which hold a copy of the whole text.
  """
  arrow_type = array.type
  if pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type):
    binary = (
      pa.binary() if pa.types.is_string(arrow_type) else pa.large_binary()
    )
    data = _function('binary_slice')(array.view(binary), 0, rows.LONGEST)
    return [_beginning(text) for text in data.to_pylist()]
  if pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type):
    items = iter(_values(array.flatten()))
    return [
      None if length is None else list(itertools.islice(items, length))
      for length in _function('list_value_length')(array).to_pylist()
    ]
  if pa.types.is_struct(arrow_type):
    columns = [_values(column) for column in array.flatten()]
    names = [field.name for field in arrow_type]
    structs = zip(*columns, strict=True)
    return [
      dict(zip(names, values, strict=True)) if valid else None
      for values, valid in zip(
        structs, array.is_valid().to_pylist(), strict=True
      )
    ]
  return array.to_pylist()


def _function(name: str) -> Callable[..., pa.Array]:
  """Returns a function that pyarrow defines at import, unseen by checkers."""
  return getattr(pc, name)


def _beginning(data: bytes | None) -> str | None:
  """Decodes a text, without the half character that a cut may have left."""
  if data is None:
    return None
  decoder = codecs.getincrementaldecoder('utf-8')()
  return decoder.decode(data, final=len(data) < rows.LONGEST)
