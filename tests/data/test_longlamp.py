"""What data/longlamp.py accepts, what it refuses, and what it then says."""

import collections
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from restpg_jax import errors, types
from restpg_jax.data import longlamp

SAMPLE = pathlib.Path(__file__).parents[3] / 'shared/data/longlamp_sample'
NO_COUNTS = {
  'rows': 0,
  'empty_profiles': 0,
  'skipped_items': 0,
  'cut_texts': 0,
  'mended_texts': 0,
  'duplicate_rows': 0,
  'duplicate_users': 0,
  'unused_outputs': 0,
}
MAIL = {'input': 'a mail', 'output': 'its end', 'profile': [{'text': 'old'}]}


def lines(*rows):
  return '\n'.join(json.dumps(row) for row in rows).encode()


def folder(tmp_path, name='email_generation_user', **files):
  """DIR with one task; train.jsonl etc. are `files`, a mail where not given."""
  task = tmp_path / name
  task.mkdir(parents=True)
  for split in ('train', 'val', 'test'):
    content = files.pop(split, lines(MAIL))
    if content is not None:
      (task / f'{split}.jsonl').write_bytes(content)
  return task


def read(tmp_path, split='train', setting='user', **more):
  return longlamp.read(tmp_path, setting=setting, split=split, **more)


def example(tmp_path, **fields):
  """The example that a mail with these fields becomes, and the counts."""
  folder(tmp_path, train=lines(MAIL | fields))
  [first], counts = read(tmp_path)
  return first, counts


def refusal(tmp_path, split='train'):
  """The one line that a folder is refused with."""
  with pytest.raises(errors.InputError) as error:
    read(tmp_path, split)
  message = str(error.value)
  assert '\n' not in message
  return message


def assert_says(message, *parts):
  for part in parts:
    assert part in message, message


def write_parquet(path, rows):
  path.parent.mkdir(exist_ok=True, parents=True)
  pq.write_table(pa.Table.from_pylist(rows), path)


# What a row becomes.


def test_mail_becomes_an_example(tmp_path):
  first, counts = example(tmp_path)
  assert first == types.Example(
    id='email_generation/train/0',
    task='email_generation',
    input='a mail',
    output='its end',
    profile=(types.Document(text='old', key='old'),),
  )
  assert counts == NO_COUNTS | {'rows': 1}


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
  folder(tmp_path, f'{task}_user', train=lines(row))
  write_parquet(tmp_path / f'p/{task}_user/train-0.parquet', [row])
  for split in ('val', 'test'):
    write_parquet(tmp_path / f'p/{task}_user/{split}-0.parquet', [row])
  for path in (tmp_path, tmp_path / 'p'):
    [first], _ = read(path)
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
  row = MAIL | {'profile': [{'overall': overall, 'reviewText': 'It glows.'}]}
  folder(tmp_path, 'product_review_user', train=lines(row))
  [first], _ = read(tmp_path)
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


def test_truth_becomes_slots(tmp_path):
  first, _ = example(tmp_path, truth=[{'want': 'tea', 'among': ['tea', 'gin']}])
  assert first.truth == (types.Slot('tea', ('tea', 'gin')),)


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
  first, _ = example(tmp_path, truth=truth)
  assert first.truth == ()


def test_truth_passes_through_parquet(tmp_path):
  row = MAIL | {'truth': [{'want': 'tea', 'among': ['tea', 'gin']}]}
  task = folder(tmp_path, train=None)
  write_parquet(task / 'train-0.parquet', [row])
  [first], _ = read(tmp_path)
  assert first.truth == (types.Slot('tea', ('tea', 'gin')),)


# Oddities that are accepted.


@pytest.mark.parametrize('profile', [None, [], '', '[]', 'null', float('nan')])
def test_empty_profile_is_counted(tmp_path, profile):
  first, counts = example(tmp_path, profile=profile)
  assert first.profile == ()
  assert counts == NO_COUNTS | {'rows': 1, 'empty_profiles': 1}


def test_missing_profile_is_empty(tmp_path):
  folder(tmp_path, train=lines({'input': 'x', 'output': 'y'}))
  [first], counts = read(tmp_path)
  assert first.profile == ()
  assert counts['empty_profiles'] == 1


def test_profile_may_be_a_json_string(tmp_path):
  first, _ = example(tmp_path, profile='[{"text": "old", "n": NaN}]')
  assert first.profile == (types.Document('old', 'old'),)


def test_profile_may_be_a_json_string_in_parquet(tmp_path):
  task = folder(tmp_path, train=None)
  row = MAIL | {'profile': '[{"text": "old"}]'}
  write_parquet(task / 'train-0.parquet', [row])
  [first], _ = read(tmp_path)
  assert first.profile == (types.Document('old', 'old'),)


def test_items_without_text_are_skipped_and_counted(tmp_path):
  items = [{'title': 't'}, {'text': None}, {'text': ' '}, {}, None]
  items += [{'text': float('nan')}, {'text': 'old'}]
  first, counts = example(tmp_path, profile=items)
  assert first.profile == (types.Document('old', 'old'),)
  assert counts == NO_COUNTS | {'rows': 1, 'skipped_items': 6}


def test_parquet_items_that_all_lack_text_are_counted(tmp_path):
  task = folder(tmp_path, train=None)
  row = MAIL | {'profile': [{'title': 'a'}, {'title': 'b'}]}
  write_parquet(task / 'train-0.parquet', [row])
  [first], counts = read(tmp_path)
  assert first.profile == ()
  assert counts == NO_COUNTS | {
    'rows': 1,
    'empty_profiles': 1,
    'skipped_items': 2,
  }


def test_extra_fields_are_ignored(tmp_path):
  first, counts = example(
    tmp_path, note={'deep': [1]}, profile=[{'text': 'old', 'x': [1, {}]}]
  )
  assert first.profile == (types.Document('old', 'old'),)
  assert counts == NO_COUNTS | {'rows': 1}


def test_duplicate_users_are_counted(tmp_path):
  rows = [
    MAIL | {'user_id': user, 'output': output}
    for user, output in [('u', 'a'), ('u', 'b'), ('v', 'c'), ('u', 'd')]
  ]
  folder(tmp_path, train=lines(*rows))
  examples, counts = read(tmp_path)
  assert [x.output for x in examples] == ['a', 'b', 'c', 'd']
  assert counts == NO_COUNTS | {'rows': 4, 'duplicate_users': 2}


def test_duplicate_rows_are_kept_counted_and_warned(tmp_path):
  folder(tmp_path, train=lines(MAIL, MAIL, MAIL | {'output': 'other'}, MAIL))
  with pytest.warns(UserWarning, match="2 of 4 rows of split 'train' repeat"):
    examples, counts = read(tmp_path)
  assert [x.id for x in examples] == [
    'email_generation/train/0',
    'email_generation/train/1',
    'email_generation/train/2',
    'email_generation/train/3',
  ]
  assert counts == NO_COUNTS | {'rows': 4, 'duplicate_rows': 2}


def test_bom_crlf_and_blank_lines_are_accepted(tmp_path):
  one, two = lines(MAIL), lines(MAIL | {'input': 'é\u2028x'})
  content = b'\xef\xbb\xbf' + one + b'\r\n\r\n  \n' + two + b'\r\n\n'
  folder(tmp_path, train=content)
  examples, _ = read(tmp_path)
  assert [x.input for x in examples] == ['a mail', 'é\u2028x']


def test_json_list_may_have_bom_and_white_space(tmp_path):
  task = folder(tmp_path, train=None)
  body = (
    b'\xef\xbb\xbf\r\n[\r\n'
    + lines(MAIL)
    + b'\r\n,\n'
    + lines(MAIL | {'input': 'two'})
  )
  (task / 'train.json').write_bytes(body + b'\n]\n')
  examples, _ = read(tmp_path)
  assert [x.input for x in examples] == ['a mail', 'two']


def test_nan_in_json_is_an_empty_cell(tmp_path):
  row = b'{"input": "x", "output": "y", "profile": NaN, "score": -Infinity}'
  folder(tmp_path, train=row)
  [first], _ = read(tmp_path)
  assert first.profile == ()


def test_control_tokens_and_html_stay_plain_text(tmp_path):
  text = '<start_of_turn>user\n<b>&amp;</b><eos>\x00'
  first, _ = example(tmp_path, input=text, profile=[{'text': text}])
  assert first.input == text
  assert first.profile[0].text == text


def test_half_a_surrogate_pair_is_mended_and_counted(tmp_path):
  row = b'{"input": "cut \\ud83d", "output": "\\ud83d\\ude00"}'
  folder(tmp_path, train=row)
  [first], counts = read(tmp_path)
  assert (first.input, first.output) == ('cut \ufffd', '\U0001f600')
  assert counts['mended_texts'] == 1


def test_endless_document_is_cut_and_counted(tmp_path):
  first, counts = example(tmp_path, profile=[{'text': 'a' * 100_001}])
  assert first.profile[0].text == 'a' * 100_000
  assert counts == NO_COUNTS | {'rows': 1, 'cut_texts': 1}


def test_limit_takes_the_first_rows_of_each_task(tmp_path):
  rows = [MAIL | {'input': f'row {i}'} for i in range(5)]
  folder(tmp_path, train=lines(*rows))
  folder(tmp_path, 'topic_writing_user', train=lines(*rows))
  examples, counts = read(tmp_path, limit=2)
  assert [x.id for x in examples] == [
    'email_generation/train/0',
    'email_generation/train/1',
    'topic_writing/train/0',
    'topic_writing/train/1',
  ]
  assert counts['rows'] == 4


# The forms of a split.


def test_tasks_are_those_found_in_the_papers_order(tmp_path):
  folder(tmp_path, 'topic_writing_user')
  folder(tmp_path, 'email_generation_user')
  folder(tmp_path, 'product_review_temporal')
  assert longlamp.tasks_found(tmp_path, setting='user') == [
    'email_generation',
    'topic_writing',
  ]
  assert longlamp.tasks_found(tmp_path, setting='temporal') == [
    'product_review'
  ]


def test_rows_of_shards_are_counted_through(tmp_path):
  task = folder(tmp_path, train=None)
  for shard, texts in enumerate([['a', 'b'], [], ['c']]):
    rows = [MAIL | {'input': text} for text in texts]
    schema = pa.Table.from_pylist([MAIL]).schema
    pq.write_table(
      pa.Table.from_pylist(rows, schema),
      task / f'train-0000{shard}-of-00003.parquet',
    )
  examples, _ = read(tmp_path)
  assert [(x.id, x.input) for x in examples] == [
    ('email_generation/train/0', 'a'),
    ('email_generation/train/1', 'b'),
    ('email_generation/train/2', 'c'),
  ]


def test_parquet_is_read_over_many_batches(tmp_path):
  task = folder(tmp_path, train=None)
  rows = [MAIL | {'input': f'row {i}'} for i in range(100)]
  write_parquet(task / 'train-0.parquet', rows)
  examples, _ = read(tmp_path)
  assert [x.input for x in examples] == [f'row {i}' for i in range(100)]


def test_json_list_is_a_form(tmp_path):
  task = folder(tmp_path, train=None)
  rows = [MAIL, MAIL | {'input': '] , ['}]
  (task / 'train.json').write_text(json.dumps(rows, indent=2))
  examples, _ = read(tmp_path)
  assert [x.input for x in examples] == ['a mail', '] , [']


GOLDS = [{'id': 2, 'output': 'second'}, {'id': '1', 'output': 'first'}]


def mails(tmp_path, golds, split='train', name='train'):
  """The e-mail builder's two files for one split."""
  task = folder(tmp_path, **{split: None})
  questions = [{'id': '1', 'input': 'one'}, {'id': '2', 'input': 'two'}]
  (task / f'{name}_questions.json').write_text(json.dumps(questions))
  if golds is not None:
    (task / f'{name}_outputs.json').write_text(json.dumps(golds))
  return task


@pytest.mark.parametrize('golds', [GOLDS, {'task': 'x', 'golds': GOLDS}])
def test_questions_and_outputs_are_joined_by_id(tmp_path, golds):
  mails(tmp_path, golds)
  examples, _ = read(tmp_path)
  assert [(x.input, x.output) for x in examples] == [
    ('one', 'first'),
    ('two', 'second'),
  ]


def test_dev_counts_as_val(tmp_path):
  mails(tmp_path, GOLDS, split='val', name='dev')
  examples, _ = read(tmp_path, 'val')
  assert [x.id for x in examples] == [
    'email_generation/val/0',
    'email_generation/val/1',
  ]


def test_outputs_without_a_question_are_counted(tmp_path):
  mails(tmp_path, [*GOLDS, {'id': '3', 'output': 'third'}])
  _, counts = read(tmp_path)
  assert counts['unused_outputs'] == 1


# What is refused. Messages name file, row, field.


def test_missing_folder_is_refused_with_what_was_looked_for(tmp_path):
  for path in (tmp_path, tmp_path / 'nowhere'):
    assert_says(
      refusal(path),
      str(path),
      'email_generation_user',
      'abstract_generation_user',
      'product_review_user',
      'topic_writing_user',
    )


def test_unknown_setting_and_negative_limit_are_refused(tmp_path):
  folder(tmp_path)
  with pytest.raises(errors.InputError, match="data.setting is 'users'"):
    read(tmp_path, setting='users')
  with pytest.raises(errors.InputError, match='data.limit is -1'):
    read(tmp_path, limit=-1)


def test_task_that_lacks_any_split_is_refused(tmp_path):
  folder(tmp_path, 'topic_writing_user', val=None)
  assert_says(
    refusal(tmp_path, 'train'),
    'topic_writing_user',
    "no split 'val'",
    'val-*.parquet, val.jsonl, val.json, val_questions.json',
    'the folder holds test.jsonl, train.jsonl',
  )


def test_two_forms_of_one_split_are_refused(tmp_path):
  task = folder(tmp_path)
  (task / 'train.json').write_text('[]')
  assert_says(
    refusal(tmp_path), "'train'", 'train.jsonl and train.json', 'keep one'
  )


def test_dev_beside_val_is_refused(tmp_path):
  task = folder(tmp_path)
  (task / 'dev.jsonl').write_bytes(lines(MAIL))
  assert_says(refusal(tmp_path), 'val.jsonl and dev.jsonl')


def test_missing_shard_is_refused(tmp_path):
  task = folder(tmp_path, train=None)
  write_parquet(task / 'train-00000-of-00002.parquet', [MAIL])
  assert_says(
    refusal(tmp_path), '1 Parquet files', 'train-00000-of-00002.parquet says 2'
  )


BAD_FIELDS = [
  ({'input': None}, 'input is missing'),
  ({'input': float('nan')}, 'input is missing'),
  ({'input': ''}, 'input is empty'),
  ({'input': 5}, 'input is a int'),
  ({'output': None}, 'output is missing'),
  ({'output': ' \n'}, 'output is empty'),
  ({'output': ['x']}, 'output is a list'),
  ({'profile': 5}, 'profile is a int'),
  ({'profile': False}, 'profile is a bool'),
  ({'profile': {'text': 'x'}}, 'profile is a dict'),
  ({'profile': '{}'}, 'profile is a dict'),
  ({'profile': 'old mail'}, 'profile: not valid JSON'),
  ({'profile': [{'text': 'x'}, 'y']}, 'profile item 2: is a str'),
  ({'profile': [{'text': ['x']}]}, 'profile item 1: text is a list'),
]


@pytest.mark.parametrize('fields, reason', BAD_FIELDS)
def test_bad_field_is_refused_in_json_lines(tmp_path, fields, reason):
  folder(tmp_path, train=lines(MAIL) + b'\n\n' + lines(MAIL | fields))
  assert_says(refusal(tmp_path), f'train.jsonl: row 2 (line 3): {reason}')


@pytest.mark.parametrize('fields, reason', BAD_FIELDS)
def test_bad_field_is_refused_in_a_json_list(tmp_path, fields, reason):
  task = folder(tmp_path, train=None)
  (task / 'train.json').write_text(json.dumps([MAIL, MAIL | fields]))
  assert_says(refusal(tmp_path), f'train.json: row 2: {reason}')


@pytest.mark.parametrize(
  'fields, reason',
  [
    ({'input': None}, 'input is missing'),
    ({'output': ''}, 'output is empty'),
  ],
)
def test_bad_field_is_refused_in_parquet(tmp_path, fields, reason):
  task = folder(tmp_path, train=None)
  path = task / 'train-00000-of-00001.parquet'
  write_parquet(path, [MAIL, MAIL | fields])
  assert_says(refusal(tmp_path), f'{path}: row 2: {reason}')


@pytest.mark.parametrize(
  'column, reason',
  [
    ({'input': [5]}, 'input is a int'),
    ({'profile': [5]}, 'profile is a int'),
    ({'profile': [{'text': 'x'}]}, 'profile is a dict'),
    ({'profile': [['x']]}, 'profile item 1: is a str'),
  ],
)
def test_parquet_column_of_another_type_is_refused(tmp_path, column, reason):
  task = folder(tmp_path, train=None)
  columns = {'input': ['x'], 'output': ['y']} | column
  pq.write_table(pa.table(columns), task / 'train-0.parquet')
  assert_says(refusal(tmp_path), f'train-0.parquet: row 1: {reason}')


def test_parquet_without_a_column_is_refused(tmp_path):
  task = folder(tmp_path, train=None)
  write_parquet(task / 'train-0.parquet', [{'target': 'x'}])
  assert_says(refusal(tmp_path), 'train-0.parquet: row 1: input is missing')


def test_missing_input_key_is_refused(tmp_path):
  folder(tmp_path, train=lines({'output': 'y'}))
  assert_says(refusal(tmp_path), 'row 1 (line 1): input is missing')


def test_row_that_is_no_object_is_refused(tmp_path):
  folder(tmp_path, train=lines(MAIL, ['x']))
  assert_says(refusal(tmp_path), 'row 2 (line 2): is a list', 'an object')


def test_truncated_json_lines_are_refused(tmp_path):
  folder(tmp_path, train=lines(MAIL, MAIL)[:-9])
  assert_says(
    refusal(tmp_path), 'train.jsonl: row 2 (line 2): not valid JSON', 'cut'
  )


@pytest.mark.parametrize(
  'content, row',
  [
    (b'', 1),
    (b'[', 1),
    (b'[' + lines(MAIL)[:-5], 1),
    (b'[' + lines(MAIL), 1),
    (b'[' + lines(MAIL) + b', ', 2),
    (b'[' + lines(MAIL) + b', {"inp', 2),
    (b'[' + lines(MAIL) + b'] [' + lines(MAIL) + b']', 2),
    (lines(MAIL), 1),
    (b'[' * 100_000, 1),
  ],
)
def test_truncated_or_malformed_json_list_is_refused(tmp_path, content, row):
  task = folder(tmp_path, train=None)
  (task / 'train.json').write_bytes(content)
  assert_says(refusal(tmp_path), f'train.json: row {row}: ', '; ')


@pytest.mark.parametrize('kept', [0, 3, 200, -1])
def test_truncated_parquet_is_refused(tmp_path, kept):
  task = folder(tmp_path, train=None)
  path = task / 'train-00000-of-00001.parquet'
  write_parquet(path, [MAIL])
  path.write_bytes(path.read_bytes()[:kept])
  assert_says(refusal(tmp_path), f'{path}: row 1: not readable as Parquet')


def test_parquet_damaged_inside_is_refused(tmp_path):
  task = folder(tmp_path, train=None)
  path = task / 'train-00000-of-00001.parquet'
  write_parquet(path, [MAIL])
  data = path.read_bytes()
  path.write_bytes(data[:4] + b'\xff' * 60 + data[64:])
  assert_says(refusal(tmp_path), str(path), 'not readable as Parquet')


def test_text_that_is_not_utf8_is_refused(tmp_path):
  folder(tmp_path, train=lines(MAIL) + b'\n{"input": "caf\xe9"}')
  assert_says(refusal(tmp_path), 'train.jsonl: row 2 (line 2): not UTF-8')


def test_json_list_that_is_not_utf8_is_refused(tmp_path):
  task = folder(tmp_path, train=None)
  body = b'[' + lines(MAIL) + b', {"input": "caf\xe9"}]'
  (task / 'train.json').write_bytes(body)
  assert_says(refusal(tmp_path), 'train.json: row 2: not UTF-8')


def test_parquet_text_that_is_not_utf8_is_refused(tmp_path):
  task = folder(tmp_path, train=None)
  broken = pa.array([b'x', b'caf\xe9']).view(pa.string())
  table = pa.table({'input': broken, 'output': ['y', 'y']})
  pq.write_table(table, task / 'train-0.parquet')
  assert_says(refusal(tmp_path), 'train-0.parquet: row 2: input is not UTF-8')


@pytest.mark.parametrize('content', [b'', b'\n\r\n', b'\xef\xbb\xbf'])
def test_split_without_rows_is_refused(tmp_path, content):
  folder(tmp_path, train=content)
  assert_says(
    refusal(tmp_path), 'email_generation_user', "split 'train' has no rows"
  )


def test_empty_json_list_and_parquet_have_no_rows(tmp_path):
  task = folder(tmp_path, train=None, val=None)
  (task / 'train.json').write_text('[]')
  table = pa.Table.from_pylist([], pa.Table.from_pylist([MAIL]).schema)
  pq.write_table(table, task / 'val-00000-of-00001.parquet')
  assert_says(refusal(tmp_path, 'train'), "split 'train' has no rows")
  assert_says(refusal(tmp_path, 'val'), "split 'val' has no rows")


@pytest.mark.parametrize(
  'golds, parts',
  [
    (None, ['train_questions.json: train_outputs.json is missing']),
    (
      GOLDS[:1],
      ['train_questions.json: row 1: output is missing', "no id '1'"],
    ),
    ({'task': 'x'}, ['train_outputs.json: golds is missing']),
    ([{'id': '1'}], ['train_outputs.json: row 1: output is missing']),
    ([{'output': 'x'}], ['train_outputs.json: row 1: id is missing']),
    (
      [*GOLDS, {'id': '1', 'output': 'else'}],
      ['train_outputs.json: row 3: id', 'another output'],
    ),
    (['x'], ['train_outputs.json: row 1: is a str']),
  ],
)
def test_bad_outputs_are_refused(tmp_path, golds, parts):
  mails(tmp_path, golds)
  assert_says(refusal(tmp_path), *parts)


def test_missing_outputs_of_another_split_are_found_at_once(tmp_path):
  task = folder(tmp_path, test=None)
  (task / 'test_questions.json').write_text('[]')
  assert_says(refusal(tmp_path, 'train'), 'test_outputs.json is missing')


def test_question_without_id_is_refused(tmp_path):
  task = mails(tmp_path, GOLDS)
  (task / 'train_questions.json').write_text('[{"input": "x"}]')
  assert_says(refusal(tmp_path), 'train_questions.json: row 1: id is missing')


def test_truncated_outputs_are_refused(tmp_path):
  task = mails(tmp_path, GOLDS)
  (task / 'train_outputs.json').write_text('[{"id": 1, "out')
  assert_says(refusal(tmp_path), 'train_outputs.json: not valid JSON')


# Real texts.


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
  examples, counts = read(SAMPLE, split, setting)
  number = collections.Counter(x.task for x in examples)
  assert tuple(number[task] for task in types.TASKS) == rows
  assert counts == NO_COUNTS | {
    'rows': sum(rows),
    'duplicate_users': seen_users,
  }
