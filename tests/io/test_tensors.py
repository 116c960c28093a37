"""safetensors files: whole, in shards, damaged."""

import json

import ml_dtypes
import numpy as np
import pytest

from restpg_jax import errors
from restpg_jax.io import tensors

ROWS = {f'w{n}': np.float32([[n, n + 0.5]]) for n in range(5)}  # 8 bytes each


def test_one_file_or_shards_with_an_index(tmp_path):
  (tmp_path / 'one').mkdir()
  (tmp_path / 'many').mkdir()
  assert tensors.write(tmp_path / 'one', ROWS.items()) == 40
  assert tensors.write(tmp_path / 'many', ROWS.items(), shard=17) == 40
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
    found = tensors.Reader(tmp_path / name)
    assert found.shapes == dict.fromkeys(ROWS, (1, 2))
    for key, x in ROWS.items():
      np.testing.assert_array_equal(found.read(key), x, strict=True)


def test_a_transposed_bfloat16_tensor_is_written_as_it_looks(tmp_path):
  x = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16).T
  tensors.write(tmp_path, [('x', x)])
  found = tensors.Reader(tmp_path).read('x')
  np.testing.assert_array_equal(found, x, strict=True)


def test_a_cut_shard_is_named(tmp_path):
  tensors.write(tmp_path, ROWS.items(), shard=17)
  path = tmp_path / 'model-00002-of-00003.safetensors'
  path.write_bytes(path.read_bytes()[:-3])
  with pytest.raises(errors.InputError, match=f'{path}: no whole safetensors'):
    tensors.Reader(tmp_path)


def test_a_shard_that_is_not_there_is_named(tmp_path):
  tensors.write(tmp_path, ROWS.items(), shard=17)
  (tmp_path / 'model-00002-of-00003.safetensors').unlink()
  with pytest.raises(errors.InputError) as e:
    tensors.Reader(tmp_path)
  assert '1 of 3 shards are missing: model-00002-of-00003' in str(e.value)


def test_a_damaged_index_is_named(tmp_path):
  tensors.write(tmp_path, ROWS.items(), shard=17)
  (tmp_path / tensors.INDEX).write_text('{"weight_map": [')
  with pytest.raises(errors.InputError, match='index.json: damaged'):
    tensors.Reader(tmp_path)


def test_quantised_tensors_are_refused(tmp_path):
  tensors.write(tmp_path, [('q', np.zeros(3, np.int8))])
  with pytest.raises(errors.InputError, match='q is of type I8'):
    tensors.Reader(tmp_path)
