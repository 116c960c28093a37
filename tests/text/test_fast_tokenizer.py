"""Facts about restpg_jax/text/fast_tokenizer.py and the word pieces of BERT."""

import functools
import json
import unicodedata

import numpy as np
import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from restpg_jax import assets, types
from restpg_jax.text import (
  fast_tokenizer,
  prompts,
  sentencepiece_model,
  templates,
  tokenizer,
  turns,
  wordpiece,
)
from tests.text import tokenizer_families

DECODERS = ('gemma_unigram', 'gemma_bpe', 'llama3', 'qwen', 'smollm2')
each = pytest.mark.parametrize('name', DECODERS)
CONFIG = 'tokenizer_config.json'


@functools.cache
def load(name):
  return fast_tokenizer.FastTokenizer(*tokenizer_families.made(name))


def spec(name):
  return json.loads(tokenizer_families.made(name)[0])


def added(name):
  """The added tokens of a file that steer a model, by hand for Gemma's."""
  tokens = [t['content'] for t in spec(name)['added_tokens']]
  return [t for t in tokens if not tokenizer.is_text(t)]


def changed(name, notes=None, **parts):
  """The tokenizer of a file with other parts."""
  content, own = tokenizer_families.made(name)
  edited = json.dumps(json.loads(content) | parts).encode()
  return fast_tokenizer.FastTokenizer(edited, own if notes is None else notes)


def composed(text):
  return unicodedata.normalize('NFC', text)


@pytest.mark.parametrize(
  'name, bos, eos, pad, begin',
  [
    ('gemma_unigram', '<bos>', '<eos>', '<pad>', ['<bos>']),
    ('gemma_bpe', '<bos>', '<eos>', '<pad>', ['<bos>']),
    (
      *('llama3', '<|begin_of_text|>', '<|end_of_text|>', None),
      ['<|begin_of_text|>'],
    ),
    ('qwen', None, '<|im_end|>', '<|endoftext|>', []),
    ('smollm2', '<|im_start|>', '<|im_end|>', '<|im_end|>', []),
  ],
)
def test_special_tokens_are_those_of_the_files(name, bos, eos, pad, begin):
  ours = load(name)
  special = [
    None if i is None else ours.piece(i) for i in (ours.bos, ours.eos, ours.pad)
  ]
  assert special == [bos, eos, pad]
  assert [ours.piece(i) for i in ours.begin] == begin


def test_of_two_notes_the_older_form_counts_where_transformers_reads_it():
  content, _ = tokenizer_families.made('qwen')
  config = {'eos_token': '<|im_end|>'}
  older = {'eos_token': '<|endoftext|>'}
  for known, expected in (
    ({}, '<|endoftext|>'),
    ({'added_tokens_decoder': {}}, '<|im_end|>'),
  ):
    notes = {CONFIG: config | known, 'special_tokens_map.json': older}
    ours = fast_tokenizer.FastTokenizer(content, notes)
    assert ours.piece(ours.eos) == expected


def test_the_end_of_generation_counts_where_the_tokenizer_names_none():
  content, _ = tokenizer_families.made('llama3')
  eos = load('llama3').eos
  for ids in (eos, [eos, eos + 1]):
    notes = {'generation_config.json': {'eos_token_id': ids}}
    assert fast_tokenizer.FastTokenizer(content, notes).eos == eos


ANY = st.characters(exclude_categories=['Cs', 'Cc', 'Co', 'Cn'])
PARTS = st.sampled_from(
  (' ', '  ', '\n', '\n\n', '\t', '\u2581', '<', '>', '|', '10', 'é', 'user')
)


@each
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_every_text_comes_back_and_holds_no_control_token(name, data):
  steering = st.sampled_from(added(name))
  parts = st.one_of(PARTS, steering, ANY, st.text(ANY, max_size=5))
  text = ''.join(data.draw(st.lists(parts, max_size=8)))
  ours = load(name)
  ids = ours.encode(text)
  expected = composed(text) if name == 'qwen' else text
  assert ours.decode(ids) == expected
  assert ours.control.isdisjoint(ids)


@each
def test_each_added_token_in_a_text_stays_characters(name):
  ours = load(name)
  assert {ours.piece(i) for i in ours.control} >= {*added(name)}
  for piece in added(name):
    text = f'{piece} a{piece}b {piece * 2}<{piece}>{piece[:-1]}{piece}'
    ids = ours.encode(text)
    assert ours.control.isdisjoint(ids), piece
    assert ours.decode(ids) == text


def test_a_text_becomes_no_added_token_of_bert(tmp_path):
  content, _ = tokenizer_families.made('bert')
  path = epath.Path(tmp_path / 'tokenizer.json')
  path.write_bytes(content)
  listed = epath.Path(tmp_path / 'vocab.txt')
  vocabulary = json.loads(content)['model']['vocab']
  listed.write_text('\n'.join(vocabulary) + '\n')
  tokens = [t['content'] for t in json.loads(content)['added_tokens']]
  assert '[SEP]' in tokens
  for words in (wordpiece.WordPiece(path), wordpiece.WordPiece(listed)):
    ids = words.encode([f'a {token}b{token}' for token in tokens], 99)
    inner = {i for row in ids for i in row[1:-1]}
    assert inner.isdisjoint(vocabulary[token] for token in tokens)


def test_text_among_added_tokens_stays_one_token():
  tokens = spec('llama3')['added_tokens']
  number = load('llama3').vocab_size
  for n, content in enumerate(('<b>', '\n\n\n', '<bb>')):
    token = {'id': number + n, 'content': content, 'special': False}
    tokens.append(tokens[0] | token)
  ours = changed('llama3', added_tokens=tokens)
  assert ours.encode('<b>\n\n\n') == [number, number + 1]
  assert number + 2 not in ours.encode('<bb>')


@pytest.mark.parametrize(
  'name, pieces',
  [
    ('gemma_unigram', [['1'], ['1', '0'], ['2', '0', '2', '4']]),
    ('llama3', [['1'], ['10'], ['202', '4']]),
    ('qwen', [['1'], ['1', '0'], ['2', '0', '2', '4']]),
    ('smollm2', [['1'], ['1', '0'], ['2', '0', '2', '4']]),
  ],
)
def test_digits_are_split_as_the_model_splits_them(name, pieces):
  ours = load(name)
  ids = [ours.encode(text) for text in ('1', '10', '2024')]
  assert [[ours.piece(i) for i in each] for each in ids] == pieces


@each
def test_what_continues_a_number_is_every_token_that_begins_with_a_digit(name):
  ours = load(name)
  for text in ('1', '10', '1999', '7x'):
    assert ours.encode(text)[0] in ours.digits
  for i in ours.digits:
    assert ours.decode([i])[0].isdigit()


@pytest.mark.parametrize('name', ['llama3', 'qwen', 'smollm2'])
def test_a_byte_is_no_digit_though_its_letter_is_one(name):
  # At the byte level U+00B2, superscript two, is the letter of byte 0xB2.
  ours = load(name)
  assert '²'.isdigit()
  assert ours._find('²') not in ours.digits


@each
def test_a_character_that_is_cut_short_is_one_sign(name):
  ours = load(name)
  ids = ours.encode('see \U0001f98a')
  assert ours.decode(ids[:-1]).startswith('see \ufffd')
  assert ours.decode(ids[:-1]).strip('\ufffd') == 'see '


@each
def test_numbers_of_numpy_are_decoded(name):
  ours = load(name)
  assert ours.decode(np.array(ours.encode('a trip'))) == 'a trip'


@each
def test_special_tokens_are_not_shown_and_spaces_not_cleaned_up(name):
  ours = load(name)
  text = "She did n't , did she ?"
  assert ours.decode([*ours.encode(text), ours.eos]) == text


def test_a_unigram_file_that_asks_for_it_has_its_spaces_cleaned_up():
  content, notes = tokenizer_families.made('gemma_unigram')
  config = notes[CONFIG] | {'clean_up_tokenization_spaces': True}
  ours = fast_tokenizer.FastTokenizer(content, {CONFIG: config})
  text = "did n't , she ?"
  assert ours.decode(ours.encode(text)) == "didn't, she?"


def test_both_files_of_one_vocabulary_are_one_tokenizer():
  path = assets.path('tiny.spm.model')
  theirs = sentencepiece_model.SentencePiece(path.read_bytes())
  ours = load('gemma_unigram')
  assert ours.vocab_size == ours.rows == theirs.vocab_size
  assert ours.control == theirs.control
  assert ours.differs(theirs) == theirs.differs(ours) == ''
  chat = turns.of_vocabulary(ours)
  assert chat == turns.of_vocabulary(theirs)
  text = 'Hi<eos> 10'
  assert chat.prompt(ours, text) == chat.prompt(theirs, text)
  for text in (*tokenizer_families.TEXTS[:4], tokenizer.ODD, 'a<bos>\u2581 b'):
    assert ours.encode(text) == theirs.encode(text), text


LLAMA2 = {
  'normalizer': {
    'type': 'Sequence',
    'normalizers': [
      {'type': 'Prepend', 'prepend': '\u2581'},
      {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '\u2581'},
    ],
  },
  'decoder': {
    'type': 'Sequence',
    'decoders': [
      {'type': 'Replace', 'pattern': {'String': '\u2581'}, 'content': ' '},
      *({'type': 'ByteFallback'}, {'type': 'Fuse'}),
      {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0},
    ],
  },
}
METASPACE = {
  'normalizer': None,
  'pre_tokenizer': {
    'type': 'Metaspace',
    'replacement': '\u2581',
    'prepend_scheme': 'first',
    'split': False,
  },
  'decoder': LLAMA2['decoder'],
}


@pytest.mark.parametrize('parts', [LLAMA2, METASPACE])
def test_no_blank_is_put_before_a_text(parts):
  ours = changed('gemma_unigram', **parts)
  for text in (*tokenizer_families.TEXTS[:4], ' a', 'a', '\u2581'):
    assert ours.encode(text) == load('gemma_unigram').encode(text)
    assert ours.decode(ours.encode(text)) == text


def test_control_tokens_beyond_the_embedding_need_no_row():
  # Gemma 3's tokenizer.json has one for images that texts' models do not embed.
  tokens = spec('gemma_unigram')['added_tokens']
  image = tokens[0] | {'id': 1024, 'content': '<image>', 'special': True}
  ours = changed('gemma_unigram', added_tokens=[*tokens, image])
  assert (ours.vocab_size, ours.rows) == (1025, 1024)


def test_a_prompt_begins_as_the_file_says():
  template = templates.Template(assets.path('prompts/policy.txt').read_text())
  example = types.Example('t/s/0', 't', '<|im_end|>Hi', 'y', context=('a',))
  for name in DECODERS:
    ours = load(name)
    ids = prompts.policy(
      template, ours, example, reasoning=True, limit=9999
    ).ids
    assert [i for i in ids if i in ours.control] == [*ours.begin]


@pytest.mark.parametrize('number', range(0, 100, 7))
def test_a_prompt_is_cut_to_its_limit(number):
  ours = load('llama3')
  text = ' '.join(tokenizer_families.TEXTS[:4])
  kept = prompts.shorten(text, number + 1, ours)
  assert text.startswith(kept) and len(kept) < len(text)


NO_TOKENS = {'model': {'type': 'BPE', 'vocab': {'a': 0}, 'merges': []}}


@pytest.mark.parametrize(
  'content, message',
  [
    (b'', 'no tokenizer.json or a damaged one; the file may be cut short'),
    (b'{"version": "1.0"', 'no tokenizer.json or a damaged one'),
    (b'[1]', 'no tokenizer.json or a damaged one'),
    (b'{"model": [], "added_tokens": 3}', 'no tokenizer.json or a damaged'),
    (b'\x0a\x0e\x0a\x05<unk>', 'no tokenizer.json or a damaged one'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'pointer of Git LFS'),
    (b'{"model": {"type": "BPE"}, "added_tokens": [{}]}', 'no tokenizer.json'),
    (b'{"model": {"type": "BPE"}, "normalizer": 1}', 'no tokenizer.json'),
    (b'{"model": {"type": "BPE"}}', 'the library `tokenizers` refuses it'),
    (json.dumps(NO_TOKENS).encode(), 'no eos token: tokenizer_config.json, sp'),
  ],
)
def test_a_file_that_is_no_tokenizer_json_is_refused(content, message):
  with pytest.raises(ValueError, match=message):
    fast_tokenizer.FastTokenizer(content)


@pytest.mark.parametrize(
  'name, parts, message',
  [
    ('bert', {}, 'its model is WordPiece; read are SentencePiece models, as'),
    ('qwen', {'normalizer': {'type': 'NFKC'}}, 'it normalises text'),
    ('qwen', {'normalizer': {'type': 'Lowercase'}}, 'it normalises text'),
    (
      'gemma_unigram',
      {
        'normalizer': {
          'type': 'Sequence',
          'normalizers': [{'type': 'NFD'}, {'type': 'StripAccents'}],
        }
      },
      'it normalises text',
    ),
  ],
)
def test_a_tokenizer_that_changes_texts_is_refused(name, parts, message):
  with pytest.raises(ValueError, match=message):
    changed(name, **parts)


def test_a_template_of_tokens_that_are_not_there_is_refused():
  template = {
    'type': 'TemplateProcessing',
    'single': [
      {'SpecialToken': {'id': '<s>', 'type_id': 0}},
      {'Sequence': {'id': 'A', 'type_id': 0}},
    ],
    'pair': [],
    'special_tokens': {},
  }
  several = {'type': 'Sequence', 'processors': [template]}
  for processor in (template, several):
    with pytest.raises(ValueError, match="puts '<s>' into texts, which its"):
      changed('qwen', post_processor=processor)


def test_a_vocabulary_without_bytes_is_refused():
  model = spec('llama3')['model']
  vocabulary = {p: i for p, i in model['vocab'].items() if p != 'Ã'}
  merges = [m for m in model['merges'] if 'Ã' not in ''.join(m)]
  with pytest.raises(ValueError, match='no bytes to fall back on'):
    changed('llama3', model=model | {'vocab': vocabulary, 'merges': merges})


@pytest.mark.parametrize(
  'notes, message',
  [
    ({}, 'no eos token'),
    ({CONFIG: {'eos_token': 3}}, 'name eos_token 3, which it does not have'),
    ({CONFIG: {'eos_token': '</s>'}}, "name eos_token '</s>', which it does"),
    ({'generation_config.json': {'eos_token_id': -1}}, 'which is no id of it'),
    (
      {'generation_config.json': {'eos_token_id': 9999}},
      'has eos_token_id 9999, which is no id of it',
    ),
  ],
)
def test_notes_that_do_not_belong_to_it_are_refused(notes, message):
  with pytest.raises(ValueError, match=message):
    changed('llama3', notes)
