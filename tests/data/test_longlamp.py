"""What data/longlamp.py makes of rows, and what it refuses."""

import collections
import pathlib

import pytest

from restpg_jax import errors, types
from restpg_jax.data import longlamp
from tests.data import longlamp_rows as given

SAMPLE = pathlib.Path(__file__).parents[3] / 'shared/data/longlamp_sample'


def test_mail_becomes_an_example(tmp_path):
  first, counts = given.example(tmp_path)
  assert first == types.Example(
    id='email_generation/train/0',
    task='email_generation',
    input='a mail',
    output='its end',
    profile=(types.Document(text='old', key='old'),),
  )
  assert counts == given.NO_COUNTS | {'rows': 1}


@pytest.mark.parametrize(
  'task, item, text, key',
  [
    ('email_generation', {'text': 'body', 'title': 'Re: x'}, 'body', 'body'),
    (
      'abstract_generation',
      {'abstract': 'We show.', 'id': '7', 'title': 'On X', 'year': 2020},
      'We show.',
      'On X We show.',
    ),
    (
      'product_review',
      {
        'description': 'a lamp',
        'overall': 5.0,
        'reviewText': 'It glows.',
        'summary': 'Bright',
      },
      'It glows.',
      '5.0 Bright a lamp It glows.',
    ),
    (
      'topic_writing',
      {'author': 'u', 'content': 'Today', 'id': '7', 'summary': 'my day'},
      'Today',
      'my day Today',
    ),
    (
      'topic_writing',
      {'input': 'my day', 'output': 'Today'},
      'Today',
      'my day Today',
    ),
  ],
)
def test_document_shows_its_text_and_is_found_by_the_corpus_text(
  tmp_path, task, item, text, key
):
  row = {'input': 'x', 'output': 'y', 'profile': [item]}
  given.folder(tmp_path, f'{task}_user', train=given.lines(row))
  given.write_parquet(tmp_path / f'p/{task}_user/train-0.parquet', [row])
  for split in ('val', 'test'):
    given.write_parquet(tmp_path / f'p/{task}_user/{split}-0.parquet', [row])
  for path in (tmp_path, tmp_path / 'p'):
    [first], _ = given.read(path)
    assert first.profile == (types.Document(text, key),)


@pytest.mark.parametrize(
  'overall, start',
  [
    ('5.0', '5.0 '),
    (5.0, '5.0 '),
    (4, '4 '),
    ('five', 'five '),
    (None, ''),
    (float('nan'), ''),
  ],
)
def test_overall_is_any_number_or_text(tmp_path, overall, start):
  row = given.MAIL | {
    'profile': [{'overall': overall, 'reviewText': 'It glows.'}]
  }
  given.folder(tmp_path, 'product_review_user', train=given.lines(row))
  [first], _ = given.read(tmp_path)
  assert first.profile[0].key == start + 'It glows.'


@pytest.mark.parametrize(
  'task, text, expected',
  [
    (
      'abstract_generation',
      'Generate an abstract for the title "A: B" using the following '
      'items: 1. cats \n2. dogs',
      '1. cats \n2. dogs',
    ),
    ('abstract_generation', 'Generate an abstract', 'Generate an abstract'),
    ('abstract_generation', 'the items: ', 'the items: '),
    (
      'email_generation',
      'Complete the text of the following email. title: Hi. text: Dear',
      'Hi. text: Dear',
    ),
    ('email_generation', 'Complete it', 'Complete it'),
    ('product_review', 'rating "5.0": good', 'rating "5.0": good'),
    ('topic_writing', 'a post: items: x', 'a post: items: x'),
  ],
)
def test_query_is_what_the_benchmark_searches_with(task, text, expected):
  assert longlamp.query(task, text) == expected


def test_rows_of_ones_own_users_are_a_task(tmp_path):
  row = {'id': 1, 'user': 'ann', 'input': 'x: y', 'output': 'z'}
  row |= {'profile': ['old', {'text': 'older'}, ' ', None]}
  given.folder(tmp_path, 'custom', train=given.lines(row, row | {'input': 'w'}))
  given.folder(tmp_path, 'topic_writing_temporal')
  for setting, tasks in (
    ('user', ['custom']),
    ('temporal', ['topic_writing', 'custom']),
  ):
    assert longlamp.tasks_found(tmp_path, setting=setting) == tasks
  [first, _], counts = given.read(tmp_path)
  assert first == types.Example(
    'custom/train/0',
    'custom',
    'x: y',
    'z',
    (types.Document('old', 'old'), types.Document('older', 'older')),
  )
  assert counts == given.NO_COUNTS | {
    'rows': 2,
    'skipped_items': 4,
    'duplicate_users': 1,
  }
  assert longlamp.query('custom', 'x: y') == 'x: y'


def test_every_text_is_cut_at_the_setting(tmp_path):
  row = {'input': 'a' * 9, 'output': 'b' * 9, 'profile': [{'text': 'c' * 9}]}
  given.folder(tmp_path, train=given.lines(row))
  [first], counts = given.read(tmp_path, max_text=8)
  texts = (first.input, first.output, first.profile[0].text)
  assert texts == ('a' * 8, 'b' * 8, 'c' * 8)
  assert counts['cut_texts'] == 3


def test_truth_becomes_slots(tmp_path):
  first, _ = given.example(
    tmp_path, truth=[{'want': 'tea', 'among': ['tea', 'gin']}]
  )
  assert first.truth == (types.TruthSlot('tea', ('tea', 'gin')),)


@pytest.mark.parametrize(
  'truth',
  [
    None,
    'yes',
    [],
    ['tea'],
    [{'want': 'tea'}],
    [{'want': 'tea', 'among': ['gin']}],
    [{'want': 'tea', 'among': ['tea', 1]}],
    [{'want': 'tea', 'among': ['tea']}, None],
  ],
)
def test_truth_of_another_form_is_just_an_extra_field(tmp_path, truth):
  first, _ = given.example(tmp_path, truth=truth)
  assert first.truth == ()


@pytest.mark.parametrize('profile', [None, [], '', '[]', 'null', float('nan')])
def test_empty_profile_is_counted(tmp_path, profile):
  first, counts = given.example(tmp_path, profile=profile)
  assert first.profile == ()
  assert counts == given.NO_COUNTS | {'rows': 1, 'empty_profiles': 1}


def test_missing_profile_is_empty(tmp_path):
  given.folder(tmp_path, train=given.lines({'input': 'x', 'output': 'y'}))
  [first], counts = given.read(tmp_path)
  assert first.profile == ()
  assert counts['empty_profiles'] == 1


def test_profile_may_be_a_json_string(tmp_path):
  first, _ = given.example(tmp_path, profile='[{"text": "old", "n": NaN}]')
  assert first.profile == (types.Document('old', 'old'),)


def test_items_without_text_are_skipped_and_counted(tmp_path):
  items = [{'title': 't'}, {'text': None}, {'text': ' '}, {}, None]
  items += [{'text': float('nan')}, {'text': 'old'}]
  first, counts = given.example(tmp_path, profile=items)
  assert first.profile == (types.Document('old', 'old'),)
  assert counts == given.NO_COUNTS | {'rows': 1, 'skipped_items': 6}


def test_extra_fields_are_ignored(tmp_path):
  first, counts = given.example(
    tmp_path, note={'deep': [1]}, profile=[{'text': 'old', 'x': [1, {}]}]
  )
  assert first.profile == (types.Document('old', 'old'),)
  assert counts == given.NO_COUNTS | {'rows': 1}


def test_duplicate_users_are_counted(tmp_path):
  rows = [
    given.MAIL | {'user_id': user, 'output': output}
    for user, output in [('u', 'a'), ('u', 'b'), ('v', 'c'), ('u', 'd')]
  ]
  given.folder(tmp_path, train=given.lines(*rows))
  examples, counts = given.read(tmp_path)
  assert [x.output for x in examples] == ['a', 'b', 'c', 'd']
  assert counts == given.NO_COUNTS | {'rows': 4, 'duplicate_users': 2}


def test_duplicate_rows_are_kept_counted_and_warned(tmp_path):
  given.folder(
    tmp_path,
    train=given.lines(
      given.MAIL, given.MAIL, given.MAIL | {'output': 'other'}, given.MAIL
    ),
  )
  with pytest.warns(UserWarning, match="2 of 4 rows of split 'train' repeat"):
    examples, counts = given.read(tmp_path)
  assert [x.id for x in examples] == [
    'email_generation/train/0',
    'email_generation/train/1',
    'email_generation/train/2',
    'email_generation/train/3',
  ]
  assert counts == given.NO_COUNTS | {'rows': 4, 'duplicate_rows': 2}


def test_nan_in_json_is_an_empty_cell(tmp_path):
  row = b'{"input": "x", "output": "y", "profile": NaN, "score": -Infinity}'
  given.folder(tmp_path, train=row)
  [first], _ = given.read(tmp_path)
  assert first.profile == ()


def test_control_tokens_and_html_stay_plain_text(tmp_path):
  text = '<start_of_turn>user\n<b>&amp;</b><eos>\x00'
  first, _ = given.example(tmp_path, input=text, profile=[{'text': text}])
  assert first.input == text
  assert first.profile[0].text == text


def test_half_a_surrogate_pair_is_mended_and_counted(tmp_path):
  row = b'{"input": "cut \\ud83d", "output": "\\ud83d\\ude00"}'
  given.folder(tmp_path, train=row)
  [first], counts = given.read(tmp_path)
  assert (first.input, first.output) == ('cut \ufffd', '\U0001f600')
  assert counts['mended_texts'] == 1


def test_endless_document_is_cut_and_counted(tmp_path):
  first, counts = given.example(tmp_path, profile=[{'text': 'a' * 100_001}])
  assert first.profile[0].text == 'a' * 100_000
  assert counts == given.NO_COUNTS | {'rows': 1, 'cut_texts': 1}


def test_limit_takes_the_first_rows_of_each_task(tmp_path):
  rows = [given.MAIL | {'input': f'row {i}'} for i in range(5)]
  given.folder(tmp_path, train=given.lines(*rows))
  topics = [row | {'profile': [{'content': 'old'}]} for row in rows]
  given.folder(tmp_path, 'topic_writing_user', train=given.lines(*topics))
  examples, counts = given.read(tmp_path, limit=2)
  assert [x.id for x in examples] == [
    'email_generation/train/0',
    'email_generation/train/1',
    'topic_writing/train/0',
    'topic_writing/train/1',
  ]
  assert counts['rows'] == 4


def test_tasks_are_those_found_in_the_papers_order(tmp_path):
  given.folder(tmp_path, 'topic_writing_user')
  given.folder(tmp_path, 'email_generation_user')
  given.folder(tmp_path, 'product_review_temporal')
  assert longlamp.tasks_found(tmp_path, setting='user') == [
    'email_generation',
    'topic_writing',
  ]
  assert longlamp.tasks_found(tmp_path, setting='temporal') == [
    'product_review'
  ]


def test_missing_folder_is_refused_with_what_was_looked_for(tmp_path):
  for path in (tmp_path, tmp_path / 'nowhere'):
    given.assert_says(
      given.refusal(path),
      str(path),
      'email_generation_user',
      'abstract_generation_user',
      'product_review_user',
      'topic_writing_user',
    )


def test_unknown_setting_and_negative_limit_are_refused(tmp_path):
  given.folder(tmp_path)
  with pytest.raises(errors.InputError, match="data.setting is 'users'"):
    given.read(tmp_path, setting='users')
  with pytest.raises(errors.InputError, match='data.limit is -1'):
    given.read(tmp_path, limit=-1)


def test_task_that_lacks_any_split_is_refused(tmp_path):
  given.folder(tmp_path, 'topic_writing_user', val=None)
  given.assert_says(
    given.refusal(tmp_path, 'train'),
    'topic_writing_user',
    "no split 'val'",
    'val-*.parquet, val.jsonl, val.json, val_questions.json',
    'the folder holds test.jsonl, train.jsonl',
  )


@pytest.mark.skipif(not SAMPLE.is_dir(), reason='sample data is not here')
@pytest.mark.parametrize(
  'setting, split, rows, seen_users',  # its README's table: rows - users
  [
    ('user', 'train', (63, 86, 93, 227), 469 - (23 + 68 + 39 + 80)),
    ('user', 'val', (15, 23, 18, 48), 104 - (5 + 15 + 8 + 17)),
    ('user', 'test', (15, 23, 25, 52), 115 - (5 + 14 + 9 + 18)),
    ('temporal', 'train', (0, 0, 53, 0), 0),
    ('temporal', 'val', (0, 0, 39, 0), 0),
    ('temporal', 'test', (0, 0, 46, 0), 0),
  ],
)
def test_sample_has_the_rows_of_its_readme(setting, split, rows, seen_users):
  examples, counts = given.read(SAMPLE, split, setting)
  number = collections.Counter(x.task for x in examples)
  assert tuple(number[task] for task in types.TASKS) == rows
  assert counts == given.NO_COUNTS | {
    'rows': sum(rows),
    'duplicate_users': seen_users,
  }
