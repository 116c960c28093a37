"""Weights out: folders that transformers and gemma open, whole or not there."""

import dataclasses
import json
import pathlib
import resource
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from restpg_jax import (
  assets,
  config,
  errors,
  main,
  outcomes,
  restpg,
)
from restpg_jax.commands import convert
from restpg_jax.engines import tokenizer_files
from restpg_jax.io import artifacts, checkpoints, records, weights
from restpg_jax.stages import base
from tests import pipeline, tiny
from tests.models import families
from tests.text import tokenizer_families

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / 'shared' / 'tokenizers'
TOKENIZER = assets.HERE / 'tiny.spm.model'
VOCABULARY = 1024
TEXTS = (
  'The children need a room heater, my "friend".',
  '  two  blanks and   three\n\n\nb\t\tc ',
  'Numbers: 10 2024 3.14',
  'caf\u00e9 \ufb01 \uff21 \u6f22\u5b57 \U0001f642',
  'def f(x):\n        return x\n',
  '',
)


def sizes():
  """One of each family, with room for the bundled tokenizer."""
  return {
    name: dataclasses.replace(size, vocabulary=VOCABULARY)
    for name, size in families.ALL.items()
  }


def saved(path, size):
  checkpoints.save_model(path, families.parameters(size), size)
  return path


def export(source, to, **flags):
  tokenizer = flags.pop('tokenizer', str(TOKENIZER))
  return convert.convert_policy(
    config.ConvertArgs(str(source), str(to), tokenizer=tokenizer, **flags)
  )


def same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize('name', families.ALL)
def test_to_hugging_face_and_back_bit_for_bit(name, tmp_path):
  size = sizes()[name]
  source = saved(tmp_path / 'm', size)
  export(source, tmp_path / 'hf')
  params, found = weights.load_weights(tmp_path / 'hf')
  assert found == size
  same(params, families.parameters(size))
  # once more, from there, in a smaller type and back
  export(tmp_path / 'hf', tmp_path / 'bf16', dtype='bfloat16')
  export(tmp_path / 'bf16', tmp_path / 'again', dtype='float32')
  rounded = jax.tree.map(lambda x: x.astype('bfloat16'), params)
  same(weights.load_weights(tmp_path / 'bf16', 'bfloat16')[0], rounded)
  same(weights.load_weights(tmp_path / 'again', 'bfloat16')[0], rounded)


def test_the_name_of_the_folder_is_no_pattern(tmp_path):
  size = sizes()['gemma']
  source = saved(tmp_path / '[m]', size)
  for to, form in (('a[1]b', 'gemma'), ('c[1]d', 'hf'), ('c\\d', 'hf')):
    export(source, tmp_path / to, format=form)
    same(weights.load_weights(tmp_path / to)[0], families.parameters(size))


def test_a_path_that_orbax_cannot_write_to_is_refused_at_once(tmp_path):
  source = saved(tmp_path / 'm', sizes()['gemma'])
  with pytest.raises(errors.InputError, match='a backslash'):
    export(source, tmp_path / 'a\\b', format='gemma')
  assert list(tmp_path.iterdir()) == [source]


@pytest.mark.slow
@pytest.mark.parametrize('name', families.GEMMA)
def test_to_deepmind_and_back_bit_for_bit(name, tmp_path):
  size = sizes()[name]
  source = saved(tmp_path / 'm', size)
  export(source, tmp_path / 'gemma', format='gemma')
  params, found = weights.load_weights(tmp_path / 'gemma')
  assert found == size
  same(params, families.parameters(size))


@pytest.mark.slow
def test_rows_of_padding_are_cut_and_come_back_as_zeros(tmp_path):
  size = tiny.size(vocabulary=256_128, width=8, hidden=8, head_size=4)
  params = tiny.parameters(size, 0.2)
  checkpoints.save_model(tmp_path / 'm', params, size)
  export(tmp_path / 'm', tmp_path / 'hf')
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
  export(tmp_path / 'hf', tmp_path / 'gemma', format='gemma')
  tree = checkpoints.CheckpointTree(tmp_path / 'gemma')
  shape = tree.shapes['transformer/embedder/input_embedding']
  assert shape == (256_128, 8)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gemma', 'gemma3_full_heads'])
def test_the_gemma_package_loads_it(name, tmp_path):
  size = sizes()[name]
  params = families.parameters(size)
  export(saved(tmp_path / 'm', size), tmp_path / 'gemma', format='gemma')
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
  (folder / 'tokenizer.model').write_bytes(TOKENIZER.read_bytes())
  for name in ('tokenizer.json', 'tokenizer_config.json'):
    (folder / name).write_text(f'{{"the": "original {name}"}}')
  (folder / 'chat_template.jinja').write_text('{{ messages }}')
  source = saved(tmp_path / 'm', sizes()['gemma'])
  export(source, tmp_path / 'hf', tokenizer=str(folder))
  for name in ('tokenizer.json', 'chat_template.jinja'):
    assert (tmp_path / 'hf' / name).read_text() == (folder / name).read_text()


def test_a_tokenizer_json_goes_along_under_its_own_name(tmp_path):
  content, notes = tokenizer_families.made('gemma_bpe')
  (tmp_path / 'my.json').write_bytes(content)
  eos = {'eos_token': '<eos>'}
  (tmp_path / 'special_tokens_map.json').write_text(json.dumps(eos))
  (tmp_path / 'chat_template.jinja').write_text('{{ messages }}')
  source = saved(tmp_path / 'm', sizes()['gemma'])
  for form in ('hf', 'gemma'):
    out = tmp_path / form
    export(source, out, tokenizer=str(tmp_path / 'my.json'), format=form)
    assert (out / 'tokenizer.json').read_bytes() == content
    assert not (out / 'tokenizer.model').exists()
    assert read(out / 'special_tokens_map.json') == eos
    found, tokenizer = tokenizer_files.find_model(out, str(out))
    assert found.tokenizer == out / 'tokenizer.json'
    assert tokenizer.eos == 1 and tokenizer.pad is None
  assert (tmp_path / 'hf/chat_template.jinja').exists()
  assert read(tmp_path / 'hf/tokenizer_config.json') == {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'eos_token': '<eos>',
  }
  assert read(tmp_path / 'hf/generation_config.json') == {'eos_token_id': 1}


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
  source = saved(tmp_path / 'm', sizes()['llama'])
  with pytest.raises(errors.InputError, match='no place there'):
    export(source, tmp_path / 'out', format='gemma')
  assert not list(tmp_path.glob('out*'))


@pytest.mark.parametrize('format', ['hf', 'gemma'])
def test_a_full_disk_leaves_no_folder(format, tmp_path):
  source = saved(tmp_path / 'm', sizes()['gemma'])
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
  try:
    with pytest.raises(Exception, match='(?i)file'):
      export(source, tmp_path / 'out', format=format)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert not (tmp_path / 'out').exists()
  export(source, tmp_path / 'out', format=format)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['m', 'out']


def test_what_a_killed_export_left_is_replaced(tmp_path):
  (tmp_path / 'out.partial').mkdir()
  (tmp_path / 'out.partial' / 'half.safetensors').write_text('')
  (tmp_path / 'out').mkdir()  # empty: may be filled
  source = saved(tmp_path / 'm', sizes()['gemma'])
  export(source, tmp_path / 'out')
  assert not (tmp_path / 'out' / 'half.safetensors').exists()
  assert not (tmp_path / 'out.partial').exists()


ODD_CONFIG = {
  'max_position_embeddings': 2048,
  'eos_token_id': [1, 5],
  'initializer_range': 0.03,
  'attention_dropout': 0.125,
  'use_cache': False,
}
ODD_GENERATION = {
  'bos_token_id': 2,
  'eos_token_id': [1, 5],
  'pad_token_id': 0,
  'do_sample': True,
  'top_k': 64,
  'top_p': 0.95,
}


def read(path):
  return json.loads(path.read_text())


def odd_base(path):
  """The bundled base as a Hugging Face folder that says more of itself."""
  export('tiny_pt', path)
  for name, more in (
    ('config.json', ODD_CONFIG),
    ('generation_config.json', ODD_GENERATION),
  ):
    (path / name).write_text(json.dumps(read(path / name) | more))
  return path


@pytest.mark.slow
def test_a_policy_goes_out_with_what_its_base_came_with(tmp_path):
  came = odd_base(tmp_path / 'came')
  cfg = pipeline.small(methods=('sft',))
  cfg.policy.checkpoint = str(came)
  with pytest.raises(artifacts.Until):
    restpg.run_methods(cfg, tmp_path / 'work', until='sft')
  before = [read(came / n) for n in ('config.json', 'generation_config.json')]
  shutil.rmtree(came)
  for n, pattern in enumerate(('base-*', 'sft/train-*', 'sft/choose-*')):
    (stage,) = (tmp_path / 'work').glob(pattern)
    out = tmp_path / f'out{n}'
    export(stage, out)
    after = [read(out / n) for n in ('config.json', 'generation_config.json')]
    assert after == before, pattern


def test_an_older_run_takes_it_from_its_base_if_that_is_there(
  workdir, tmp_path
):
  came = odd_base(tmp_path / 'came')
  policy = workdir / 'sft' / 'choose-a'
  params, size = weights.load_weights(came)
  checkpoints.save_model(policy / 'model', params, size)
  done = records.read_json(policy / 'DONE.json')
  done['cfg']['tokenizer']['checkpoint'] = str(came)
  records.write_json(policy / 'DONE.json', done)
  export(policy, tmp_path / 'with')
  assert read(tmp_path / 'with/config.json') == read(came / 'config.json')
  shutil.rmtree(came)
  export(policy, tmp_path / 'without')
  described = read(tmp_path / 'without/config.json')
  assert described['max_position_embeddings'] == 8192
  assert described['eos_token_id'] == 1


def test_a_policy_ends_with_the_token_that_it_was_trained_to_end_with(tmp_path):
  came = odd_base(tmp_path / 'came')
  other = {'eos_token_id': 5}
  for name in ('config.json', 'generation_config.json'):
    (came / name).write_text(json.dumps(read(came / name) | other))
  base.load_base(
    out=tmp_path / 'base',
    cfg=config.Model(str(came), 'tiny.spm.model'),
    layout=tiny.layout(),
  )
  export(tmp_path / 'base' / 'model', tmp_path / 'policy')
  for name in ('config.json', 'generation_config.json'):
    assert read(tmp_path / 'policy' / name)['eos_token_id'] == [5, 1]
  export(came, tmp_path / 'converted')
  assert read(tmp_path / 'converted/config.json')['eos_token_id'] == 5


def test_a_head_of_its_own_goes_out_as_one(tmp_path):
  came = odd_base(tmp_path / 'came')
  params, size = weights.load_weights(came)
  untied = dataclasses.replace(size, tied=False)
  head = params['embedding'] + 1
  checkpoints.save_model(tmp_path / 'm', params | {'head': head}, untied)
  export(tmp_path / 'm', tmp_path / 'two')
  described = read(tmp_path / 'two/config.json') | {'tie_word_embeddings': True}
  (tmp_path / 'two/config.json').write_text(json.dumps(described))
  export(tmp_path / 'two', tmp_path / 'out')
  assert not read(tmp_path / 'out/config.json')['tie_word_embeddings']
  np.testing.assert_array_equal(
    weights.load_weights(tmp_path / 'out')[0]['head'], head
  )


def test_a_chat_template_is_kept_where_the_rest_must_be_made(tmp_path):
  folder = tmp_path / 'came'
  folder.mkdir()
  (folder / 'tokenizer.model').write_bytes(TOKENIZER.read_bytes())
  slow = {'tokenizer_class': 'GemmaTokenizer', 'chat_template': '{{ bos }}'}
  (folder / 'tokenizer_config.json').write_text(json.dumps(slow))
  source = saved(tmp_path / 'm', sizes()['gemma'])
  export(source, tmp_path / 'hf', tokenizer=str(folder))
  made = read(tmp_path / 'hf/tokenizer_config.json')
  assert made['chat_template'] == '{{ bos }}'
  assert made['tokenizer_class'] == 'PreTrainedTokenizerFast'
  assert (tmp_path / 'hf/tokenizer.json').exists()


@pytest.mark.parametrize('format', ['hf', 'gemma'])
def test_an_export_to_a_bucket_is_the_one_to_a_disk(
  format, bucket, tmp_path, monkeypatch
):
  source = saved(tmp_path / 'm', sizes()['gemma'])
  export(source, tmp_path / 'here', format=format)
  copies, copy = [], bucket.copy

  def noted(path, to, overwrite=False):
    copies.append(str(to))
    copy(path, to, overwrite)

  monkeypatch.setattr(bucket, 'copy', noted)
  export(source, 'gs://b/out/there', format=format)
  there = pathlib.Path(bucket.local('gs://b/out/there'))
  assert [p.name for p in there.parent.iterdir()] == ['there']
  # Without this file nothing of it is read: it comes when all else is there.
  last = {'hf': 'config.json', 'gemma': '_METADATA'}[format]
  assert copies[-1] == f'gs://b/out/there/{last}'
  params, size = weights.load_weights('gs://b/out/there')
  same(params, weights.load_weights(tmp_path / 'here')[0])
  with pytest.raises(errors.InputError, match='is there already'):
    export(source, 'gs://b/out/there', format=format)


def test_an_export_to_a_bucket_that_fails_leaves_nothing(
  bucket, tmp_path, monkeypatch
):
  source = saved(tmp_path / 'm', sizes()['gemma'])
  copy = bucket.copy

  def full(path, to, overwrite=False):
    if str(to).endswith('README.md'):
      raise OSError('no space left')
    copy(path, to, overwrite)

  monkeypatch.setattr(bucket, 'copy', full)
  with pytest.raises(OSError, match='no space left'):
    export(source, 'gs://b/out')
  assert not pathlib.Path(bucket.local('gs://b/out')).exists()


def test_an_export_from_a_bucket_takes_its_tokenizer_along(bucket, tmp_path):
  export(saved(tmp_path / 'm', sizes()['gemma']), 'gs://b/m')
  export('gs://b/m', tmp_path / 'out', tokenizer='')
  assert (tmp_path / 'out/tokenizer.model').read_bytes() == (
    TOKENIZER.read_bytes()
  )


def test_a_tokenizer_json_of_other_pieces_is_not_taken_along(tmp_path):
  source = saved(tmp_path / 'm', sizes()['gemma'])
  export(source, tmp_path / 'hf')
  path = tmp_path / 'hf' / 'tokenizer.json'
  content = read(path)
  vocab = content['model']['vocab']
  vocab[600], vocab[601] = vocab[601], vocab[600]
  path.write_text(json.dumps(content))
  with pytest.raises(errors.InputError, match='tokenizer.json beside it disag'):
    export(tmp_path / 'hf', tmp_path / 'out', tokenizer='')
