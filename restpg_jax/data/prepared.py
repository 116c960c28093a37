"""Reads splits that `prepare` wrote, without TensorFlow."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from restpg_jax import errors, storage
from restpg_jax.data import rows


def read_prepared(
  folder: epath.Path, split: str, *, max_text: int, counts: dict[str, int]
) -> rows.Rows:
  """Yields (location, row); adds the counts that `prepare` made of the split.

  folder: that of a version, for instance longlamp/product_review_user/1.0.0
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
      location = rows.RowLocation(
        str(folder), number + 1, share=number / len(source)
      )
      try:
        features = source[number]
      except Exception as error:  # ArrayRecord raises types of its own
        raise _damaged(folder, split, error) from error
      yield location, _row(features)


@contextlib.contextmanager
def _local(folder: epath.Path, split: str) -> Iterator[epath.Path]:
  """Yields the folder, or a local copy of what a split needs.

  ArrayRecord only opens files of this machine.
  """
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
) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
  """Returns the rows of a split as TFDS stores them, and the metadata.

  named: the folder's name in messages. Raises InputError where the split is
  damaged or has not all its rows.
  """
  try:
    builder = tfds.builder_from_directory(folder)
    # TFDS hides the parameters from type checkers by a decorator.
    source = builder.as_data_source(split)  # pyright: ignore[reportCallIssue]
    expected = builder.info.splits[split].num_examples
    if len(source) != expected:
      raise ValueError(f'{len(source)} of {expected} rows')
  except Exception as error:  # TFDS and ArrayRecord raise types of their own
    raise _damaged(named, split, error) from error
  return source, dict(builder.info.metadata or {})


def _row(features: dict[str, Any]) -> dict[str, Any]:
  """Returns the row of TFDS's features, as it was when it was cleaned."""
  fields = features['profile']
  columns = [[text.decode() for text in texts] for texts in fields.values()]
  items = [
    dict(zip(fields, texts, strict=True))
    for texts in zip(*columns, strict=True)
  ]
  texts = {
    name: features[name].decode() for name in features if name != 'profile'
  }
  return texts | {'profile': items}


def _damaged(
  folder: epath.PathLike, split: str, error: Exception
) -> errors.InputError:
  return errors.InputError(
    f'{folder}: split {split!r} cannot be read ({errors.detail(error)[:200]}); '
    'remove the folder and prepare it again'
  )
