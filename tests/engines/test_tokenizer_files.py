"""Facts about restpg_jax/engines/tokenizer_files.py: which file is read, and
whether it belongs to the weights."""

import dataclasses
import json
import os

import pytest

from restpg_jax import assets, config, errors
from restpg_jax.engines import input_files, tokenizer_files
from restpg_jax.io import checkpoints, fingerprints
from restpg_jax.stages import reason
from tests import tiny
from tests.text import tokenizer_families

SENTENCEPIECE = assets.HERE / 'tiny.spm.model'


def write(folder, name='gemma_unigram', rows=1024):
  """A model folder with a tokenizer.json and its notes."""
  size = tiny.size(vocabulary=rows)
  checkpoints.save_model(folder, tiny.parameters(size, 0.2), size)
  content, notes = tokenizer_families.made(name)
  (folder / 'tokenizer.json').write_bytes(content)
  for note, value in notes.items():
    (folder / note).write_text(json.dumps(value))
  return folder


@pytest.fixture
def folder(tmp_path):
  return write(tmp_path / 'm')


def test_a_folder_or_its_file_is_read(folder):
  for name in (folder, folder / 'tokenizer.json'):
    checkpoint, tokenizer = tokenizer_files.find_model(folder, str(name))
    assert checkpoint.tokenizer == folder / 'tokenizer.json'
    assert (tokenizer.vocab_size, tokenizer.eos) == (1024, 1)


def test_of_both_files_the_sentencepiece_file_is_read(folder):
  (folder / 'tokenizer.model').write_bytes(SENTENCEPIECE.read_bytes())
  file = tokenizer_files.tokenizer_file(folder)
  assert file == folder / 'tokenizer.model'
  (folder / 'tokenizer_config.json').write_text('{}')  # is not looked at
  assert tokenizer_files.find_model(folder, str(folder))[1].eos == 1


@pytest.mark.parametrize('own', ['tokenizer.model', 'tokenizer.json'])
def test_a_file_of_the_other_kind_must_have_the_same_pieces(own, tmp_path):
  json_file = write(tmp_path / 'm') / 'tokenizer.json'
  other = tmp_path / 'other'
  names = {'tokenizer.model': SENTENCEPIECE, 'tokenizer.json': json_file}
  if own == 'tokenizer.model':
    json_file = json_file.rename(tmp_path / 'tokenizer.json')
    config_file = tmp_path / 'm/tokenizer_config.json'
    config_file.rename(tmp_path / config_file.name)
    (tmp_path / 'm' / own).write_bytes(SENTENCEPIECE.read_bytes())
    other = json_file
  else:
    other = names['tokenizer.model']
  tokenizer_files.find_model(tmp_path / 'm', str(other))
  spec = json.loads(json_file.read_bytes())
  vocab = spec['model']['vocab']
  vocab[600], vocab[601] = vocab[601], vocab[600]
  json_file.write_text(json.dumps(spec))
  with pytest.raises(errors.InputError) as e:
    tokenizer_files.find_model(tmp_path / 'm', str(other))
  assert 'and the tokenizer that came with the weights disagree' in str(e.value)
  assert str(e.value).endswith(f'give {tmp_path}/m/{own} as their tokenizer')


def test_two_of_tokenizer_json_must_have_the_same_pieces(folder, tmp_path):
  other = write(tmp_path / 'other', 'llama3')
  with pytest.raises(errors.InputError) as e:
    tokenizer_files.find_model(folder, str(other))
  assert str(e.value).startswith(f'{other} has 397 pieces, but the tokenizer')


def test_a_tokenizer_with_more_ids_than_rows_is_refused(tmp_path):
  path = write(tmp_path / 'm', 'llama3', rows=300)
  with pytest.raises(errors.InputError) as e:
    tokenizer_files.find_model(path, str(path))
  assert str(e.value) == (
    f'{path}/tokenizer.json needs 393 rows of the embedding but the model has '
    '300; they do not belong together'
  )


def test_a_file_that_is_none_is_one_line(folder):
  (folder / 'tokenizer.json').write_text('{"version"')
  with pytest.raises(errors.InputError) as e:
    tokenizer_files.find_model(folder, str(folder))
  assert str(e.value) == (
    f'{folder}/tokenizer.json: no usable tokenizer.json: no tokenizer.json or '
    'a damaged one; the file may be cut short: copy or download it again'
  )


def test_notes_that_are_damaged_are_named(folder):
  (folder / 'tokenizer_config.json').write_text('[]')
  with pytest.raises(errors.InputError) as e:
    tokenizer_files.read_tokenizer(folder)
  assert str(e.value).startswith(
    f'{folder}/tokenizer_config.json: no JSON object'
  )


def test_a_folder_without_a_tokenizer_is_told_what_is_read(tmp_path):
  with pytest.raises(errors.InputError) as e:
    tokenizer_files.read_tokenizer(tmp_path)
  assert str(e.value) == (
    f'{tmp_path}: it has neither tokenizer.model nor tokenizer.json; give a '
    "tokenizer's file"
  )


def test_it_is_read_from_a_bucket(bucket):
  content, notes = tokenizer_families.made('qwen')
  os.makedirs(bucket.local('gs://x'))
  files = {'tokenizer.json': content}
  files |= {note: json.dumps(v).encode() for note, v in notes.items()}
  for name, value in files.items():
    with open(bucket.local(f'gs://x/{name}'), 'wb') as file:
      file.write(value)
  tokenizer = tokenizer_files.read_tokenizer('gs://x')
  assert tokenizer.piece(tokenizer.eos) == '<|im_end|>'


def content(name, field='tokenizer'):
  cfg = dataclasses.replace(config.Model(), **{field: str(name)})
  return fingerprints.meaning(cfg, input_files.READS)[field]['content']


def test_a_tokenizer_json_counts_with_its_notes_by_folder_or_file(folder):
  names = folder, folder / 'tokenizer.json'
  before = [content(name) for name in names]
  for file in ('tokenizer.json', 'tokenizer_config.json'):
    held = (folder / file).read_bytes()
    (folder / file).write_bytes(held + b' ')
    for name, digest in zip(names, before, strict=True):
      assert content(name) != digest
    (folder / file).write_bytes(held)
  (folder / 'notes.txt').write_text('of a person')
  (folder / 'README.md').write_text('of a person')
  assert [content(name) for name in names] == before


def test_weights_count_without_the_tokenizer_json_beside_them(folder):
  before = content(folder, 'checkpoint')
  (folder / 'tokenizer.json').write_text('another')
  assert content(folder, 'checkpoint') == before


def test_a_tokenizer_file_alone_counts_as_ever(tmp_path):
  path = tmp_path / 'x.model'
  path.write_bytes(SENTENCEPIECE.read_bytes())
  assert (
    content(path)
    == content('tiny.spm.model')
    == (fingerprints.content(SENTENCEPIECE))
  )


def test_notes_tell_two_tokenizers_apart(folder, tmp_path):
  other = write(tmp_path / 'other')
  assert reason._same_file(str(folder), str(other / 'tokenizer.json'))
  eos = {'eos_token': '<end_of_turn>'}
  (other / 'tokenizer_config.json').write_text(json.dumps(eos))
  assert not reason._same_file(str(folder), str(other))
