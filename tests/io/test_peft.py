"""Facts about restpg_jax/io/peft.py: adapters of others, read with a base."""

import json
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from etils import epath

from restpg_jax import assets, config, errors
from restpg_jax.engines import input_files, model_size
from restpg_jax.io import checkpoints, fingerprints, peft_settings, weights
from restpg_jax.stages import base as base_stage
from tests.io import peft_folders
from tests.io.peft_folders import close

SIZE = peft_folders.SIZES['llama']


@pytest.fixture(scope='module')
def original(tmp_path_factory):
  folder = tmp_path_factory.mktemp('original')
  return peft_folders.save_base(folder / 'base', SIZE)


@pytest.fixture
def base(original, tmp_path):
  for name in ('base', 'ours'):
    shutil.copytree(original.parent / name, tmp_path / name)
  return tmp_path / 'base'


def adapter(base, names=('q_proj', 'down_proj'), rank=4, **changed):
  """An adapter of these modules, in a folder beside the base."""
  ranks = dict.fromkeys(peft_folders.modules(SIZE, names), rank)
  settings = {'target_modules': list(names), 'r': rank} | changed
  named = peft_folders.pairs(base, ranks)
  return peft_folders.save_adapter(base.parent / 'adapter', named, **settings)


def described(folder, **changed):
  """Changes settings of an adapter."""
  path = folder / 'adapter_config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | changed))
  return folder


@pytest.mark.parametrize('name', peft_folders.SIZES)
def test_an_adapter_is_read_as_its_base_and_the_product(name, tmp_path):
  size = peft_folders.SIZES[name]
  base = peft_folders.save_base(tmp_path / 'base', size)
  modules = peft_folders.modules(size, peft_folders.PROJECTIONS)
  named = peft_folders.pairs(base, dict.fromkeys(modules, 4))
  path = peft_folders.save_adapter(
    tmp_path / 'a', named, target_modules=list(peft_folders.PROJECTIONS)
  )
  scales = dict.fromkeys(modules, 2.0)  # 8 / 4
  close(path, peft_folders.merged(tmp_path / 'm', base, named, scales))
  found = weights.find_checkpoint(path)
  assert (found.form, found.path) == ('peft', path)
  assert found.published['config.json']['num_hidden_layers'] == size.layers


def test_ranks_and_alphas_of_single_modules_and_stabilised(base, tmp_path):
  q, k = 'model.layers.{}.self_attn.q_proj', 'model.layers.{}.self_attn.k_proj'
  ranks = {q.format(0): 9, q.format(1): 4, k.format(0): 4, k.format(1): 4}
  named = peft_folders.pairs(base, ranks)
  path = peft_folders.save_adapter(
    tmp_path / 'a',
    named,
    target_modules=['q_proj', 'k_proj'],
    use_rslora=True,
    rank_pattern={'layers.0.self_attn.q_proj': 9},
    alpha_pattern={r'layers\.\d+\.self_attn\.k_proj': 6, 'k_proj': 1},
  )
  # lora_alpha 8 / sqrt(9); 8 / sqrt(4); 6 / sqrt(4), the first that matches
  scales = dict(zip(ranks, (8 / 3, 4.0, 3.0, 3.0), strict=True))
  close(path, peft_folders.merged(tmp_path / 'm', base, named, scales))


@pytest.mark.parametrize(
  'settings, names, layers',
  [
    ({'target_modules': 'all-linear'}, peft_folders.PROJECTIONS, None),
    ({'target_modules': r'.*\.(q|v)_proj'}, ('q_proj', 'v_proj'), None),
    ({'target_modules': ['mlp.up_proj']}, ('up_proj',), None),
    (
      {'target_modules': ['q_proj', 'up_proj'], 'exclude_modules': 'm.*q_proj'},
      ('up_proj',),
      None,
    ),
    (
      {'target_modules': ['q_proj'], 'layers_to_transform': 1},
      ('q_proj',),
      [1],
    ),
    (
      {
        'target_modules': ['q_proj'],
        'layers_to_transform': [0],
        'layers_pattern': 'layers',
      },
      ('q_proj',),
      [0],
    ),
  ],
)
def test_which_modules_are_meant(settings, names, layers, base, tmp_path):
  modules = peft_folders.modules(SIZE, names, layers)
  named = peft_folders.pairs(base, dict.fromkeys(modules, 4))
  path = peft_folders.save_adapter(tmp_path / 'a', named, **settings)
  scales = dict.fromkeys(modules, 2.0)
  close(path, peft_folders.merged(tmp_path / 'm', base, named, scales))


@pytest.mark.parametrize(
  'outer', ['model.language_model.', 'language_model.model.']
)
def test_the_text_tower_of_a_larger_model(outer, base, tmp_path):
  modules = peft_folders.modules(SIZE, ['q_proj'])
  named = peft_folders.pairs(base, dict.fromkeys(modules, 4))
  picture = 'vision_tower.encoder.layers.0.self_attn.q_proj.lora_A.weight'
  path = peft_folders.save_adapter(
    tmp_path / 'a', named, outer, target_modules=r'.*language_model.*q_proj'
  )
  reader = peft_folders.safetensors.numpy
  file = path / 'adapter_model.safetensors'
  whole = reader.load_file(file)
  whole[f'base_model.model.model.{picture}'] = np.ones((4, 9), np.float32)
  reader.save_file(whole, file)
  scales = dict.fromkeys(modules, 2.0)
  close(path, peft_folders.merged(tmp_path / 'm', base, named, scales))


def test_half_precision_and_the_base_in_another_form(base, tmp_path):
  modules = peft_folders.modules(SIZE, ['v_proj'])
  named = peft_folders.pairs(
    base, dict.fromkeys(modules, 4), ml_dtypes.bfloat16
  )
  path = peft_folders.save_adapter(
    tmp_path / 'a',
    named,
    target_modules=['v_proj'],
    base_model_name_or_path=str(tmp_path / 'ours'),
  )
  scales = dict.fromkeys(modules, 2.0)
  close(path, peft_folders.merged(tmp_path / 'm', base, named, scales))


@pytest.mark.parametrize(
  'changed, message',
  [
    ({'peft_type': 'IA3'}, "peft_type='IA3' is not supported; plain LoRA of"),
    ({'use_dora': True}, 'use_dora=True is not supported; plain LoRA of'),
    ({'bias': 'lora_only'}, "bias='lora_only' is not supported"),
    ({'lora_bias': True}, 'lora_bias=True is not supported'),
    ({'modules_to_save': ['lm_head']}, r"modules_to_save=\['lm_head'\] is not"),
    ({'layer_replication': [[0, 2]]}, 'layer_replication=.* is not supported'),
    ({'target_parameters': ['x']}, 'target_parameters=.* is not supported'),
    ({'a_new_one': 3}, 'a_new_one=3 is not supported'),
    ({'init_lora_weights': 'pissa'}, "init_lora_weights='pissa' changes the"),
    ({'r': 0}, 'r=0 must be a whole number above 0'),
    ({'r': '4'}, "r='4' must be a whole number above 0"),
    ({'lora_alpha': 'x'}, "lora_alpha='x' must be a number"),
    ({'target_modules': None}, 'target_modules=None must be names, a pattern'),
    ({'target_modules': '(q'}, r"'\(q' is no pattern: "),
    ({'rank_pattern': {'q': 0}}, "rank_pattern={'q': 0} must be patterns with"),
    ({'rank_pattern': {'*': 2}}, r"'\*' is no pattern"),
  ],
)
def test_what_is_not_supported_is_named(changed, message, base):
  path = described(adapter(base), **changed)
  with pytest.raises(errors.InputError, match=message) as caught:
    weights.find_checkpoint(path)
  assert str(caught.value).startswith(f'{path}/adapter_config.json: ')
  assert '\n' not in str(caught.value)


def test_what_changes_nothing_is_let_pass(base, tmp_path):
  path = adapter(base, ['q_proj'])
  expected = shutil.copytree(path, tmp_path / 'plain')
  described(
    path,
    fan_in_fan_out=True,  # PEFT, too, sets it aside for these layers
    init_lora_weights='gaussian',
    megatron_core='megatron.core',
    loftq_config={},
    revision='main',
    peft_version='0.21.2',
  )
  close(path, expected)


@pytest.mark.parametrize(
  'name, message',
  [
    (None, 'it names no base; nothing is downloaded, give the folder of its'),
    ('google/gemma-2b', 'its base google/gemma-2b is no folder here; nothing'),
  ],
)
def test_without_its_base_or_with_one_that_is_given(
  name, message, base, tmp_path
):
  path = adapter(base)
  expected = shutil.copytree(path, tmp_path / 'plain')
  described(path, base_model_name_or_path=name)
  with pytest.raises(errors.InputError, match=message) as caught:
    weights.find_checkpoint(path)
  assert '--config.policy.base=DIR; of convert --base=DIR' in str(caught.value)
  found = weights.find_checkpoint(path, str(base))
  jax.tree.map(
    np.testing.assert_array_equal,
    found.load(),
    weights.load_weights(expected)[0],
  )
  assert model_size.model_size(str(path), str(base)) == SIZE
  assert model_size.context_length(path, str(base)) == 131_072
  with pytest.raises(errors.InputError, match='no such file or folder'):
    weights.find_checkpoint(path, 'not/there')


def test_another_base_is_refused_with_what_differs(base, tmp_path):
  path = adapter(base)
  other = tmp_path / 'other'
  other.mkdir()
  peft_folders.save_base(other / 'base', peft_folders.SIZES['gemma2'])
  with pytest.raises(errors.InputError) as caught:
    weights.find_checkpoint(path, str(other / 'base'))
  message = str(caught.value)
  assert f'adapter_config.json and the base {other / "base"}: ' in message
  assert 'q_proj.lora_A.weight is [4, 48], [4, 40] expected' in message
  assert 'layers.2.self_attn.q_proj.lora_A.weight is missing' in message
  with pytest.raises(errors.InputError, match='is an adapter itself; merge'):
    weights.find_checkpoint(
      described(path, base_model_name_or_path='../adapter')
    )
  with pytest.raises(errors.InputError, match='it is no adapter of PEFT and'):
    weights.find_checkpoint(base, str(base))


def test_tensors_without_a_module_and_modules_without_tensors(base):
  path = described(adapter(base), target_modules=['q_proj', 'up_proj'])
  with pytest.raises(errors.InputError) as caught:
    weights.find_checkpoint(path)
  message = str(caught.value)
  assert '8 tensors do not fit adapter_config.json' in message
  name = 'base_model.model.model.layers.0.mlp.{}_proj.lora_A.weight'
  assert f'{name.format("up")} is missing, [4, 48] expected' in message
  assert f'{name.format("down")} [4, 56] is unexpected' in message
  with pytest.raises(errors.InputError, match='is unexpected'):
    weights.find_checkpoint(described(path, target_modules=['gate']))


def test_adapters_of_an_embedding_are_refused(base):
  path = adapter(base)
  reader = peft_folders.safetensors.numpy
  file = path / 'adapter_model.safetensors'
  name = 'base_model.model.model.embed_tokens.lora_embedding_A'
  one = {name: np.ones((4, 90), np.float32)}
  reader.save_file(reader.load_file(file) | one, file)
  with pytest.raises(errors.InputError, match='of the embedding or the output'):
    weights.find_checkpoint(path)


def test_a_config_of_the_base_beside_it_does_no_harm(base):
  path = adapter(base)
  expected = weights.load_weights(path)[0]
  shutil.copy(base / 'config.json', path)
  jax.tree.map(
    np.testing.assert_array_equal, weights.load_weights(path)[0], expected
  )


def meaning(path, base=''):
  model = config.Model(str(path), base=base and str(base))
  found = fingerprints.meaning(model, input_files.READS)
  return {name: found[name] for name in ('checkpoint', 'base') if name in found}


def test_the_content_of_the_base_is_in_the_fingerprint(base, tmp_path):
  path = adapter(base)
  first = meaning(path)
  assert first.keys() == {'checkpoint'}  # as before there was a base
  moved = tmp_path / 'moved'
  moved.mkdir()
  for folder in (base, path):
    shutil.copytree(folder, moved / folder.name)
  assert meaning(moved / 'adapter') == first
  described(moved / 'adapter', lora_alpha=9)
  assert meaning(moved / 'adapter') != first
  named = meaning(path, base)
  assert named['checkpoint'] == first['checkpoint'] and 'base' in named
  with (base / 'model.safetensors').open('r+b') as file:
    file.seek(-1, 2)
    file.write(b'\x01')
  assert meaning(path)['checkpoint'] != first['checkpoint']
  assert meaning(path, base)['base'] != named['base']


def test_a_policy_starts_at_an_adapter_merged_with_its_base(tmp_path):
  base = assets.path('tiny_pt')
  modules = peft_folders.modules(model_size.model_size('tiny_pt'), ['q_proj'])
  named = {}
  for module in modules:
    named[f'{module}.lora_A.weight'] = np.full((1, 128), 0.5, np.float32)
    named[f'{module}.lora_B.weight'] = np.full((128, 1), 0.25, np.float32)
  path = peft_folders.save_adapter(
    tmp_path / 'a', named, target_modules=['q_proj'], r=1
  )
  out = epath.Path(tmp_path) / 'base-1'
  base_stage.load_base(
    out=out,
    cfg=config.Model(str(path), 'tiny.spm.model', base='tiny_pt'),
    layout=None,
  )
  whole, size = checkpoints.restore_model(out / 'model')
  begin, same = weights.load_weights(base)
  assert size == same
  q, q_base = (x['layers']['attention'].pop('q') for x in (whole, begin))
  np.testing.assert_allclose(q - q_base, 1.0, rtol=1e-5)  # 0.5 * 0.25 * 8 / 1
  jax.tree.map(np.testing.assert_array_equal, whole, begin)


def test_a_pattern_counts_from_a_dot():
  settings = peft_settings.Settings(
    *('', 4, 8.0, False, ('q_proj', 'model.layers.1.mlp.up_proj'), (), (), ()),
    ranks={'k_proj': 2, '0.self_attn.q_proj': 3},
    alphas={},
  )
  assert settings.reaches('model.layers.0.self_attn.q_proj')
  assert not settings.reaches('model.layers.0.self_attn.eq_proj')
  assert settings.reaches('model.layers.1.mlp.up_proj')
  assert not settings.reaches('model.layers.0.mlp.up_proj')
  assert settings.rank_of('model.layers.0.self_attn.q_proj') == 3
  assert settings.rank_of('model.layers.10.self_attn.q_proj') == 4
