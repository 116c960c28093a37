"""Splits in Parquet files, whole and damaged."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath

from restpg_jax import types
from restpg_jax.data import parquet, rows
from tests.data import longlamp_rows as given


def test_truth_passes_through_parquet(tmp_path):
  row = given.MAIL | {'truth': [{'want': 'tea', 'among': ['tea', 'gin']}]}
  task = given.folder(tmp_path, train=None)
  given.write_parquet(task / 'train-0.parquet', [row])
  [first], _ = given.read(tmp_path)
  assert first.truth == (types.TruthSlot('tea', ('tea', 'gin')),)


def test_profile_may_be_a_json_string_in_parquet(tmp_path):
  task = given.folder(tmp_path, train=None)
  row = given.MAIL | {'profile': '[{"text": "old"}]'}
  given.write_parquet(task / 'train-0.parquet', [row])
  [first], _ = given.read(tmp_path)
  assert first.profile == (types.Document('old', 'old'),)


def test_profile_may_be_columns_in_parquet(tmp_path):
  """What `datasets` made of lists of objects for years."""
  task = given.folder(tmp_path, train=None)
  columns = {'id': ['1', '2'], 'text': ['old', 'older'], 'title': ['a', 'b']}
  rows = [given.MAIL | {'profile': columns}]
  given.write_parquet(task / 'train-0.parquet', rows)
  [first], _ = given.read(tmp_path)
  assert [document.text for document in first.profile] == ['old', 'older']


def test_parquet_is_read_over_many_batches(tmp_path):
  task = given.folder(tmp_path, train=None)
  rows = [given.MAIL | {'input': f'row {i}'} for i in range(100)]
  given.write_parquet(task / 'train-0.parquet', rows)
  examples, _ = given.read(tmp_path)
  assert [x.input for x in examples] == [f'row {i}' for i in range(100)]


@pytest.mark.parametrize(
  'fields, reason',
  [
    ({'input': None}, 'input is missing'),
    ({'output': ''}, 'output is empty'),
  ],
)
def test_bad_field_is_refused_in_parquet(tmp_path, fields, reason):
  task = given.folder(tmp_path, train=None)
  path = task / 'train-00000-of-00001.parquet'
  given.write_parquet(path, [given.MAIL, given.MAIL | fields])
  given.assert_says(given.refusal(tmp_path), f'{path}: row 2: {reason}')


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
  task = given.folder(tmp_path, train=None)
  columns = {'input': ['x'], 'output': ['y']} | column
  pq.write_table(pa.table(columns), task / 'train-0.parquet')
  given.assert_says(
    given.refusal(tmp_path), f'train-0.parquet: row 1: {reason}'
  )


def test_parquet_without_a_column_is_refused(tmp_path):
  task = given.folder(tmp_path, train=None)
  given.write_parquet(task / 'train-0.parquet', [{'target': 'x'}])
  given.assert_says(
    given.refusal(tmp_path), 'train-0.parquet: row 1: input is missing'
  )


@pytest.mark.parametrize('kept', [0, 3, 200, -1])
def test_truncated_parquet_is_refused(tmp_path, kept):
  task = given.folder(tmp_path, train=None)
  path = task / 'train-00000-of-00001.parquet'
  given.write_parquet(path, [given.MAIL])
  path.write_bytes(path.read_bytes()[:kept])
  given.assert_says(
    given.refusal(tmp_path), f'{path}: row 1: not readable as Parquet'
  )


def test_parquet_damaged_inside_is_refused(tmp_path):
  task = given.folder(tmp_path, train=None)
  path = task / 'train-00000-of-00001.parquet'
  given.write_parquet(path, [given.MAIL])
  data = path.read_bytes()
  path.write_bytes(data[:4] + b'\xff' * 60 + data[64:])
  given.assert_says(
    given.refusal(tmp_path), str(path), 'not readable as Parquet'
  )


def test_parquet_text_that_is_not_utf8_is_refused(tmp_path):
  task = given.folder(tmp_path, train=None)
  broken = pa.array([b'x', b'caf\xe9']).view(pa.string())
  table = pa.table({'input': broken, 'output': ['y', 'y']})
  pq.write_table(table, task / 'train-0.parquet')
  given.assert_says(
    given.refusal(tmp_path), 'train-0.parquet: row 2: input is not UTF-8'
  )


@pytest.mark.parametrize('longest', [8, 9, 10, 1000])
@pytest.mark.parametrize('large', [False, True])
def test_of_a_giant_text_the_beginning_is_read(
  tmp_path, monkeypatch, longest, large
):
  text = pa.large_string() if large else pa.string()
  item = pa.struct({'text': text, 'overall': pa.float64()})
  profile = pa.large_list(item) if large else pa.list_(item)
  schema = pa.schema({'input': text, 'profile': profile, 'none': pa.null()})
  path = epath.Path(tmp_path / 'x.parquet')
  items = [
    {'text': 'short', 'overall': 5.0},
    {'text': 'ééééééé', 'overall': None},
    None,
    {'text': None, 'overall': 1.5},
  ]
  some = [
    {'input': 'one', 'profile': []},
    {'input': None, 'profile': items},
    {'input': 'three', 'profile': None},
  ]
  pq.write_table(pa.Table.from_pylist(some, schema), path)

  def read():
    found = parquet.read_parquet(
      path, fields=set(schema.names), items={'text'}, text={'text'}
    )
    return [row for _, row in found]

  whole = read()
  assert whole[1]['profile'][1]['text'] == 'ééééééé'
  monkeypatch.setattr(rows, 'LONGEST', longest)
  cut = read()
  text = cut[1]['profile'][1].pop('text')
  assert text == 'é' * min(7, longest // 2)
  del whole[1]['profile'][1]['text']
  assert cut == whole
