"""Facts about restpg_jax/io/encoders.py and models/bert.py."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy
from tokenizers import implementations

from restpg_jax import errors
from restpg_jax.io import encoders
from restpg_jax.models import bert
from tests import remote

WORDS = '[PAD] [UNK] [CLS] [SEP] [MASK] a b c ##d e . good'.split()
CONFIG = {
  'model_type': 'bert',
  'num_hidden_layers': 2,
  'hidden_size': 12,
  'intermediate_size': 20,
  'num_attention_heads': 3,
  'vocab_size': len(WORDS),
  'max_position_embeddings': 16,
  'hidden_act': 'gelu',
  'layer_norm_eps': 1e-12,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A small BERT with random weights."""
  path = tmp_path_factory.mktemp('bert')
  save_bert(path)
  return path


def save_bert(path):
  """Writes its folder, with the names that transformers gives."""
  rng, D, F = np.random.default_rng(0), 12, 20
  tables = {'word': len(WORDS), 'position': 16, 'token_type': 2}
  weights = {
    f'embeddings.{name}_embeddings.weight': rng.normal(0, 0.5, (rows, D))
    for name, rows in tables.items()
  }
  dense, norms = {'pooler': (D, D)}, ['embeddings']
  for n in range(2):
    layer = f'encoder.layer.{n}'
    for name in ('query', 'key', 'value'):
      dense[f'{layer}.attention.self.{name}'] = (D, D)
    dense[f'{layer}.attention.output'] = (D, D)
    dense[f'{layer}.intermediate'] = (F, D)
    dense[f'{layer}.output'] = (D, F)
    norms += [f'{layer}.attention.output', f'{layer}.output']
  for name, shape in dense.items():
    name += '' if '.self.' in name else '.dense'
    weights[f'{name}.weight'] = rng.normal(0, 0.5, shape)
    weights[f'{name}.bias'] = np.zeros(shape[0])
  for name in norms:
    weights[f'{name}.LayerNorm.weight'] = np.ones(D)
    weights[f'{name}.LayerNorm.bias'] = np.zeros(D)
  weights = {name: x.astype(np.float32) for name, x in weights.items()}
  safetensors.numpy.save_file(
    weights, path / 'model.safetensors', {'format': 'pt'}
  )
  (path / 'config.json').write_text(json.dumps(CONFIG))
  (path / 'vocab.txt').write_text('\n'.join(WORDS))


@pytest.fixture
def copy(folder, tmp_path):
  return shutil.copytree(folder, tmp_path / 'copy')


def embedded(encoder, ids, length=None):
  length = length or max(map(len, ids))
  tokens = np.zeros((len(ids), length), np.int32)
  for row, one in zip(tokens, ids, strict=True):
    row[: len(one)] = one
  lengths = np.array(list(map(len, ids)))
  model = bert.BertEncoder(encoder.size)
  return np.asarray(model.apply({'params': encoder.params}, tokens, lengths))


def test_padding_changes_nothing(folder):
  encoder = encoders.load_encoder(folder)
  ids = encoder.tokenizer.encode(['a b'], encoder.limit)
  # In float64: lengths are other programs, which round float32 differently.
  with jax.enable_x64(True):
    wide = dataclasses.replace(
      encoder, params=jax.tree.map(np.float64, encoder.params)
    )
    short, long = embedded(wide, ids, 4), embedded(wide, ids, 16)
  np.testing.assert_allclose(short, long, rtol=0, atol=1e-13)


def test_the_parameters_are_those_that_the_model_makes(folder):
  encoder = encoders.load_encoder(folder)
  made = jax.eval_shape(
    bert.BertEncoder(encoder.size).init,
    jax.random.key(0),
    np.zeros((1, 4), np.int32),
    np.array([4]),
  )['params']
  assert jax.tree.map(np.shape, made) == jax.tree.map(np.shape, encoder.params)


def test_either_form_of_the_word_pieces_is_read(folder, copy):
  (copy / 'vocab.txt').unlink()
  implementations.BertWordPieceTokenizer(str(folder / 'vocab.txt')).save(
    str(copy / 'tokenizer.json')
  )
  text = ['A bd. good E']
  ids = [[2, 5, 6, 8, 10, 11, 9, 3]]
  assert encoders.load_encoder(folder).tokenizer.encode(text, 16) == ids
  assert encoders.load_encoder(copy).tokenizer.encode(text, 16) == ids
  assert encoders.load_encoder(copy).tokenizer.encode(text, 4) == [[2, 5, 6, 3]]


def test_notes_of_sentence_transformers_count(copy):
  assert not encoders.load_encoder(copy).normalized
  assert encoders.load_encoder(copy).limit == 16
  normalize = {'type': 'sentence_transformers.models.Normalize'}
  (copy / 'modules.json').write_text(
    json.dumps([{'type': 'x.Transformer'}, normalize])
  )
  (copy / 'tokenizer_config.json').write_text('{"model_max_length": 9}')
  assert encoders.load_encoder(copy).normalized
  assert encoders.load_encoder(copy).limit == 9
  (copy / 'sentence_bert_config.json').write_text('{"max_seq_length": null}')
  assert encoders.load_encoder(copy).limit == 9
  (copy / 'sentence_bert_config.json').write_text('{"max_seq_length": 8}')
  assert encoders.load_encoder(copy).limit == 8
  (copy / 'sentence_bert_config.json').write_text('{"max_seq_length": 99}')
  assert encoders.load_encoder(copy).limit == 16


def test_weights_below_a_name_are_found(copy):
  path = copy / 'model.safetensors'
  found = safetensors.numpy.load_file(path)
  named = {f'bert.{name}': x for name, x in found.items()}
  safetensors.numpy.save_file(named, path, {'format': 'pt'})
  encoders.load_encoder(copy)


def changed(path, **settings):
  path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
  'spoil, said',
  [
    (lambda p: shutil.rmtree(p), 'copy: no such folder of an encoder'),
    (lambda p: (p / 'config.json').unlink(), 'copy: config.json is missing'),
    (lambda p: (p / 'config.json').write_text('{'), 'no whole JSON'),
    (lambda p: (p / 'vocab.txt').unlink(), 'neither tokenizer.json nor vocab'),
    (lambda p: (p / 'model.safetensors').unlink(), 'it has no *.safetensors'),
    (
      lambda p: changed(p / 'config.json', model_type='roberta'),
      "model_type is 'roberta'; known is bert",
    ),
    (
      lambda p: changed(p / 'config.json', hidden_act='swish'),
      "activation 'swish' is not known; known: gelu, gelu_new, relu",
    ),
    (
      lambda p: changed(p / 'config.json', num_attention_heads=5),
      '5 heads do not divide a width of 12',
    ),
    (
      lambda p: changed(p / 'config.json', intermediate_size=21),
      'encoder.layer.0.intermediate.dense.weight is [20, 12], [21, 12] expec',
    ),
    (
      lambda p: changed(p / 'config.json', num_hidden_layers=3),
      'encoder.layer.2.attention.self.query.weight is missing',
    ),
    (
      lambda p: (p / 'vocab.txt').write_text('\n'.join([*WORDS, 'more'])),
      '13 word pieces, but the encoder embeds only 12',
    ),
  ],
)
def test_a_folder_that_is_no_such_encoder_is_the_users_error(copy, spoil, said):
  spoil(copy)
  with pytest.raises(errors.InputError) as error:
    encoders.load_encoder(copy)
  assert said in str(error.value)


@pytest.mark.parametrize(
  'name, noted, said',
  [
    ('config.json', '[]', 'config.json: it holds no object; copy or downl'),
    ('config.json', {'hidden_size': '12'}, "hidden_size is '12', a whole numb"),
    ('config.json', {'hidden_size': None}, 'hidden_size is None, a whole'),
    ('config.json', {'num_attention_heads': 0}, 'heads is 0, a whole number'),
    ('config.json', {'vocab_size': True}, 'vocab_size is True, a whole numb'),
    ('config.json', {'hidden_act': ['gelu']}, "hidden_act is ['gelu'], a text"),
    ('config.json', {'layer_norm_eps': 'tiny'}, "layer_norm_eps is 'tiny', a"),
    ('modules.json', '{}', 'modules.json: it holds no list'),
    ('modules.json', '["Normalize"]', "modules.json: 'Normalize' is no module"),
    ('modules.json', '[{"type": 1}]', 'modules.json: type is 1, a text is exp'),
    ('modules.json', '[{}]', 'modules.json: type is missing, a text is'),
    (
      'modules.json',
      '[{"type": "sentence_transformers.models.Dense"}]',
      'a module Dense follows; known are Transformer, Pooling, Normalize',
    ),
    (
      'sentence_bert_config.json',
      '{"max_seq_length": "256"}',
      "sentence_bert_config.json: max_seq_length is '256', a whole number",
    ),
    ('sentence_bert_config.json', '{"max_seq_length": -1}', 'length is -1'),
    ('tokenizer_config.json', '{"model_max_length": 2.5}', 'length is 2.5'),
    ('tokenizer_config.json', '{"do_lower_case": "no"}', "case is 'no', true"),
    (
      '1_Pooling/config.json',
      '{"pooling_mode_mean_tokens": "yes"}',
      "pooling_mode_mean_tokens is 'yes', true or false is expected",
    ),
  ],
)
def test_notes_of_wrong_types_are_the_users_error(copy, name, noted, said):
  path = copy / name
  if isinstance(noted, dict):
    noted = json.dumps(json.loads(path.read_text()) | noted)
  path.parent.mkdir(exist_ok=True)
  path.write_text(noted)
  with pytest.raises(errors.InputError) as error:
    encoders.load_encoder(copy)
  assert str(copy) in str(error.value)
  assert said in str(error.value)
  assert '\n' not in str(error.value)


MEAN, CLS = 'pooling_mode_mean_tokens', 'pooling_mode_cls_token'


@pytest.mark.parametrize(
  'noted, known',
  [
    ({}, True),
    ({MEAN: True, CLS: False}, True),
    ({MEAN: False, CLS: True}, False),
    ({MEAN: True, CLS: True}, False),  # one behind the other
    ({'pooling_mode': 'mean', 'include_prompt': True}, True),
    ({'pooling_mode': ['mean']}, True),
    ({'pooling_mode': 'cls'}, False),
    ({'pooling_mode': ['cls', 'mean']}, False),
    ({'pooling_mode': 3}, False),
  ],
)
def test_a_text_is_the_mean_of_its_tokens_or_refused(copy, noted, known):
  (copy / '1_Pooling').mkdir()
  (copy / '1_Pooling' / 'config.json').write_text(json.dumps(noted))
  if known:
    encoders.load_encoder(copy)
    return
  with pytest.raises(errors.InputError, match='known is the mean of their tok'):
    encoders.load_encoder(copy)


def test_two_lists_of_word_pieces_must_agree(folder, copy):
  implementations.BertWordPieceTokenizer(str(folder / 'vocab.txt')).save(
    str(copy / 'tokenizer.json')
  )
  encoders.load_encoder(copy)
  other = [*WORDS[:5], 'b', 'a', *WORDS[7:]]
  (copy / 'vocab.txt').write_text('\n'.join(other))
  with pytest.raises(errors.InputError) as error:
    encoders.load_encoder(copy)
  assert "json and vocab.txt disagree ('b' is 6 or 5)" in str(error.value)


def test_two_notes_on_upper_case_must_agree(folder, copy):
  implementations.BertWordPieceTokenizer(str(folder / 'vocab.txt')).save(
    str(copy / 'tokenizer.json')
  )
  note = copy / 'tokenizer_config.json'
  note.write_text('{"do_lower_case": true}')
  encoders.load_encoder(copy)
  note.write_text('{"do_lower_case": false}')
  with pytest.raises(errors.InputError) as error:
    encoders.load_encoder(copy)
  assert 'lowercase=True, tokenizer_config.json do_lower_case=False' in str(
    error.value
  )


def test_two_encoders_in_one_file_are_refused(copy):
  path = copy / 'model.safetensors'
  found = safetensors.numpy.load_file(path)
  named = {f'bert.{name}': x + 1 for name, x in found.items()}
  safetensors.numpy.save_file(found | named, path, {'format': 'pt'})
  with pytest.raises(
    errors.InputError, match='more than one encoder: .*bert.e'
  ):
    encoders.load_encoder(copy)


def test_pooling_is_noted_where_modules_json_says(copy):
  modules = [
    {'type': 'x.Transformer', 'path': ''},
    {'type': 'x.Pooling', 'path': '2_Pooling'},
  ]
  (copy / 'modules.json').write_text(json.dumps(modules))
  for name, noted in (('1_Pooling', MEAN), ('2_Pooling', CLS)):
    (copy / name).mkdir()
    (copy / name / 'config.json').write_text(json.dumps({noted: True}))
  with pytest.raises(
    errors.InputError, match='2_Pooling/config.json: texts are'
  ):
    encoders.load_encoder(copy)


@pytest.mark.parametrize('form', ['vocab.txt', 'tokenizer.json'])
def test_an_encoder_is_read_from_a_bucket(form, folder, copy, bucket):
  if form == 'tokenizer.json':
    (copy / 'vocab.txt').unlink()
    implementations.BertWordPieceTokenizer(str(folder / 'vocab.txt')).save(
      str(copy / 'tokenizer.json')
    )
  remote.upload(bucket, copy, 'gs://b/bert')
  there, here = (
    encoders.load_encoder('gs://b/bert'),
    encoders.load_encoder(folder),
  )
  text = ['A bd. good E']
  assert there.tokenizer.encode(text, 16) == here.tokenizer.encode(text, 16)
  assert there.size == here.size
  jax.tree.map(np.testing.assert_array_equal, there.params, here.params)
