"""Facts about restpg_jax/data/requests.py: rows that ask for a text."""

import json

import pytest

from restpg_jax import errors, types
from restpg_jax.data import requests

ITEMS = {  # LongLaMP's: a row's user field and a profile item of each task
  'email_generation': ('user_id', {'text': 'b', 'title': 's'}),
  'abstract_generation': ('name', {'abstract': 'b', 'title': 's'}),
  'product_review': (
    'reviewerId',
    {'reviewText': 'b', 'overall': 5.0, 'summary': 's', 'description': 'd'},
  ),
  'topic_writing': ('author', {'content': 'b', 'summary': 's', 'author': 'u'}),
}


def read(tmp_path, *rows, **how):
  path = tmp_path / 'users.jsonl'
  path.write_text(
    ''.join(f'{r if isinstance(r, str) else json.dumps(r)}\n' for r in rows)
  )
  return list(requests.read_requests(path, **how))


def row(profile, **fields):
  return {'input': 'Write it: now', 'profile': profile} | fields


@pytest.mark.parametrize('task', ITEMS)
def test_the_fields_tell_the_task(task, tmp_path):
  user, item = ITEMS[task]
  found = read(
    tmp_path,
    row([item]),
    row([], **{user: 'u1'}),  # nothing but the user's field
    row(json.dumps([item])),  # a profile may come as text
  )
  assert [r.example.task for r in found] == [task] * 3
  texts = [[d.text for d in r.example.profile] for r in found]
  assert texts == [['b'], [], ['b']]


def test_retrieval_compares_what_the_benchmark_compares(tmp_path):
  (found,) = read(tmp_path, row([ITEMS['product_review'][1]]))
  assert found.example.profile == (types.Document('b', '5.0 s d b'),)


def test_texts_alone_need_no_task(tmp_path):
  (found,) = read(tmp_path, row(['one', ' ', 'two'], name='no field of ours'))
  assert found.example == types.Example(
    id='1',
    task='',
    input='Write it: now',
    output='',
    profile=(types.Document('one', 'one'), types.Document('two', 'two')),
  )


def test_a_named_task_goes_before_the_flag_and_both_before_fields(tmp_path):
  item = {'text': 'b', 'content': 'c'}
  found = read(
    tmp_path,
    row([item], task='email_generation'),
    row([item]),
    row(['plain']),
    task='topic_writing',
  )
  assert [(r.example.task, r.example.profile[0].text) for r in found] == [
    ('email_generation', 'b'),
    ('topic_writing', 'c'),
    ('topic_writing', 'plain'),
  ]


def test_the_users_field_decides_between_tasks_that_share_fields(tmp_path):
  (found,) = read(tmp_path, row([{'text': 'b', 'content': 'c'}], author='u'))
  assert found.example.task == 'topic_writing'


def test_an_id_is_kept_and_else_the_number_of_the_row(tmp_path):
  found = read(tmp_path, row([], id='u7'), '', row([], id=9), row([], id=None))
  assert [r.id for r in found] == ['u7', 9, 3]
  assert [r.example.id for r in found] == ['1', '2', '3']  # of the random key


def test_an_output_is_not_looked_at(tmp_path):
  (found,) = read(tmp_path, row([], output=3))
  assert found.example.output == ''


def test_odd_rows_are_counted(tmp_path):
  counts = {}
  read(
    tmp_path,
    row([]),
    row([{'text': ''}, {'text': 'x' * 100_001}]),
    row(['y' * 100_001, '']),
    counts=counts,
  )
  assert {name: counts[name] for name in requests.COUNTS} == {
    'rows': 3,
    'empty_profiles': 1,
    'skipped_items': 2,
    'cut_texts': 2,
  }


@pytest.mark.parametrize(
  'bad, said',
  [
    ('{"input": "x", ', 'row 2 (line 2): not valid JSON'),
    ('[1]', 'row 2 (line 2): is a list; it must be an object'),
    ({'profile': []}, 'row 2 (line 2): input is missing; every row needs'),
    (row([]) | {'input': 3}, 'input is a int; it must be a text'),
    (row([]) | {'input': ' '}, 'input is empty; fill it or remove the row'),
    ({'input': 'x'}, 'profile is missing; give a list of what the user wrote'),
    (row(3), 'profile is a int; it must be a list'),
    (row('[1'), 'profile: not valid JSON'),
    (row([3]), 'profile item 1: is a int; it must be an object'),
    (row(['x', {'text': []}]), 'profile item 2: text is a list; it must be'),
    (row([], task='poems'), "task is 'poems'; it must be one of email_gen"),
    (row([{'title': 'x'}]), 'task is missing, and the fields of its profile'),
    (row([], id=[1]), 'id is a list; it must be a text or a whole number'),
    (row([], id=True), 'id is a bool'),
  ],
)
def test_a_bad_row_is_named_with_its_field_and_a_remedy(bad, said, tmp_path):
  with pytest.raises(errors.InputError) as caught:
    read(tmp_path, row([]), bad)
  message = str(caught.value)
  assert message.startswith(f'{tmp_path / "users.jsonl"}: row 2 (line 2): ')
  assert said in message and '\n' not in message


def test_no_rows_at_all(tmp_path):
  with pytest.raises(errors.InputError, match='it has no rows; write one a li'):
    read(tmp_path, '', ' ')


def test_rows_are_read_as_they_are_asked_for(tmp_path):
  path = tmp_path / 'users.jsonl'
  path.write_text(f'{json.dumps(row([]))}\nnot JSON\n')
  rows = requests.read_requests(path)
  assert next(rows).id == 1
  with pytest.raises(errors.InputError):
    next(rows)
