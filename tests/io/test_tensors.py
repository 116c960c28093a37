"""safetensors files: whole, in shards, damaged."""

import json
import os
import struct

import ml_dtypes
import numpy as np
import pytest

from restpg_jax import errors
from restpg_jax.io import tensors
from tests import remote

ROWS = {f'w{n}': np.float32([[n, n + 0.5]]) for n in range(5)}  # 8 bytes each


def test_one_file_or_shards_with_an_index(tmp_path):
  (tmp_path / 'one').mkdir()
  (tmp_path / 'many').mkdir()
  assert tensors.write_tensors(tmp_path / 'one', ROWS.items()) == 40
  assert tensors.write_tensors(tmp_path / 'many', ROWS.items(), shard=17) == 40
  assert [p.name for p in (tmp_path / 'one').iterdir()] == ['model.safetensors']
  shards = [f'model-0000{n}-of-00003.safetensors' for n in (1, 2, 3)]
  index = json.loads((tmp_path / 'many' / tensors.INDEX).read_text())
  assert index == {
    'metadata': {'total_size': 40},
    'weight_map': dict(
      zip(ROWS, [shards[0]] * 2 + [shards[1]] * 2 + shards[2:], strict=True)
    ),
  }
  for name in ('one', 'many'):
    found = tensors.TensorReader(tmp_path / name)
    assert found.shapes == dict.fromkeys(ROWS, (1, 2))
    for key, x in ROWS.items():
      np.testing.assert_array_equal(found.read(key), x, strict=True)


@pytest.mark.parametrize('umask, mode', [(0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_file_is_what_the_umask_says(tmp_path, umask, mode):
  before = os.umask(umask)
  try:
    tensors.write_tensors(tmp_path, ROWS.items(), shard=17)
  finally:
    os.umask(before)
  assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {mode}


def test_a_transposed_bfloat16_tensor_is_written_as_it_looks(tmp_path):
  x = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16).T
  tensors.write_tensors(tmp_path, [('x', x)])
  found = tensors.TensorReader(tmp_path).read('x')
  np.testing.assert_array_equal(found, x, strict=True)


def test_a_cut_shard_is_named(tmp_path):
  tensors.write_tensors(tmp_path, ROWS.items(), shard=17)
  path = tmp_path / 'model-00002-of-00003.safetensors'
  path.write_bytes(path.read_bytes()[:-3])
  with pytest.raises(errors.InputError, match=f'{path}: no whole safetensors'):
    tensors.TensorReader(tmp_path)


def test_a_shard_that_is_not_there_is_named(tmp_path):
  tensors.write_tensors(tmp_path, ROWS.items(), shard=17)
  (tmp_path / 'model-00002-of-00003.safetensors').unlink()
  with pytest.raises(errors.InputError) as e:
    tensors.TensorReader(tmp_path)
  assert '1 of 3 shards are missing: model-00002-of-00003' in str(e.value)


def test_a_damaged_index_is_named(tmp_path):
  tensors.write_tensors(tmp_path, ROWS.items(), shard=17)
  (tmp_path / tensors.INDEX).write_text('{"weight_map": [')
  with pytest.raises(errors.InputError, match='index.json: damaged'):
    tensors.TensorReader(tmp_path)


def test_quantised_tensors_are_refused(tmp_path):
  tensors.write_tensors(tmp_path, [('q', np.zeros(3, np.int8))])
  with pytest.raises(errors.InputError, match='q is of type I8'):
    tensors.TensorReader(tmp_path)


def save_eight_bits(path, names):
  """As torch writes them; NumPy and so the library have no such type."""
  x = np.array([0.5, -2, 448, 0.0625], ml_dtypes.float8_e4m3fn)
  header = {
    name: {
      'dtype': 'F8_E4M3',
      'shape': [2, 2],
      'data_offsets': [4 * n, 4 * n + 4],
    }
    for n, name in enumerate(names)
  }
  head = json.dumps(header).encode()
  path.mkdir(exist_ok=True)
  (path / tensors.WHOLE).write_bytes(
    len(head).to_bytes(8, 'little') + head + x.tobytes() * len(names)
  )


def test_float8_is_read_as_it_is_and_said(tmp_path, bucket):
  save_eight_bits(tmp_path / 'm', ['a', 'b'])
  remote.upload(bucket, tmp_path / 'm', 'gs://b/m')
  for path in (tmp_path / 'm', 'gs://b/m'):
    with pytest.warns(errors.DataWarning, match='2 tensors are float8'):
      reader = tensors.TensorReader(path)
    np.testing.assert_array_equal(
      np.float32(reader.read('b')), [[0.5, -2], [448, 0.0625]]
    )


def test_float8_with_scales_is_refused(tmp_path):
  names = ['q.weight', 'q.weight_scale_inv']
  save_eight_bits(tmp_path / 'm', names)
  with pytest.raises(
    errors.InputError, match='by scales as q.weight_scale_inv'
  ):
    tensors.TensorReader(tmp_path / 'm')


def zeroed(path):
  """An old export in shards with their index: all tensors are zeros."""
  tensors.write_tensors(path, [(n, 0 * x) for n, x in ROWS.items()], shard=17)


def test_a_whole_file_is_read_and_not_an_old_index_beside_it(tmp_path):
  zeroed(tmp_path)
  (tmp_path / 'new').mkdir()
  tensors.write_tensors(tmp_path / 'new', ROWS.items())
  (tmp_path / 'new' / tensors.WHOLE).rename(tmp_path / tensors.WHOLE)
  with pytest.warns(errors.DataWarning, match='index.json and its shards are '):
    found = tensors.TensorReader(tmp_path)
  np.testing.assert_array_equal(found.read('w3'), [[3, 3.5]])
  for n in (1, 2, 3):  # nor are they missed
    (tmp_path / f'model-0000{n}-of-00003.safetensors').unlink()
  np.testing.assert_array_equal(
    tensors.TensorReader(tmp_path).read('w3'), [[3, 3.5]]
  )


def files_of(path, **tensors_of):
  """name -> tensors, each in a file of that name without an index."""
  for name, of in tensors_of.items():
    (path / 'one').mkdir()
    tensors.write_tensors(path / 'one', of.items())
    (path / 'one' / tensors.WHOLE).rename(path / f'{name}.safetensors')
    (path / 'one').rmdir()


def test_two_files_may_hold_one_tensor_only_where_it_is_the_same(tmp_path):
  w0 = ROWS['w0']
  files_of(tmp_path, a={'w0': w0, 'w1': w0}, b={'w0': w0.astype(np.float64)})
  np.testing.assert_array_equal(tensors.TensorReader(tmp_path).read('w0'), w0)
  files_of(tmp_path, c={'w0': w0 + 1})
  with pytest.raises(errors.InputError) as e:
    tensors.TensorReader(tmp_path)
  assert str(e.value) == (
    f'{tmp_path}: w0 is one tensor in b.safetensors and another in '
    'c.safetensors; remove the file that is out of date'
  )


def test_shards_of_an_index_may_not_disagree_either(tmp_path):
  tensors.write_tensors(tmp_path, ROWS.items(), shard=17)
  files_of(tmp_path, again={'w0': ROWS['w4']})
  (tmp_path / 'again.safetensors').rename(
    tmp_path / 'model-00003-of-00003.safetensors'
  )
  with pytest.raises(
    errors.InputError, match='w0 is one tensor in model-00001'
  ):
    tensors.TensorReader(tmp_path)


def test_a_pointer_of_git_lfs_is_called_so(tmp_path):
  pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n'
  (tmp_path / tensors.WHOLE).write_text(pointer)
  with pytest.raises(errors.InputError, match='a pointer of Git LFS'):
    tensors.TensorReader(tmp_path)


def test_in_a_bucket_only_the_header_and_what_is_asked_for_is_read(
  bucket, tmp_path
):
  large = np.arange(6_000_000, dtype=np.int32).view(np.float32)
  named = ROWS | {'half': ROWS['w1'].astype(ml_dtypes.bfloat16), 'large': large}
  tensors.write_tensors(tmp_path, named.items(), shard=17)
  remote.upload(bucket, tmp_path, 'gs://b/m')
  found = tensors.TensorReader('gs://b/m')
  assert sum(n for _, n in bucket.reads) < 3000  # of 24 MB
  local = tensors.TensorReader(tmp_path)
  assert found.shapes == local.shapes
  for name in named:
    np.testing.assert_array_equal(
      found.read(name).view(np.uint8), local.read(name).view(np.uint8)
    )
  assert found.read('half').dtype == ml_dtypes.bfloat16
  assert max(n for _, n in bucket.reads) <= 1 << 24


def header(size=None, tail=8, **entry):
  entry = {'dtype': 'F32', 'shape': [1, 2], 'data_offsets': [0, 8]} | entry
  text = json.dumps({'__metadata__': {'format': 'pt'}, 'w': entry}).encode()
  length = len(text) if size is None else size
  return struct.pack('<Q', length) + text + bytes(tail)


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'\x01\x02',
    header(size=10**12),
    header(size=10),
    struct.pack('<Q', 2) + b'[]',
    header(tail=7),
    header(tail=9),
    header(data_offsets=[0, 4]),
    header(data_offsets=[1, 9], tail=9),
    header(data_offsets=[8, 0]),
    header(shape=[1, -2]),
    header(shape=[2**40, 2**40]),
    header(dtype='F33'),
    header(shape='12'),
    header(data_offsets=None),
  ],
)
def test_damage_is_refused_in_a_bucket_as_on_the_disk(
  bucket, tmp_path, content
):
  (tmp_path / 'm').mkdir()
  (tmp_path / 'm' / tensors.WHOLE).write_bytes(content)
  remote.upload(bucket, tmp_path / 'm', 'gs://b/m')
  for path in (tmp_path / 'm', 'gs://b/m'):
    with pytest.raises(errors.InputError) as e:
      tensors.TensorReader(path)
    assert f'{path}/{tensors.WHOLE}: no whole safetensors file (' in str(
      e.value
    )
    assert '\n' not in str(e.value)


def test_quantised_tensors_are_refused_in_a_bucket_too(bucket, tmp_path):
  tensors.write_tensors(tmp_path, [('q', np.zeros(3, np.int8))])
  remote.upload(bucket, tmp_path, 'gs://b/m')
  with pytest.raises(errors.InputError, match='q is of type I8'):
    tensors.TensorReader('gs://b/m')
