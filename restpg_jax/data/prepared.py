"""Splits that `prepare` wrote: rows by random access, without TensorFlow."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds
from etils import epath

from restpg_jax import errors, storage
from restpg_jax.data import rows


def read_prepared(
  folder: epath.Path, split: str, *, max_text: int, counts: dict[str, int]
) -> rows.Rows:
  """Each (place, row); adds what was counted of the split when it was made.

  folder: of a version, for instance longlamp/product_review_user/1.0.0
  """
  with _local(folder, split) as copy:
    source, metadata = open_prepared(copy, split, named=folder)
    if metadata['max_text'] < max_text:
      raise errors.InputError(
        f'{folder}: data.max_text is {max_text}, but its texts were cut to '
        f'{metadata["max_text"]} characters; prepare it again, or set '
        f'--config.data.max_text={metadata["max_text"]}'
      )
    for name, number in metadata['counts'][split].items():
      if name != 'rows':
        counts[name] = counts.get(name, 0) + number
    for number in range(len(source)):
      place = rows.RowLocation(
        str(folder), number + 1, share=number / len(source)
      )
      try:
        found = source[number]
      except Exception as error:  # of ArrayRecord's own kinds
        raise _damaged(folder, split, error) from error
      yield place, _row(found)


@contextlib.contextmanager
def _local(folder: epath.Path, split: str) -> Iterator[epath.Path]:
  """The folder, or a copy of what a split needs: ArrayRecord opens files of
  this machine only."""
  if not storage.remote(folder):
    yield folder
    return
  with tempfile.TemporaryDirectory() as copy:
    for path in folder.iterdir():
      if path.suffix == '.json' or f'-{split}.' in path.name:
        path.copy(epath.Path(copy) / path.name)
    yield epath.Path(copy)


def open_prepared(
  folder: epath.Path, split: str, *, named: epath.PathLike
) -> tuple[Sequence[dict], dict]:
  """The rows of a split, by number, as TFDS has them; and the metadata.

  named: how messages call the folder.
  """
  try:
    builder = tfds.builder_from_directory(folder)
    source = builder.as_data_source(split)
    expected = builder.info.splits[split].num_examples
    if len(source) != expected:
      raise ValueError(f'{len(source)} of {expected} rows')
  except Exception as error:  # of TFDS's and ArrayRecord's own kinds
    raise _damaged(named, split, error) from error
  return source, builder.info.metadata


def _row(found: dict) -> dict:
  """Of TFDS's features, the row as it was when it was cleaned."""
  fields = found['profile']
  columns = [[text.decode() for text in texts] for texts in fields.values()]
  items = [
    dict(zip(fields, texts, strict=True))
    for texts in zip(*columns, strict=True)
  ]
  texts = {name: found[name].decode() for name in found if name != 'profile'}
  return texts | {'profile': items}


def _damaged(
  folder: epath.PathLike, split: str, error: Exception
) -> errors.InputError:
  return errors.InputError(
    f'{folder}: split {split!r} cannot be read ({errors.detail(error)[:200]}); '
    'remove the folder and prepare it again'
  )
