"""Adapters out: folders that PEFT opens, and that come in here again."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from restpg_jax import errors, main, outcomes
from restpg_jax.io import checkpoints, records, weights
from tests.commands import adapters_here, exports
from tests.io.peft_folders import close

SIZE = exports.sizes()['llama']


@pytest.mark.parametrize('name', ['gemma2', 'llama'])
def test_adapters_go_out_and_come_in_as_the_same_weights(name, tmp_path):
  size = exports.sizes()[name]
  to = tmp_path / 'peft'
  source = adapters_here.exported(tmp_path / 'work', size, to)
  close(to, source)
  assert sorted(path.name for path in to.iterdir()) == [
    'README.md',
    'adapter_config.json',
    'adapter_model.safetensors',
    'chat_template.jinja',
    'tokenizer.json',
    'tokenizer.model',
    'tokenizer_config.json',
  ]
  text = (to / 'README.md').read_text()
  assert 'library_name: peft' in text
  assert 'peft.AutoPeftModelForCausalLM.from_pretrained(DIR)' in text


def test_the_file_is_as_peft_writes_it(tmp_path):
  to = tmp_path / 'peft'
  source = adapters_here.exported(tmp_path / 'work', SIZE, to, dtype='bfloat16')
  described = adapters_here.settings(to)
  assert described == {
    'peft_type': 'LORA',
    'task_type': 'CAUSAL_LM',
    'base_model_name_or_path': str(tmp_path / 'work' / 'hf'),
    'r': 4,
    'lora_alpha': 6,
    'lora_dropout': 0.0,
    'use_rslora': False,
    'target_modules': ['down_proj', 'o_proj', 'q_proj'],
    'bias': 'none',
    'fan_in_fan_out': False,
    'init_lora_weights': True,
    'inference_mode': True,
  }
  named = safetensors.numpy.load_file(to / 'adapter_model.safetensors')
  stem = 'base_model.model.model.layers.{}.{}.lora_{}.weight'
  modules = 'self_attn.q_proj', 'self_attn.o_proj', 'mlp.down_proj'
  assert named.keys() == {
    stem.format(n, module, part)
    for n in range(2)
    for module in modules
    for part in 'AB'
  }
  tree = checkpoints.load_tree(source / 'params')
  down = tree['layers']['feed_forward']['down']
  actual = named[stem.format(1, 'mlp.down_proj', 'A')]
  assert (actual.shape, actual.dtype.name) == ((4, 56), 'bfloat16')
  np.testing.assert_array_equal(actual, down['a'][1].T.astype('bfloat16'))
  actual = named[stem.format(1, 'mlp.down_proj', 'B')]
  np.testing.assert_array_equal(actual, down['b'][1].T.astype('bfloat16'))


def test_the_base_is_what_the_run_has_read_or_what_is_named(tmp_path):
  work = tmp_path / 'work'
  source = adapters_here.save(work, SIZE)
  base = work / 'base-1' / 'model'
  with pytest.raises(errors.InputError) as caught:
    exports.export(source, tmp_path / 'a', format='peft')
  message = str(caught.value)
  assert f'{base}: the base of {source} is in no form that PEFT' in message
  assert f'convert --from={base} --to=DIR) and give --base=DIR' in message
  exports.export(base, tmp_path / 'hf')
  records.write_json(
    base / 'model.json',
    records.read_json(base / 'model.json')
    | {'taken_from': str(tmp_path / 'hf')},
  )
  exports.export(source, tmp_path / 'b', format='peft')
  exports.export(source, tmp_path / 'c', format='peft', base='me/mine')
  assert [
    adapters_here.settings(tmp_path / n)['base_model_name_or_path']
    for n in 'bc'
  ] == [str(tmp_path / 'hf'), 'me/mine']
  other = exports.saved(tmp_path / 'other', exports.sizes()['gemma'])
  with pytest.raises(errors.InputError, match='which is of another size'):
    exports.export(source, tmp_path / 'd', format='peft', base=str(other))
  with pytest.raises(errors.InputError, match='in no form that PEFT opens'):
    exports.export(source, tmp_path / 'd', format='peft', base='not/an/org')
  assert not (tmp_path / 'd').exists()


def test_a_larger_model_is_reached_by_a_pattern(tmp_path):
  work, size = tmp_path / 'work', exports.sizes()['gemma3']
  outer = {'config.json': {'model_type': 'gemma3', 'vocab_size': 1024}}
  source = adapters_here.save(work, size, published=outer)
  whole = records.read_json(work / 'base-1/model/model.json')
  assert whole['published'] == outer
  exports.export(source, tmp_path / 'p', format='peft', base='google/gemma-x')
  described = adapters_here.settings(tmp_path / 'p')
  assert described['target_modules'] == (
    r'model\.language_model\.layers\.\d+\..*\.(down_proj|o_proj|q_proj)'
  )
  named = safetensors.numpy.load_file(
    tmp_path / 'p' / 'adapter_model.safetensors'
  )
  start = 'base_model.model.model.language_model.layers.'
  assert all(name.startswith(start) for name in named)
  both = tmp_path / 'p', str(work / 'base-1' / 'model')
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6),
    weights.find_checkpoint(*both).load(),
    weights.load_weights(source)[0],
  )


def test_what_was_chosen_goes_back_to_the_adapters_it_was_merged_of(tmp_path):
  work = tmp_path / 'work'
  source = adapters_here.save(work, SIZE)
  (work / 'methods').mkdir()
  chosen = work / 'sft' / 'choose-1'
  params, _ = weights.load_weights(source)
  checkpoints.save_model(chosen / 'model', params, SIZE, step=2)
  done = {
    'name': 'sft/choose',
    'cfg': {'tokenizer': 'tiny.spm.model'},
    'inputs': [{'path': 'sft/train-1', 'fingerprint': 'x'}],
    'summary': {'best_step': 2},
    'versions': {},
  }
  records.write_json(chosen / 'DONE.json', done)
  exports.export(work / 'base-1' / 'model', work / 'hf')
  exports.export(
    chosen, tmp_path / 'p', format='peft', base=str(work / 'hf'), tokenizer=''
  )
  close(tmp_path / 'p', source)


def test_weights_without_adapters_have_no_such_form(tmp_path):
  source = exports.saved(tmp_path / 'm', SIZE)
  with pytest.raises(errors.InputError, match='it has none; take --format=hf'):
    exports.export(source, tmp_path / 'p', format='peft')
  assert not (tmp_path / 'p').exists()


def test_an_adapter_of_peft_goes_out_merged(tmp_path, capsys):
  to = tmp_path / 'peft'
  source = adapters_here.exported(tmp_path / 'work', SIZE, to, base='a/name')
  flags = [f'--from={to}', f'--to={tmp_path / "whole"}']
  assert main.main(['convert', *flags]) == outcomes.BAD_INPUT
  assert 'its base a/name is no folder here' in capsys.readouterr().err
  base = f'--base={tmp_path / "work" / "hf"}'
  assert main.main(['convert', *flags, base]) == outcomes.DONE
  close(tmp_path / 'whole', source)
