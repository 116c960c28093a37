"""Data in a bucket: each form of a split gives what it gives locally."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath

from restpg_jax import errors
from restpg_jax.data import builder, longlamp, requests
from tests import remote
from tests.data import longlamp_rows as given

TASK = 'email_generation_user'
ROWS = [
  given.MAIL | {'id': n, 'input': f'mail {n}: žluť\u2028\r', 'user_id': f'{n}'}
  for n in range(30)
]


def parquet(task):
  given.write_parquet(task / 'train-0.parquet', ROWS)


def json_lines(task):
  (task / 'train.jsonl').write_bytes(given.lines(*ROWS) + b'\n\n')


def json_list(task):
  (task / 'train.json').write_text(json.dumps(ROWS))


def pair(task):
  golds = [{'id': row['id'], 'output': row['output']} for row in ROWS]
  (task / 'train_questions.json').write_text(json.dumps(ROWS))
  (task / 'train_outputs.json').write_text(json.dumps({'golds': golds}))


@pytest.mark.parametrize('write', [parquet, json_lines, json_list, pair])
def test_a_form_is_read_as_it_is_on_this_machine(tmp_path, bucket, write):
  write(given.folder(tmp_path, train=None))
  remote.upload(bucket, tmp_path, 'gs://b/data')
  found = given.read('gs://b/data')
  assert found == given.read(tmp_path)
  assert [e.input for e in found[0]][1] == 'mail 1: žluť\u2028\r'
  tasks = longlamp.tasks_found('gs://b/data', setting='user')
  assert tasks == ['email_generation']


def test_a_prepared_split_is_read_as_it_is_on_this_machine(tmp_path, bucket):
  task = given.folder(tmp_path / 'source', train=given.lines(*ROWS))
  builder.build_dataset(
    TASK,
    manual_dir=str(task.parent),
    to=epath.Path(tmp_path / 'made'),
    max_text=100,
    on_error='stop',
    source='',
  )
  made = tmp_path / 'made' / 'longlamp'
  remote.upload(bucket, made, 'gs://b/data')
  found = given.read('gs://b/data', max_text=100)
  assert found == given.read(made, max_text=100)
  assert len(found[0]) == 30
  with pytest.raises(errors.InputError, match='gs://b/data/.*cut to 100 char'):
    given.read('gs://b/data', max_text=101)


def test_a_split_is_prepared_from_a_bucket(tmp_path, bucket):
  given.folder(tmp_path / 'source', train=given.lines(*ROWS))
  remote.upload(bucket, tmp_path / 'source', 'gs://b/source')
  made = builder.build_dataset(
    TASK,
    manual_dir='gs://b/source',
    to=epath.Path(tmp_path / 'made'),
    max_text=100,
    on_error='stop',
    source='',
  )
  assert made['counts']['train']['rows'] == 30


def test_of_parquet_only_the_columns_that_are_needed_are_read(tmp_path, bucket):
  rows = [
    given.MAIL | {'unused': f'{n}' * 10, 'input': 'x' * (n + 1)}
    for n in range(9)
  ]
  table = pa.Table.from_pylist(rows)
  bulk = pa.array([bytes(1 << 20)] * 9, pa.binary())
  table = table.append_column('bulk', bulk)
  task = given.folder(tmp_path, train=None)
  path = task / 'train-0.parquet'
  pq.write_table(table, path, compression='none', use_dictionary=False)
  remote.upload(bucket, tmp_path, 'gs://b/data')
  examples, _ = given.read('gs://b/data')
  assert [len(e.input) for e in examples] == [*range(1, 10)]
  assert sum(n for _, n in bucket.reads) < 6 << 20 < 9 << 20


def test_a_faulty_row_in_a_bucket_is_named(tmp_path, bucket):
  given.folder(tmp_path, train=given.lines(given.MAIL) + b'\n{"input": ')
  remote.upload(bucket, tmp_path, 'gs://b/data')
  path = f'gs://b/data/{TASK}/train.jsonl'
  given.assert_says(given.refusal('gs://b/data'), f'{path}: row 2', 'not valid')


def test_requests_are_read_from_a_bucket(bucket):
  path = epath.Path('gs://b/in.jsonl')
  path.write_text('{"input": "one", "profile": ["a"]}\n')
  assert [r.example.input for r in requests.read_requests(path)] == ['one']
  with pytest.raises(errors.InputError, match='gs://b/none: cannot be read'):
    list(requests.read_requests('gs://b/none'))
