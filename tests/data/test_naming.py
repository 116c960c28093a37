"""Facts about restpg_jax/data/naming.py: fields that have other names."""

import json
import pathlib

import pytest
from etils import epath

from restpg_jax import config, errors
from restpg_jax.data import builder, naming, requests, rows
from restpg_jax.doctor import survey
from tests.data import longlamp_rows as given

CASE = pathlib.Path(__file__).parents[3] / 'shared/cases/misnamed_field'
NAMES = {
  'email_generation_user': 'text',
  'abstract_generation_user': 'abstract',
  'product_review_temporal': 'reviewText',
  'topic_writing_user': 'content or output',
  'custom': 'text',
}


def written(form, task, split, split_rows):
  if form == 'jsonl':
    (task / f'{split}.jsonl').write_bytes(given.lines(*split_rows))
  elif form == 'json':
    (task / f'{split}.json').write_text(json.dumps(split_rows))
  else:
    given.write_parquet(task / f'{split}-0.parquet', split_rows)


def refusal(tmp_path, name, form, split_rows, **how):
  task = given.folder(tmp_path, name, train=None)
  written(form, task, 'train', split_rows)
  setting = 'temporal' if name.endswith('temporal') else 'user'
  with pytest.raises(errors.InputError) as error:
    given.read(tmp_path, setting=setting, **how)
  return str(error.value)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('form', ['jsonl', 'json', 'parquet'])
@pytest.mark.parametrize('on_error', rows.ON_ERROR)
def test_documents_under_another_name_are_refused(
  tmp_path, name, form, on_error
):
  item = {'title': 'tea', 'summary': 'tea', 'body': 'what the user wrote'}
  row = given.MAIL | {'profile': [item, item]}
  given.assert_says(
    refusal(
      *(tmp_path, name, form, [row] * 3),
      unusable=rows.unusable(on_error, []),
    ),
    'train',
    ': row 1',
    f'profile item 1 has no text in the field {NAMES[name]}, but the fields '
    'body, summary, title',
    '6 of 6 documents',
  )


@pytest.mark.parametrize('form', ['jsonl', 'json', 'parquet'])
@pytest.mark.parametrize('on_error', rows.ON_ERROR)
@pytest.mark.parametrize('field', ['input', 'output', 'profile'])
def test_a_field_of_the_row_under_another_name_is_refused(
  tmp_path, form, on_error, field
):
  row = {'id': '1'} | given.MAIL
  row[f'my_{field}'] = row.pop(field)
  given.assert_says(
    refusal(
      *(tmp_path, 'custom', form, [row] * 3),
      unusable=rows.unusable(on_error, []),
    ),
    *('train', f'my_{field}', field, ': row 1'),
  )


def test_few_documents_without_text_are_counted(tmp_path):
  good, bad = {'text': 'old'}, {'body': 'old'}
  profile = [good, *[bad] * 9]  # 9 of 10 are not more than 90 %
  _, counts = given.example(tmp_path, profile=profile)
  assert counts['skipped_items'] == 9
  assert naming.MAX_LOST_SHARE == 0.9


@pytest.mark.parametrize(
  'fields',
  [
    {'profile': []},
    {'profile': None},
    {'profile': '[]'},
    {'profile': [{'text': ''}, {'text': None}, {}]},
    {'profile': [''], 'tags': ['x']},
    {},
    {'date': '[2020] x', 'user_id': 'u'},
  ],
)
def test_users_without_documents_are_accepted(tmp_path, fields):
  row = {'input': 'x', 'output': 'y'} | fields
  name = 'custom' if fields.get('profile') == [''] else 'email_generation_user'
  given.folder(tmp_path, name, train=given.lines(row, row | {'input': 'z'}))
  _, counts = given.read(tmp_path)
  assert counts['empty_profiles'] == 2


def test_a_limit_looks_at_no_row_behind_it(tmp_path):
  bad = given.MAIL | {'profile': [{'body': 'x'}] * 99}
  given.folder(tmp_path, train=given.lines(given.MAIL, bad))
  assert len(given.read(tmp_path, limit=1)[0]) == 1
  with pytest.raises(errors.InputError, match='99 of 100 documents'):
    given.read(tmp_path)


def test_prepare_refuses_it_and_leaves_nothing(tmp_path):
  bad = given.lines(given.MAIL | {'profile': [{'body': 'x'}]})
  task = given.folder(tmp_path / 'from', train=bad)
  with pytest.raises(errors.InputError, match='but the fields body'):
    builder.build_dataset(
      task.name,
      manual_dir=str(tmp_path / 'from'),
      to=epath.Path(tmp_path / 'to'),
    )
  assert not builder.prepared_before(task.name, epath.Path(tmp_path / 'to'))


def test_requests_are_refused_too(tmp_path):
  path = tmp_path / 'x.jsonl'
  row = {'input': 'x', 'profile': [{'body': 'y'}]}
  path.write_bytes(given.lines(row, row))
  with pytest.raises(errors.InputError, match='but the fields body.* 2 of 2'):
    list(requests.read_requests(path, task='custom'))
  with pytest.raises(errors.InputError, match=r'profile \(body\) do not tell'):
    list(requests.read_requests(path))


@pytest.mark.skipif(not CASE.is_dir(), reason='without shared/cases')
@pytest.mark.parametrize('on_error', rows.ON_ERROR)
def test_the_doctor_says_so(on_error):
  data = config.Data(path=str(CASE), on_error=on_error)
  found = list(survey.survey_splits(data, None))
  assert [f.state for f in found] == ['broken'] * 3
  assert all('but the fields body, title' in f.said for f in found)
