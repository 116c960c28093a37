"""Facts about engines/turn_files.py: which turns a folder has, and what of it
is in fingerprints."""

import dataclasses
import json
import shutil

import pytest

from restpg_jax import assets, config, errors
from restpg_jax.engines import input_files, tokenizer_files, turn_files
from restpg_jax.io import fingerprints
from restpg_jax.text import turns
from tests.text import chat_families

OTHERS = [name for name in chat_families.CHATS if name != 'gemma']
FILE = 'chat_template.jinja'


def read(folder, named=''):
  model = config.Model(tokenizer=str(folder), turns=str(named))
  tokenizer = tokenizer_files.read_tokenizer(model.tokenizer)
  return turn_files.read_turns(model, tokenizer)


def meaning(folder, named=''):
  """What of a reward is hashed, by its model."""
  model = config.Model(tokenizer=str(folder), turns=str(named))
  cfg = config.Reward(model=model)
  return fingerprints.meaning(cfg, input_files.READS)['model']


def same(chat, other):
  """Whether turns are alike but for what a folder says to end at."""
  return dataclasses.replace(chat, stops=()) == dataclasses.replace(
    other, stops=()
  )


@pytest.mark.parametrize('name', OTHERS)
@pytest.mark.parametrize('jinja', [True, False])
def test_the_chat_template_of_a_folder_counts(name, jinja, tmp_path):
  folder = chat_families.write(tmp_path / 'm', name, jinja=jinja)
  expected = turns.of_template(
    chat_families.load(name), chat_families.template(name), 'mine'
  )
  for path in (folder, folder / 'tokenizer.json'):
    assert same(read(path), expected)
    assert read(path).stops[0] == expected.stops[0]


def test_gemmas_vocabulary_counts_before_a_template(tmp_path):
  folder = chat_families.write(tmp_path / 'm', 'gemma')
  (folder / FILE).write_text('{{ nothing }}')
  chat = read(folder)
  assert chat == read('tiny.spm.model')
  assert (chat.head, chat.stops, chat.trims) == ((2, 4), (5, 1), False)


def test_without_a_template_the_vocabulary_counts(tmp_path):
  folder = chat_families.write(tmp_path / 'm', 'smollm2')
  with_system = read(folder)
  (folder / FILE).unlink()
  chat = read(folder)
  assert chat == read(folder, 'chatml') != with_system
  assert len(chat.head) == 1


def test_a_setting_names_a_form_or_a_file(tmp_path):
  folder = chat_families.write(tmp_path / 'm', 'smollm2')
  jinja, notes = tmp_path / 'mine.jinja', tmp_path / 'mine.json'
  source = chat_families.template('qwen3')
  jinja.write_text(source)
  several = [{'name': 'default', 'template': source}, {'name': 'rag'}]
  notes.write_text(json.dumps({'chat_template': several}))
  chat = read(folder, jinja)
  assert chat == read(folder, notes) != read(folder)
  assert read(folder, 'none').tail == ()


@pytest.mark.parametrize(
  'template', [[{'name': 'rag', 'template': 'x'}], {'a': 1}, 3]
)
def test_notes_without_a_template_of_text_are_one_line(template, tmp_path):
  folder = chat_families.write(tmp_path / 'm', 'qwen3')
  (folder / FILE).unlink()
  notes = folder / 'tokenizer_config.json'
  held = json.loads(notes.read_text())
  notes.write_text(json.dumps(held | {'chat_template': template}))
  with pytest.raises(errors.InputError) as e:
    read(folder)
  assert str(e.value) == (
    f'{notes}: its chat_template is no text; name the turns '
    '(reason.model.turns, reward.model.turns)'
  )


def test_a_file_that_is_no_text_is_one_line(tmp_path):
  folder = chat_families.write(tmp_path / 'm', 'qwen3')
  (folder / FILE).write_bytes(b'\xff\xfe')
  with pytest.raises(errors.InputError, match=r'chat_template\.jinja: not UTF'):
    read(folder)


def test_a_template_that_decides_is_in_fingerprints(tmp_path):
  folder = chat_families.write(tmp_path / 'm', 'llama3')
  for path in (folder, folder / 'tokenizer.json'):
    before = meaning(path)
    assert {*before} == {'checkpoint', 'tokenizer', 'turns'}
    held = (folder / FILE).read_text()
    (folder / FILE).write_text(held + ' ')
    assert meaning(path)['turns'] != before['turns']
    assert meaning(path)['tokenizer'] == before['tokenizer']
    (folder / FILE).write_text(held)
    assert meaning(path) == before


def test_so_are_a_name_and_the_content_of_a_file(tmp_path):
  folder = chat_families.write(tmp_path / 'm', 'llama3')
  assert meaning(folder, 'llama3')['turns'] == 'llama3'
  one, other = tmp_path / 'a.jinja', tmp_path / 'b.jinja'
  for path in (one, other):
    path.write_text('the same')
  assert meaning(folder, one) == meaning(folder, other)
  assert {*meaning(folder, one)['turns']} == {'content'}
  other.write_text('another')
  assert meaning(folder, one) != meaning(folder, other)


def test_of_all_other_folders_nothing_more_is(tmp_path):
  """Gemma's; those without a template; the tokenizer of a policy."""
  gemma = chat_families.write(tmp_path / 'gemma', 'gemma')
  plain = chat_families.write(tmp_path / 'plain', 'llama3')
  policy = config.Model(tokenizer=str(shutil.copytree(plain, tmp_path / 'p')))
  (plain / FILE).unlink()
  shutil.copy(assets.path('tiny.spm.model'), tmp_path / 'tokenizer.model')
  (tmp_path / FILE).write_text('x')
  for path in (gemma, plain, tmp_path, 'tiny.spm.model'):
    assert {*meaning(path)} == {'checkpoint', 'tokenizer'}
  read_of = fingerprints.meaning(policy, input_files.READS)
  assert {*read_of} == {'checkpoint', 'tokenizer'}


def test_a_model_that_is_left_out_has_no_folder_to_look_into():
  cfg = config.Reward(model=config.Model('', ''))
  read_of = fingerprints.meaning(cfg, input_files.READS)['model']
  assert read_of == {'checkpoint': '', 'tokenizer': ''}


def test_before_anything_is_read_a_name_counts_as_it_stands(tmp_path):
  cfg = config.Reward(model=config.Model(turns='no/such'))
  assert fingerprints.meaning(cfg, None)['model']['turns'] == 'no/such'
  plain = fingerprints.meaning(config.Reward(), None)
  assert {*plain['model']} == {'checkpoint', 'tokenizer'}


def test_turns_that_are_none_are_refused_before_anything_runs():
  turn_files.check_turns('reason.model', config.Model(turns='chatml'))
  with pytest.raises(errors.InputError) as e:
    turn_files.check_turns('reason.model', config.Model(turns='chatlm'))
  assert str(e.value) == (
    "reason.model.turns is 'chatlm'; it must be one of gemma, gemma4, chatml, "
    'llama3, none or a file with a chat template'
  )
  turn_files.check_no_turns('policy', config.Model())
  with pytest.raises(errors.InputError) as e:
    turn_files.check_no_turns('policy', config.Model(turns='none'))
  assert str(e.value) == (
    "policy.turns is 'none', but it is asked in none; set reason.model.turns, "
    'reward.model.turns'
  )
