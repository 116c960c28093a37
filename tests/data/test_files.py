"""The forms of a split that data/files.py reads, and what it then refuses.

Messages name file, row and field.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import longlamp_rows as given


def test_bom_crlf_and_blank_lines_are_accepted(tmp_path):
  one, two = (
    given.lines(given.MAIL),
    given.lines(given.MAIL | {'input': 'é\u2028x'}),
  )
  content = b'\xef\xbb\xbf' + one + b'\r\n\r\n  \n' + two + b'\r\n\n'
  given.folder(tmp_path, train=content)
  examples, _ = given.read(tmp_path)
  assert [x.input for x in examples] == ['a mail', 'é\u2028x']


def test_json_list_may_have_bom_and_white_space(tmp_path):
  task = given.folder(tmp_path, train=None)
  body = (
    b'\xef\xbb\xbf\r\n[\r\n'
    + given.lines(given.MAIL)
    + b'\r\n,\n'
    + given.lines(given.MAIL | {'input': 'two'})
  )
  (task / 'train.json').write_bytes(body + b'\n]\n')
  examples, _ = given.read(tmp_path)
  assert [x.input for x in examples] == ['a mail', 'two']


@pytest.mark.parametrize('name', ['a[1]b', 'a\\b', 'a*b', 'new\nline'])
@pytest.mark.parametrize(
  'file', ['train.jsonl', 'train.json', 'train-0.parquet']
)
def test_the_name_of_the_folder_is_no_pattern(name, file, tmp_path):
  task = given.folder(tmp_path / name, train=None)
  text = json.dumps(given.MAIL)
  if file.endswith('parquet'):
    given.write_parquet(task / file, [given.MAIL])
  else:
    (task / file).write_text(f'[{text}]' if file == 'train.json' else text)
  examples, _ = given.read(tmp_path / name)
  assert [x.input for x in examples] == ['a mail']


def test_rows_of_shards_are_counted_through(tmp_path):
  task = given.folder(tmp_path, train=None)
  for shard, texts in enumerate([['a', 'b'], [], ['c']]):
    rows = [given.MAIL | {'input': text} for text in texts]
    schema = pa.Table.from_pylist([given.MAIL]).schema
    pq.write_table(
      pa.Table.from_pylist(rows, schema),
      task / f'train-0000{shard}-of-00003.parquet',
    )
  examples, _ = given.read(tmp_path)
  assert [(x.id, x.input) for x in examples] == [
    ('email_generation/train/0', 'a'),
    ('email_generation/train/1', 'b'),
    ('email_generation/train/2', 'c'),
  ]


def test_json_list_is_a_form(tmp_path):
  task = given.folder(tmp_path, train=None)
  rows = [given.MAIL, given.MAIL | {'input': '] , ['}]
  (task / 'train.json').write_text(json.dumps(rows, indent=2))
  examples, _ = given.read(tmp_path)
  assert [x.input for x in examples] == ['a mail', '] , [']


GOLDS = [{'id': 2, 'output': 'second'}, {'id': '1', 'output': 'first'}]


def mails(tmp_path, golds, split='train', name='train'):
  """The e-mail builder's two files for one split."""
  task = given.folder(tmp_path, **{split: None})
  questions = [{'id': '1', 'input': 'one'}, {'id': '2', 'input': 'two'}]
  (task / f'{name}_questions.json').write_text(json.dumps(questions))
  if golds is not None:
    (task / f'{name}_outputs.json').write_text(json.dumps(golds))
  return task


@pytest.mark.parametrize('golds', [GOLDS, {'task': 'x', 'golds': GOLDS}])
def test_questions_and_outputs_are_joined_by_id(tmp_path, golds):
  mails(tmp_path, golds)
  examples, _ = given.read(tmp_path)
  assert [(x.input, x.output) for x in examples] == [
    ('one', 'first'),
    ('two', 'second'),
  ]


def test_dev_counts_as_val(tmp_path):
  mails(tmp_path, GOLDS, split='val', name='dev')
  examples, _ = given.read(tmp_path, 'val')
  assert [x.id for x in examples] == [
    'email_generation/val/0',
    'email_generation/val/1',
  ]


def test_validation_counts_as_val(tmp_path):
  task = given.folder(tmp_path, val=None)
  (task / 'validation.jsonl').write_bytes(given.lines(given.MAIL))
  [example], _ = given.read(tmp_path, 'val')
  assert example.id == 'email_generation/val/0'


def test_a_profile_may_be_columns(tmp_path):
  columns = {'text': ['old', 'older'], 'title': ['a', None]}
  items = [{'text': 'old', 'title': 'a'}, {'text': 'older', 'title': None}]
  read = []
  for n, profile in enumerate((items, columns, json.dumps(columns))):
    row = given.MAIL | {'profile': profile}
    given.folder(tmp_path / str(n), train=given.lines(row))
    [example], _ = given.read(tmp_path / str(n))
    read.append(example.profile)
  assert len(read[0]) == 2
  assert read[0] == read[1] == read[2]


def test_columns_of_other_lengths_are_refused(tmp_path):
  row = given.MAIL | {'profile': {'text': ['a', 'b'], 'title': ['c']}}
  given.folder(tmp_path, train=given.lines(row))
  given.assert_says(
    given.refusal(tmp_path),
    'row 1',
    'profile is a dict of text: 2, title: 1; it must be a list of items, or a '
    'dict of lists of equal length',
  )


def test_outputs_without_a_question_are_counted(tmp_path):
  mails(tmp_path, [*GOLDS, {'id': '3', 'output': 'third'}])
  _, counts = given.read(tmp_path)
  assert counts['unused_outputs'] == 1


def test_two_forms_of_one_split_are_refused(tmp_path):
  task = given.folder(tmp_path)
  (task / 'train.json').write_text('[]')
  given.assert_says(
    given.refusal(tmp_path), "'train'", 'train.jsonl and train.json', 'keep one'
  )


def test_dev_beside_val_is_refused(tmp_path):
  task = given.folder(tmp_path)
  (task / 'dev.jsonl').write_bytes(given.lines(given.MAIL))
  given.assert_says(given.refusal(tmp_path), 'val.jsonl and dev.jsonl')


HASH = '-3d4cd8309148a71f'


def shards(tmp_path, *names):
  """A split train of Parquet files of a row each."""
  task = given.folder(tmp_path, train=None)
  for name in names:
    given.write_parquet(task / f'train-{name}.parquet', [given.MAIL])


@pytest.mark.parametrize(
  'names, parts',
  [
    (['00000-of-00002'], ['lacks train-00001-of-00002.parquet of 2']),
    (
      [f'0000{n}-of-00004{HASH}' for n in (0, 2)],
      [
        f'train-00001-of-00004{HASH}.parquet, '
        f'train-00003-of-00004{HASH}.parquet of 4'
      ],
    ),
    (['00001-of-00003', '00003-of-00003'], ['lacks train-00002-of-00003']),
    (
      [f'00000-of-00002{HASH}', '00001-of-00002-aaaa'],
      [
        'more than one download',
        f'00000-of-00002{HASH}',
        '00001-of-00002-aaaa',
      ],
    ),
    (['0-of-2', '1-of-3'], ['more than one download', '1-of-3.parquet']),
    (['0-of-2', 'a'], ['more than one download', 'train-a.parquet']),
    (['0-of-2', '1-of-2', '01-of-2'], ['has 3 Parquet files', 'says 2']),
    (['0-of-2', '5-of-2'], ['lacks train-1-of-2.parquet']),
    (['0-of-40'], ['train-1-of-40.parquet', 'train-8-of-40', 'and 31 more']),
  ],
)
def test_shards_that_are_not_all_of_one_download_are_refused(
  tmp_path, names, parts
):
  shards(tmp_path, *names)
  given.assert_says(given.refusal(tmp_path), "'train'", *parts)


@pytest.mark.parametrize(
  'names',
  [
    [f'0000{n}-of-00003{HASH}' for n in range(3)],
    ['1-of-2', '2-of-2'],
    ['a', 'b', '1-of-4seasons'],
  ],
)
def test_shards_of_one_download_are_read(tmp_path, names):
  shards(tmp_path, *names)
  assert len(given.read(tmp_path)[0]) == len(names)


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
  given.folder(
    tmp_path,
    train=given.lines(given.MAIL) + b'\n\n' + given.lines(given.MAIL | fields),
  )
  given.assert_says(
    given.refusal(tmp_path), f'train.jsonl: row 2 (line 3): {reason}'
  )


@pytest.mark.parametrize('fields, reason', BAD_FIELDS)
def test_bad_field_is_refused_in_a_json_list(tmp_path, fields, reason):
  task = given.folder(tmp_path, train=None)
  (task / 'train.json').write_text(
    json.dumps([given.MAIL, given.MAIL | fields])
  )
  given.assert_says(given.refusal(tmp_path), f'train.json: row 2: {reason}')


def test_missing_input_key_is_refused(tmp_path):
  given.folder(tmp_path, train=given.lines({'output': 'y'}))
  given.assert_says(given.refusal(tmp_path), 'row 1 (line 1): input is missing')


def test_row_that_is_no_object_is_refused(tmp_path):
  given.folder(tmp_path, train=given.lines(given.MAIL, ['x']))
  given.assert_says(
    given.refusal(tmp_path), 'row 2 (line 2): is a list', 'an object'
  )


def test_truncated_json_lines_are_refused(tmp_path):
  given.folder(tmp_path, train=given.lines(given.MAIL, given.MAIL)[:-9])
  given.assert_says(
    given.refusal(tmp_path),
    'train.jsonl: row 2 (line 2): not valid JSON',
    'cut',
  )


@pytest.mark.parametrize(
  'content, row',
  [
    (b'', 1),
    (b'[', 1),
    (b'[' + given.lines(given.MAIL)[:-5], 1),
    (b'[' + given.lines(given.MAIL), 1),
    (b'[' + given.lines(given.MAIL) + b', ', 2),
    (b'[' + given.lines(given.MAIL) + b', {"inp', 2),
    (
      b'[' + given.lines(given.MAIL) + b'] [' + given.lines(given.MAIL) + b']',
      2,
    ),
    (given.lines(given.MAIL), 1),
    (b'[' * 100_000, 1),
  ],
)
def test_truncated_or_malformed_json_list_is_refused(tmp_path, content, row):
  task = given.folder(tmp_path, train=None)
  (task / 'train.json').write_bytes(content)
  given.assert_says(given.refusal(tmp_path), f'train.json: row {row}: ', '; ')


def test_text_that_is_not_utf8_is_refused(tmp_path):
  given.folder(
    tmp_path, train=given.lines(given.MAIL) + b'\n{"input": "caf\xe9"}'
  )
  given.assert_says(
    given.refusal(tmp_path), 'train.jsonl: row 2 (line 2): not UTF-8'
  )


def test_json_list_that_is_not_utf8_is_refused(tmp_path):
  task = given.folder(tmp_path, train=None)
  body = b'[' + given.lines(given.MAIL) + b', {"input": "caf\xe9"}]'
  (task / 'train.json').write_bytes(body)
  given.assert_says(given.refusal(tmp_path), 'train.json: row 2: not UTF-8')


@pytest.mark.parametrize('content', [b'', b'\n\r\n', b'\xef\xbb\xbf'])
def test_split_without_rows_is_refused(tmp_path, content):
  given.folder(tmp_path, train=content)
  given.assert_says(
    given.refusal(tmp_path),
    'email_generation_user',
    "split 'train' has no rows",
  )


def test_empty_json_list_and_parquet_have_no_rows(tmp_path):
  task = given.folder(tmp_path, train=None, val=None)
  (task / 'train.json').write_text('[]')
  table = pa.Table.from_pylist([], pa.Table.from_pylist([given.MAIL]).schema)
  pq.write_table(table, task / 'val-00000-of-00001.parquet')
  given.assert_says(
    given.refusal(tmp_path, 'train'), "split 'train' has no rows"
  )
  given.assert_says(given.refusal(tmp_path, 'val'), "split 'val' has no rows")


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
  given.assert_says(given.refusal(tmp_path), *parts)


def test_missing_outputs_of_another_split_are_found_at_once(tmp_path):
  task = given.folder(tmp_path, test=None)
  (task / 'test_questions.json').write_text('[]')
  given.assert_says(
    given.refusal(tmp_path, 'train'), 'test_outputs.json is missing'
  )


def test_question_without_id_is_refused(tmp_path):
  task = mails(tmp_path, GOLDS)
  (task / 'train_questions.json').write_text('[{"input": "x"}]')
  given.assert_says(
    given.refusal(tmp_path), 'train_questions.json: row 1: id is missing'
  )


def test_truncated_outputs_are_refused(tmp_path):
  task = mails(tmp_path, GOLDS)
  (task / 'train_outputs.json').write_text('[{"id": 1, "out')
  given.assert_says(
    given.refusal(tmp_path), 'train_outputs.json: not valid JSON'
  )
