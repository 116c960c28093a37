"""Weights out: folders that transformers and gemma open, whole or not there."""

import json
import pathlib
import resource
import subprocess
import sys

import jax
import numpy as np
import pytest

from restpg_jax import (
  errors,
  main,
  outcomes,
)
from restpg_jax.engines import tokenizer_files
from restpg_jax.io import checkpoints, weights
from tests import tiny
from tests.commands import exports
from tests.models import families
from tests.text import tokenizer_families

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / 'shared' / 'tokenizers'
TEXTS = (
  'The children need a room heater, my "friend".',
  '  two  blanks and   three\n\n\nb\t\tc ',
  'Numbers: 10 2024 3.14',
  'caf\u00e9 \ufb01 \uff21 \u6f22\u5b57 \U0001f642',
  'def f(x):\n        return x\n',
  '',
)


def same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize('name', families.ALL)
def test_to_hugging_face_and_back_bit_for_bit(name, tmp_path):
  size = exports.sizes()[name]
  source = exports.saved(tmp_path / 'm', size)
  exports.export(source, tmp_path / 'hf')
  params, found = weights.load_weights(tmp_path / 'hf')
  assert found == size
  same(params, families.parameters(size))
  # once more, from there, in a smaller type and back
  exports.export(tmp_path / 'hf', tmp_path / 'bf16', dtype='bfloat16')
  exports.export(tmp_path / 'bf16', tmp_path / 'again', dtype='float32')
  rounded = jax.tree.map(lambda x: x.astype('bfloat16'), params)
  same(weights.load_weights(tmp_path / 'bf16', 'bfloat16')[0], rounded)
  same(weights.load_weights(tmp_path / 'again', 'bfloat16')[0], rounded)


def test_the_name_of_the_folder_is_no_pattern(tmp_path):
  size = exports.sizes()['gemma']
  source = exports.saved(tmp_path / '[m]', size)
  for to, form in (('a[1]b', 'gemma'), ('c[1]d', 'hf'), ('c\\d', 'hf')):
    exports.export(source, tmp_path / to, format=form)
    same(weights.load_weights(tmp_path / to)[0], families.parameters(size))


def test_a_path_that_orbax_cannot_write_to_is_refused_at_once(tmp_path):
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  with pytest.raises(errors.InputError, match='a backslash'):
    exports.export(source, tmp_path / 'a\\b', format='gemma')
  assert list(tmp_path.iterdir()) == [source]


@pytest.mark.slow
@pytest.mark.parametrize('name', families.GEMMA)
def test_to_deepmind_and_back_bit_for_bit(name, tmp_path):
  size = exports.sizes()[name]
  source = exports.saved(tmp_path / 'm', size)
  exports.export(source, tmp_path / 'gemma', format='gemma')
  params, found = weights.load_weights(tmp_path / 'gemma')
  assert found == size
  same(params, families.parameters(size))


@pytest.mark.slow
def test_rows_of_padding_are_cut_and_come_back_as_zeros(tmp_path):
  size = tiny.size(vocabulary=256_128, width=8, hidden=8, head_size=4)
  params = tiny.parameters(size, 0.2)
  checkpoints.save_model(tmp_path / 'm', params, size)
  exports.export(tmp_path / 'm', tmp_path / 'hf')
  described = json.loads((tmp_path / 'hf' / 'config.json').read_text())
  assert described['vocab_size'] == 256_000
  again, found = weights.load_weights(tmp_path / 'hf')
  assert found == size
  table = np.array(params['embedding'])
  table[256_000:] = 0
  np.testing.assert_array_equal(again['embedding'], table)
  # Published by Hugging Face, it has no padding, until it goes to DeepMind.
  del described['restpg_jax']
  (tmp_path / 'hf' / 'config.json').write_text(json.dumps(described))
  assert weights.find_checkpoint(tmp_path / 'hf').size.vocabulary == 256_000
  exports.export(tmp_path / 'hf', tmp_path / 'gemma', format='gemma')
  tree = checkpoints.CheckpointTree(tmp_path / 'gemma')
  shape = tree.shapes['transformer/embedder/input_embedding']
  assert shape == (256_128, 8)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gemma', 'gemma3_full_heads'])
def test_the_gemma_package_loads_it(name, tmp_path):
  size = exports.sizes()[name]
  params = families.parameters(size)
  exports.export(
    exports.saved(tmp_path / 'm', size), tmp_path / 'gemma', format='gemma'
  )
  subprocess.run(
    [
      *(sys.executable, '-m', 'tests.commands.gemma_reader'),
      *(tmp_path / 'gemma', tmp_path / 'found.npz'),
    ],
    cwd=ROOT,
    check=True,
  )
  found = np.load(tmp_path / 'found.npz')
  D, H = size.width, size.head_size
  attention = params['layers']['attention']
  q = attention['q'][1].reshape(D, size.heads, H).transpose(1, 0, 2)
  v = attention['v'][1].reshape(D, size.kv_heads, H).transpose(1, 0, 2)
  if size.heads == size.kv_heads:
    qkv = found['layer_1/attn/qkv_einsum/w']
    np.testing.assert_array_equal(qkv[0], q)
    np.testing.assert_array_equal(qkv[2], v)
  else:
    np.testing.assert_array_equal(found['layer_1/attn/q_einsum/w'], q)
    np.testing.assert_array_equal(found['layer_1/attn/kv_einsum/w'][1], v)
  gate = params['layers']['feed_forward']['gate'][1]
  np.testing.assert_array_equal(
    found['layer_1/mlp/gating_einsum'][0],
    gate.T if name == 'gemma3_full_heads' else gate,
  )
  np.testing.assert_array_equal(
    found['embedder/input_embedding'], params['embedding']
  )


def test_files_that_came_with_a_tokenizer_are_kept(tmp_path):
  folder = tmp_path / 'came'
  folder.mkdir()
  (folder / 'tokenizer.model').write_bytes(exports.TOKENIZER.read_bytes())
  for name in ('tokenizer.json', 'tokenizer_config.json'):
    (folder / name).write_text(f'{{"the": "original {name}"}}')
  (folder / 'chat_template.jinja').write_text('{{ messages }}')
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  exports.export(source, tmp_path / 'hf', tokenizer=str(folder))
  for name in ('tokenizer.json', 'chat_template.jinja'):
    assert (tmp_path / 'hf' / name).read_text() == (folder / name).read_text()


def test_a_tokenizer_json_goes_along_under_its_own_name(tmp_path):
  content, notes = tokenizer_families.made('gemma_bpe')
  (tmp_path / 'my.json').write_bytes(content)
  eos = {'eos_token': '<eos>'}
  (tmp_path / 'special_tokens_map.json').write_text(json.dumps(eos))
  (tmp_path / 'chat_template.jinja').write_text('{{ messages }}')
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  for form in ('hf', 'gemma'):
    out = tmp_path / form
    exports.export(
      source, out, tokenizer=str(tmp_path / 'my.json'), format=form
    )
    assert (out / 'tokenizer.json').read_bytes() == content
    assert not (out / 'tokenizer.model').exists()
    assert exports.read(out / 'special_tokens_map.json') == eos
    found, tokenizer = tokenizer_files.find_model(out, str(out))
    assert found.tokenizer == out / 'tokenizer.json'
    assert tokenizer.eos == 1 and tokenizer.pad is None
  assert (tmp_path / 'hf/chat_template.jinja').exists()
  assert exports.read(tmp_path / 'hf/tokenizer_config.json') == {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'eos_token': '<eos>',
  }
  assert exports.read(tmp_path / 'hf/generation_config.json') == {
    'eos_token_id': [1, 5]  # <end_of_turn> ends a text, too
  }


def test_the_command_and_its_card(workdir, tmp_path, capsys):
  flags = ['--format=hf', '--dtype=bfloat16', '--method=rest_pg']
  to = tmp_path / 'policy'
  assert (
    main.main(['convert', f'--from={workdir}', f'--to={to}', *flags])
    == outcomes.DONE
  )
  said = capsys.readouterr().out
  assert said == (f'{to}: hf, bfloat16, of {workdir}/m_step1/choose-b/model\n')
  assert sorted(path.name for path in to.iterdir()) == [
    'README.md',
    'chat_template.jinja',
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer.model',
    'tokenizer_config.json',
  ]
  text = (to / 'README.md').read_text()
  for line in (
    'library_name: transformers',
    '# rest_pg, iteration 1',
    '* data: synthetic users (restpg_jax/data/world.py), not LongLaMP',
    '| | email_generation | macro 1 |',
    '| reward | 0.5000 ± 0.125 | 0.5000 ± 0.125 |',
    '| rouge1 | 0.2500 | 0.2500 |',
    '* best step: 7',
    '* jax: 0.0.1',
    '## Prompt',
  ):
    assert line in text.splitlines()
  assert str(tmp_path) not in text


@pytest.mark.parametrize(
  'flags, said',
  [
    (['--to=x'], 'convert needs --from'),
    (['--from=tiny_pt'], 'convert needs --from'),
    (['--from=tiny_pt', '--to=x'], 'give --tokenizer=FILE'),
    (['--from=tiny_pt', '--to=x', '--format=onnx'], '--format=onnx: known are'),
    (['--from=tiny_pt', '--to=x', '--dtype=int8'], '--dtype=int8: known are'),
    (['--from=none', '--to=x'], 'none: no such file or folder'),
    (['--from=tiny_pt', '--to=full'], 'full is there already'),
  ],
)
def test_bad_flags(flags, said, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'something').write_text('')
  assert main.main(['convert', *flags]) == outcomes.BAD_INPUT
  assert said in capsys.readouterr().err
  assert sorted(p.name for p in tmp_path.iterdir()) == ['full']


def test_flags_of_convert_belong_to_it(tmp_path, capsys):
  assert main.main(['run', f'--workdir={tmp_path}', '--to=x']) == 2
  assert 'belong to the verb convert' in capsys.readouterr().err


def test_a_llama_has_no_gemma_form(tmp_path):
  source = exports.saved(tmp_path / 'm', exports.sizes()['llama'])
  with pytest.raises(errors.InputError, match='no place there'):
    exports.export(source, tmp_path / 'out', format='gemma')
  assert not list(tmp_path.glob('out*'))


@pytest.mark.parametrize('format', ['hf', 'gemma'])
def test_a_full_disk_leaves_no_folder(format, tmp_path):
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
  try:
    with pytest.raises(Exception, match='(?i)file'):
      exports.export(source, tmp_path / 'out', format=format)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert not (tmp_path / 'out').exists()
  exports.export(source, tmp_path / 'out', format=format)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['m', 'out']


def test_what_a_killed_export_left_is_replaced(tmp_path):
  (tmp_path / 'out.partial').mkdir()
  (tmp_path / 'out.partial' / 'half.safetensors').write_text('')
  (tmp_path / 'out').mkdir()  # empty: may be filled
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  exports.export(source, tmp_path / 'out')
  assert not (tmp_path / 'out' / 'half.safetensors').exists()
  assert not (tmp_path / 'out.partial').exists()


@pytest.mark.parametrize('format', ['hf', 'gemma'])
def test_an_export_to_a_bucket_is_the_one_to_a_disk(
  format, bucket, tmp_path, monkeypatch
):
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  exports.export(source, tmp_path / 'here', format=format)
  copies, copy = [], bucket.copy

  def noted(path, to, overwrite=False):
    copies.append(str(to))
    copy(path, to, overwrite)

  monkeypatch.setattr(bucket, 'copy', noted)
  exports.export(source, 'gs://b/out/there', format=format)
  there = pathlib.Path(bucket.local('gs://b/out/there'))
  assert [p.name for p in there.parent.iterdir()] == ['there']
  # Without this file nothing of it is read: it comes when all else is there.
  last = {'hf': 'config.json', 'gemma': '_METADATA'}[format]
  assert copies[-1] == f'gs://b/out/there/{last}'
  params, size = weights.load_weights('gs://b/out/there')
  same(params, weights.load_weights(tmp_path / 'here')[0])
  with pytest.raises(errors.InputError, match='is there already'):
    exports.export(source, 'gs://b/out/there', format=format)


def test_an_export_to_a_bucket_that_fails_leaves_nothing(
  bucket, tmp_path, monkeypatch
):
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  copy = bucket.copy

  def full(path, to, overwrite=False):
    if str(to).endswith('README.md'):
      raise OSError('no space left')
    copy(path, to, overwrite)

  monkeypatch.setattr(bucket, 'copy', full)
  with pytest.raises(OSError, match='no space left'):
    exports.export(source, 'gs://b/out')
  assert not pathlib.Path(bucket.local('gs://b/out')).exists()


def test_an_export_from_a_bucket_takes_its_tokenizer_along(bucket, tmp_path):
  exports.export(
    exports.saved(tmp_path / 'm', exports.sizes()['gemma']), 'gs://b/m'
  )
  exports.export('gs://b/m', tmp_path / 'out', tokenizer='')
  assert (tmp_path / 'out/tokenizer.model').read_bytes() == (
    exports.TOKENIZER.read_bytes()
  )


def test_a_tokenizer_json_of_other_pieces_is_not_taken_along(tmp_path):
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  exports.export(source, tmp_path / 'hf')
  path = tmp_path / 'hf' / 'tokenizer.json'
  content = json.loads(path.read_text())
  vocab = content['model']['vocab']
  vocab[600], vocab[601] = vocab[601], vocab[600]
  path.write_text(json.dumps(content))
  with pytest.raises(errors.InputError, match='tokenizer.json beside it disag'):
    exports.export(tmp_path / 'hf', tmp_path / 'out', tokenizer='')
