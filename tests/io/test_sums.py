"""Facts about restpg_jax/io/sums.py: what Orbax would read without a word."""

import json

import pytest
from etils import epath

from restpg_jax.io import sums


@pytest.fixture
def folder(tmp_path):
  for name in ('model/params/d/1f', 'model/params/_METADATA', 'optimizer/x'):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'123456789')
  sums.note(epath.Path(tmp_path))
  (tmp_path / 'model' / 'model.json').write_text('{}')  # comes after it
  return epath.Path(tmp_path)


def test_every_file_has_its_size_and_checksum(folder):
  assert json.loads((folder / 'files.json').read_text()) == {
    'model/params/_METADATA': [9, 0xCBF43926],  # CRC-32's check value
    'model/params/d/1f': [9, 0xCBF43926],
    'optimizer/x': [9, 0xCBF43926],
  }
  assert sums.fault(folder) == ''


@pytest.mark.parametrize(
  'data, fault',
  [
    (b'123456788', 'model/params/d/1f is damaged'),
    (b'1234567', 'model/params/d/1f is damaged'),
    (None, 'model/params/d/1f is missing'),
  ],
)
def test_what_is_wrong_is_named(folder, data, fault):
  path = folder / 'model/params/d/1f'
  path.unlink()
  if data:
    path.write_bytes(data)
  assert sums.fault(folder) == fault
  assert sums.fault(folder, 'model/') == fault
  assert sums.fault(folder, 'optimizer/') == ''


def test_noted_again_the_sums_are_the_new_ones(folder):
  (folder / 'optimizer/x').write_bytes(b'another')
  assert sums.fault(folder) == 'optimizer/x is damaged'
  sums.note(folder)
  assert sums.fault(folder) == ''


def test_a_checkpoint_of_an_older_version_has_none(folder):
  (folder / 'files.json').unlink()
  (folder / 'optimizer/x').unlink()
  assert sums.fault(folder) == ''


def test_a_list_that_is_cut_is_a_fault(folder):
  (folder / 'files.json').write_text('{"model/')
  assert sums.fault(folder) == 'files.json is cut short'


@pytest.mark.slow  # TensorFlow is imported
def test_of_a_bucket_only_sizes_are_compared(folder, bucket):
  path = epath.Path('gs://b/step_1/model/params/1f')
  path.write_bytes(b'123456789')
  there = epath.Path('gs://b/step_1')
  sums.note(there)
  assert json.loads((there / 'files.json').read_text()) == {
    'model/params/1f': [9, -1]
  }
  assert sums.fault(there) == ''
  path.write_bytes(b'12345678')
  assert sums.fault(there) == 'model/params/1f is damaged'
