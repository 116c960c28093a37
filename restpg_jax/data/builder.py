"""Defines LongLaMP as a TFDS data set: `longlamp/product_review_user` etc.

Shards are written in the order of the rows, so that no more than one of them
is in memory, and without TensorFlow where the format is ArrayRecord.
"""

import collections
import contextlib
import dataclasses
import functools
import io
import itertools
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from restpg_jax import config, errors, folders, types
from restpg_jax.data import cleaning, files, hub, longlamp, rows

SHARD = 1 << 26  # bytes of the source that become a shard, roughly
NAMES = (  # TASK_SETTING, or rows of one's own users
  *(f'{task}_{s}' for task in types.TASKS for s in longlamp.SETTINGS),
  types.CUSTOM,
)


class Longlamp(tfds.core.ShardBasedBuilder):
  """A task of the benchmark, or rows of one's own users.

  >>> Longlamp(config='custom', data_dir='prepared').download_and_prepare(
  ...   download_config=tfds.download.DownloadConfig(manual_dir='mine')
  ... )  # mine/custom/{train,val,test}.jsonl
  """

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in NAMES]
  # TFDS would find it with importlib_resources, which it does not require.
  code_path = epath.Path(__file__)
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'NAME/ with train, val and test, as JSON lines, a JSON list or Parquet; '
    'without it the public tasks are downloaded from the Hugging Face hub'
  )

  def __init__(
    self,
    *,
    file_format: str = 'array_record',
    max_text: int = config.Data.max_text,
    on_error: str = config.Data.on_error,
    source: str = '',  # describes the source data; kept in the metadata
    **kwargs: Any,  # those of TFDS, passed on
  ) -> None:
    self._max_text = max_text
    self._on_error = on_error
    self._source = source
    super().__init__(file_format=file_format, **kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text
    item = {name: text() for name in cleaning.item_fields(self._task)}
    return tfds.core.DatasetInfo(
      builder=self,
      description='Personalised long-form generation: a request, what the '
      'user wrote, and what the user has written before.',
      homepage=f'https://huggingface.co/datasets/{hub.DATASET}',
      features=tfds.features.FeaturesDict(
        {
          'id': text(),
          self._user: text(),
          'input': text(),
          'output': text(),
          'profile': tfds.features.Sequence(item),
        }
      ),
      disable_shuffling=True,  # an example's id is the number of its row
      metadata=tfds.core.MetadataDict(
        max_text=self._max_text, source=self._source, counts={}
      ),
    )

  def _download_and_prepare(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig | None = None,
  ) -> None:
    """Prepares as TFDS does, and writes skipped.jsonl beside the shards."""
    self._skipped = []
    super()._download_and_prepare(dl_manager, download_config)
    if self._skipped:
      lines = [json.dumps(dataclasses.asdict(row)) for row in self._skipped]
      (self.data_path / 'skipped.jsonl').write_text('\n'.join(lines) + '\n')

  def _shard_iterators_per_split(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, list[Callable[[], Iterator[tuple[int, dict[str, Any]]]]]]:
    folder = self._folder(dl_manager)
    return {split: self._shards(folder, split) for split in files.NAMES}

  def _shards(self, folder: epath.Path, split: str) -> list[Callable]:
    """Returns an iterator a shard; each continues where the last one ended."""
    num_shards = math.ceil(max(files.text_bytes(folder, split), 1) / SHARD)
    stream = _Stream(self._examples(folder, split))
    # Shares are estimates, so the last shard takes whatever is left.
    ends = [n / num_shards for n in range(1, num_shards)] + [math.inf]
    return [functools.partial(stream.until, end) for end in ends]

  def _examples(
    self, folder: epath.Path, split: str
  ) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yields (share of the split before the row, the row's features)."""
    counts = collections.Counter()
    before = len(self._skipped)
    fields = 'id', self._user, 'input', 'output', 'profile'
    for location, row in longlamp.cleaned(
      folder,
      self._task,
      split,
      max_text=self._max_text,
      counts=counts,
      unusable=rows.unusable(self._on_error, self._skipped),
    ):
      counts['rows'] += 1
      row[self._user] = row.pop('user')
      yield location.share, {name: row[name] for name in fields}
    longlamp.check_some(counts['rows'], folder, split)
    counts['skipped_rows'] = len(self._skipped) - before
    assert self.info.metadata is not None, '_info gives it'
    self.info.metadata['counts'][split] = dict(counts)

  def _folder(self, dl_manager: tfds.download.DownloadManager) -> epath.Path:
    name = self._name
    try:
      folder = dl_manager.manual_dir / name
    except AssertionError:  # how TFDS reports that no manual_dir was given
      folder = None
    if folder is not None and folder.is_dir():
      return folder
    if self._task not in hub.TASKS:
      raise errors.InputError(
        f'{folder or name}: no such folder; give the one that holds it as '
        'manual_dir'
      )
    return hub.download(name, dl_manager.download_dir)

  @property
  def _name(self) -> str:
    assert self.builder_config is not None, 'TFDS sets one of BUILDER_CONFIGS'
    return self.builder_config.name

  @property
  def _task(self) -> str:
    return task_of(self._name)

  @property
  def _user(self) -> str:
    return cleaning.FIELDS[self._task].user


def build_dataset(
  name: str, *, manual_dir: str, to: epath.Path, **settings: Any
) -> dict[str, Any]:
  """Prepares TO/longlamp/NAME and returns its metadata.

  TFDS gives a folder its name when it is whole; what an interrupted attempt
  has left is removed.
  """
  tfds.disable_progress_bar()
  for path in folders.matching(to / 'longlamp' / name, 'incomplete*'):
    path.rmtree()
  builder = Longlamp(config=name, data_dir=to, **settings)
  with (
    contextlib.redirect_stdout(io.StringIO()),  # TFDS prints its own lines
    tempfile.TemporaryDirectory() as unused,
  ):
    builder.download_and_prepare(
      download_dir=unused,
      download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
    )
  return _metadata(builder)


def prepared_before(name: str, to: epath.Path) -> dict[str, Any]:
  """Returns the metadata of a data set prepared earlier, or {}."""
  versions = files.prepared_versions(to / 'longlamp' / name)
  return _metadata(tfds.builder_from_directory(versions[0])) if versions else {}


def _metadata(builder: tfds.core.DatasetBuilder) -> dict[str, Any]:
  metadata = builder.info.metadata
  assert isinstance(metadata, dict), 'Longlamp._info gives a MetadataDict'
  return {**metadata}


class _Stream:
  """A stream of examples that several shards read one after another."""

  def __init__(self, examples: Iterator[tuple[float, dict[str, Any]]]) -> None:
    self._examples = enumerate(examples)
    self._first = []  # the next shard's first, read to see that it is not ours

  def until(self, end: float) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (key, example) of the examples before the share `end`."""
    for number, (share, example) in itertools.chain(
      self._first, self._examples
    ):
      if share >= end:
        self._first = [(number, (share, example))]
        return
      yield number, example
    self._first = []


def task_of(name: str) -> str:
  """Returns a name without its setting.

  'product_review_user'  ->  'product_review'
  """
  for setting in longlamp.SETTINGS:
    name = name.removesuffix(f'_{setting}')
  return name
