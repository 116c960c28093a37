"""Rows and folders in LongLaMP's schema, and how they are read in tests."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from restpg_jax import errors
from restpg_jax.data import longlamp

NO_COUNTS = {
  'rows': 0,
  'empty_profiles': 0,
  'skipped_items': 0,
  'cut_texts': 0,
  'mended_texts': 0,
  'duplicate_rows': 0,
  'duplicate_users': 0,
  'unused_outputs': 0,
}
MAIL = {'input': 'a mail', 'output': 'its end', 'profile': [{'text': 'old'}]}


def lines(*rows):
  return '\n'.join(json.dumps(row) for row in rows).encode()


def folder(tmp_path, name='email_generation_user', **files):
  """DIR with one task; train.jsonl etc. are `files`, a mail where not given."""
  task = tmp_path / name
  task.mkdir(parents=True)
  for split in ('train', 'val', 'test'):
    content = files.pop(split, lines(MAIL))
    if content is not None:
      (task / f'{split}.jsonl').write_bytes(content)
  return task


def read(tmp_path, split='train', setting='user', **more):
  """All examples, and the counts when they have been taken."""
  examples, counts = longlamp.read_examples(
    tmp_path, setting=setting, split=split, **more
  )
  return list(examples), counts


def example(tmp_path, **fields):
  """The example that a mail with these fields becomes, and the counts."""
  folder(tmp_path, train=lines(MAIL | fields))
  [first], counts = read(tmp_path)
  return first, counts


def refusal(tmp_path, split='train'):
  """The one line that a folder is refused with."""
  with pytest.raises(errors.InputError) as error:
    read(tmp_path, split)
  message = str(error.value)
  assert '\n' not in message
  return message


def assert_says(message, *parts):
  for part in parts:
    assert part in message, message


def write_parquet(path, rows):
  path.parent.mkdir(exist_ok=True, parents=True)
  pq.write_table(pa.Table.from_pylist(rows), path)
