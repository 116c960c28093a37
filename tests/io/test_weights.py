"""One door for all folders of weights: what comes in, what is refused."""

import json
import pickle
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest

from restpg_jax import errors
from restpg_jax.io import checkpoints, tensors, weights
from restpg_jax.models import catalog, formats, hf_config
from tests import remote, tiny
from tests.models import families


def save_hf(path, size, params, rows=None, shard=10_000):
  """As `convert` does it, without its tokenizer and card."""
  rows = rows or size.vocabulary
  checkpoints.save_model(path.parent / 'ours', params, size)
  found = weights.find_checkpoint(path.parent / 'ours')
  path.mkdir()
  named = found.written_as(formats.hf(size, rows), np.float32)
  tensors.write_tensors(path, named, shard=shard)
  config = hf_config.render_config(size, rows=rows, dtype='float32')
  (path / 'config.json').write_text(json.dumps(config))
  return path


def save_gemma(path, size, params, nested=False, **layout):
  checkpoints.save_model(path.parent / 'ours', params, size)
  found = weights.find_checkpoint(path.parent / 'ours')
  wanted = formats.gemma(size, size.vocabulary, **layout)
  tree = {}
  for name, x in found.written_as(wanted, np.float32):
    if nested:
      tree[name] = x
    else:
      outer, inner = formats.flat_name(name)
      tree.setdefault(outer, {})[inner] = np.ascontiguousarray(x)
  checkpoints.save_tree(path, formats.nested(tree) if nested else tree)
  shutil.copy(path.parent / 'ours' / 'model.json', path)
  return path


def same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y, strict=True)


@pytest.mark.parametrize('size', families.ALL.values(), ids=families.ALL)
def test_every_family_comes_back_from_hugging_faces_form(size, tmp_path):
  params = families.parameters(size)
  path = save_hf(tmp_path / 'hf', size, params)
  assert len(list(path.glob('model-*'))) > 1
  again, found = weights.load_weights(path)
  assert found == size
  same(again, params)


@pytest.mark.parametrize(
  'layout',
  [
    {'transposed': False},
    {'transposed': True},
    {'transposed': True, 'nested': True},
    {'transposed': False, 'types': 1},
    {'transposed': True, 'types': 2},
  ],
  ids=str,
)
@pytest.mark.parametrize('size', families.GEMMA.values(), ids=families.GEMMA)
def test_every_layout_of_deepmind_comes_back(size, layout, tmp_path):
  params = families.parameters(size)
  path = save_gemma(tmp_path / 'gemma', size, params, **layout)
  again, found = weights.load_weights(path)
  assert found == size
  same(again, params)


def test_a_multimodal_folder_gives_its_text_tower(tmp_path):
  size = families.GEMMA['gemma3']
  params = families.parameters(size)
  path = save_hf(tmp_path / 'hf', size, params)
  text = json.loads((path / 'config.json').read_text())
  multimodal = {'model_type': 'gemma3', 'text_config': text}
  (path / 'config.json').write_text(json.dumps(multimodal))
  reader = tensors.TensorReader(path)
  for prefix, tower in (
    ('language_model.model.', 'vision_tower.x.weight'),
    ('model.language_model.', 'model.vision_tower.x.weight'),
  ):
    other = tmp_path / prefix
    other.mkdir()
    named = {n.replace('model.', prefix): reader.read(n) for n in reader.shapes}
    tensors.write_tensors(other, (named | {tower: np.zeros(3)}).items())
    shutil.copy(path / 'config.json', other)
    again, found = weights.load_weights(other)
    assert found == size
    same(again, params)


def test_a_published_gemma_needs_no_description(tmp_path):
  # All but the depth and the numbers of Gemma 3 270M's embedding is real.
  size = catalog.CATALOG['gemma3_270m']
  tree = {}
  for tensor in formats.gemma(size, 3, transposed=True):
    outer, inner = formats.flat_name(tensor.name)
    x = np.zeros(tensor.shape, ml_dtypes.bfloat16)
    tree.setdefault(outer, {})[inner] = x
  tree['transformer/embedder']['input_embedding'][:] = 2
  checkpoints.save_tree(tmp_path / 'gemma', tree)
  found = weights.find_checkpoint(tmp_path / 'gemma')
  assert found.size.window == 512
  assert found.size.vocabulary == 3
  embedding = found.leaf('embedding', ml_dtypes.bfloat16)
  assert embedding.dtype == ml_dtypes.bfloat16
  assert (embedding == 2).all()


def test_another_gemma_without_description_is_told_the_remedy(tmp_path):
  size = families.GEMMA['gemma']
  path = save_gemma(
    tmp_path / 'gemma', size, families.parameters(size), transposed=False
  )
  (path / 'model.json').unlink()
  with pytest.raises(errors.InputError, match='put a model.json'):
    weights.find_checkpoint(path)


def test_padding_comes_back_as_zeros(tmp_path):
  size = tiny.size(vocabulary=32)
  params = tiny.parameters(size, 0.2)
  path = save_hf(tmp_path / 'hf', size, params, rows=30)
  found = weights.find_checkpoint(path)
  assert found.size.vocabulary == 32
  embedding = found.leaf('embedding')
  np.testing.assert_array_equal(embedding[:30], params['embedding'][:30])
  assert not embedding[30:].any()


def test_leaves_go_to_their_shardings_in_the_wanted_type(tmp_path):
  size = tiny.size()
  path = save_hf(tmp_path / 'hf', size, tiny.parameters(size, 0.2))
  device = jax.devices()[0]
  shapes = formats.nested(formats.shapes(size))
  shardings = jax.tree.map(
    lambda _: jax.sharding.SingleDeviceSharding(device),
    shapes,
    is_leaf=lambda x: isinstance(x, tuple),
  )
  params, _ = weights.load_weights(path, ml_dtypes.bfloat16, shardings)
  for leaf in jax.tree.leaves(params):
    assert isinstance(leaf, jax.Array)
    assert leaf.dtype == ml_dtypes.bfloat16


def test_float16_must_hold_the_numbers(tmp_path):
  size = tiny.size()
  params = jax.tree.map(lambda x: 1e6 * x, tiny.parameters(size, 0.2))
  checkpoints.save_model(tmp_path / 'm', params, size)
  with pytest.raises(errors.InputError, match='beyond the range of float16'):
    weights.load_weights(tmp_path / 'm', np.float16)


def changed(path, change):
  """The folder's tensors, written anew after `change(dict)`."""
  reader = tensors.TensorReader(path)
  named = {name: reader.read(name) for name in reader.shapes}
  change(named)
  for old in path.glob('*.safetensors*'):
    old.unlink()
  tensors.write_tensors(path, named.items())


def test_all_that_differs_is_listed_before_anything_is_read(
  tmp_path, monkeypatch
):
  size = tiny.size()
  path = save_hf(tmp_path / 'hf', size, tiny.parameters(size, 0.2))

  def spoil(named):
    del named['model.layers.1.mlp.up_proj.weight']
    named['model.norm.weight'] = np.zeros(7)
    named['extra'] = np.zeros((2, 3))

  changed(path, spoil)
  monkeypatch.setattr(tensors.TensorReader, 'read', None)
  with pytest.raises(errors.InputError) as e:
    weights.load_weights(path)
  assert str(e.value) == (
    f'{path}: 3 tensors do not fit its config.json: '
    'model.norm.weight is [7], [32] expected; '
    'model.layers.1.mlp.up_proj.weight is missing, [32, 32] expected; '
    'extra [2, 3] is unexpected'
  )


def test_a_long_list_is_cut(tmp_path):
  size = tiny.size()
  path = save_hf(tmp_path / 'hf', size, tiny.parameters(size, 0.2))
  changed(path, lambda named: [named.pop(n) for n in list(named)[:13]])
  with pytest.raises(errors.InputError, match='; and 3 more$'):
    weights.find_checkpoint(path)


def test_wrong_tensors_of_the_other_kinds_are_listed_too(tmp_path):
  size = tiny.size()
  params = dict(tiny.parameters(size, 0.2))
  gemma = save_gemma(tmp_path / 'g', size, params, transposed=False)
  described = json.loads((gemma / 'model.json').read_text())
  described['size']['hidden'] = 48
  for folder in (gemma, tmp_path / 'ours'):
    (folder / 'model.json').write_text(json.dumps(described))
  with pytest.raises(
    errors.InputError, match='mlp/linear is .32, 32., .48, 32'
  ):
    weights.find_checkpoint(gemma)
  with pytest.raises(errors.InputError, match='feed_forward/down is'):
    weights.find_checkpoint(tmp_path / 'ours')


def test_pickles_are_never_opened(tmp_path):
  class Trap:
    def __reduce__(self):
      return (open, (str(tmp_path / 'sprung'), 'w'))

  size = tiny.size()
  config = hf_config.render_config(size, rows=32, dtype='float32')
  (tmp_path / 'config.json').write_text(json.dumps(config))
  (tmp_path / 'pytorch_model.bin').write_bytes(pickle.dumps(Trap()))
  with pytest.raises(errors.InputError) as e:
    weights.load_weights(tmp_path)
  assert 'pytorch_model.bin hold pickled weights' in str(e.value)
  assert 'save_pretrained' in str(e.value)
  assert not (tmp_path / 'sprung').exists()


def test_folders_that_are_no_model_are_told_why(tmp_path):
  def why(folder):
    with pytest.raises(errors.InputError) as e:
      weights.find_checkpoint(folder)
    return str(e.value)

  assert 'no such folder' in why(tmp_path / 'none')
  assert 'It holds nothing' in why(tmp_path)
  size = tiny.size()
  path = save_hf(tmp_path / 'hf', size, tiny.parameters(size, 0.2))
  assert f'give {tmp_path / "ours"}' in why(tmp_path)
  config = (path / 'config.json').read_text()
  (path / 'config.json').write_text('{"model_type": "bert"}')
  assert "config.json: model_type 'bert' is not supported" in why(path)
  (path / 'config.json').write_text(config[:20])
  assert 'config.json: no whole JSON' in why(path)
  (path / 'config.json').unlink()
  assert 'config.json is missing' in why(path)
  (tmp_path / 'ours' / 'model.json').unlink()
  assert 'not written to its end' in why(tmp_path / 'ours')


def test_a_damaged_orbax_folder_is_named(tmp_path):
  size = tiny.size()
  checkpoints.save_model(tmp_path / 'm', tiny.parameters(size, 0.2), size)
  shutil.rmtree(tmp_path / 'm' / 'params' / 'd')
  shutil.rmtree(tmp_path / 'm' / 'params' / 'ocdbt.process_0')
  with pytest.raises(errors.InputError, match='params: '):
    weights.load_weights(tmp_path / 'm')


def test_one_weight_under_two_names_is_refused(tmp_path):
  size = tiny.size()
  path = save_hf(tmp_path / 'hf', size, tiny.parameters(size, 0.2))
  again = {'language_model.model.norm.weight': np.zeros(32, np.float32)}
  changed(path, lambda named: named.update(again))
  with pytest.raises(errors.InputError) as e:
    weights.find_checkpoint(path)
  assert 'language_model.model.norm.weight' in str(e.value)
  assert ' model.norm.weight' in str(e.value)


def test_two_models_in_one_folder_are_refused(tmp_path):
  size = tiny.size()
  params = tiny.parameters(size, 0.2)
  path = save_hf(tmp_path / 'hf', size, params)
  ours, gemma = tmp_path / 'ours', tmp_path / 'g' / 'gemma'
  gemma.parent.mkdir()
  save_gemma(gemma, size, params, transposed=False)
  shutil.copytree(gemma, tmp_path / 'g' / 'both' / 'default')

  def why(folder, other):
    shutil.copytree(other, folder, dirs_exist_ok=True)
    with pytest.raises(errors.InputError, match='more than one model') as e:
      weights.find_checkpoint(folder)
    return str(e.value)

  weights.find_checkpoint(tmp_path / 'g' / 'both')
  assert 'by _METADATA and default/_METADATA;' in why(
    tmp_path / 'g' / 'both', gemma
  )
  assert 'by _METADATA and config.json;' in why(gemma, path)
  assert 'by model.json and config.json;' in why(ours, path)


def test_a_tokenizer_one_above_is_not_that_of_a_folder_with_its_own(tmp_path):
  size = tiny.size()
  path = save_hf(tmp_path / 'hf', size, tiny.parameters(size, 0.2))
  (tmp_path / 'tokenizer.model').write_bytes(b'of another model')
  assert weights.find_checkpoint(path).tokenizer == tmp_path / 'tokenizer.model'
  (path / 'tokenizer.json').write_text('{}')
  assert weights.find_checkpoint(path).tokenizer == path / 'tokenizer.json'
  (path / 'tokenizer.model').write_bytes(b'its own')
  assert weights.find_checkpoint(path).tokenizer == path / 'tokenizer.model'


@pytest.mark.parametrize(
  'files, message',
  [
    (
      ['adapter_config.json', 'adapter_model.bin'],
      'adapter_model.bin holds a pickled adapter, which can run code',
    ),
    (
      ['adapter_model.safetensors'],
      'an adapter of PEFT without its adapter_config.json: copy it too',
    ),
    (
      ['adapter_config.json', 'README.md'],
      'an adapter of PEFT without its adapter_model.safetensors: copy it too',
    ),
  ],
)
def test_half_an_adapter_of_peft_is_called_so(files, message, tmp_path):
  for name in files:
    (tmp_path / name).write_bytes(b'')
  with pytest.raises(errors.InputError, match=message):
    weights.find_checkpoint(tmp_path)


def test_an_adapter_among_the_weights_of_a_model_is_refused(tmp_path):
  size = tiny.size()
  path = save_hf(tmp_path / 'hf', size, tiny.parameters(size, 0.2), shard=10**6)
  (path / 'adapter_config.json').write_text('{"peft_type": "LORA"}')
  (path / 'adapter_model.safetensors').write_bytes(b'')
  with pytest.raises(
    errors.InputError, match='more than one model, by adapter'
  ):
    weights.find_checkpoint(path)


@pytest.mark.parametrize('kind', ['hf', 'gemma', 'ours'])
def test_every_form_is_read_from_a_bucket(kind, bucket, tmp_path):
  size = families.GEMMA['gemma2']
  params = families.parameters(size)
  if kind == 'gemma':
    save_gemma(tmp_path / 'gemma', size, params, transposed=True)
  else:
    save_hf(tmp_path / 'hf', size, params)
  remote.upload(bucket, tmp_path / kind, 'gs://b/models/m')
  (tmp_path / 'tokenizer.model').write_bytes(b'')
  shutil.copy(tmp_path / 'tokenizer.model', bucket.local('gs://b/models'))
  found = weights.find_checkpoint('gs://b/models/m')
  assert found.size == size
  assert str(found.tokenizer) == 'gs://b/models/tokenizer.model'
  same(found.load(), params)
