"""Facts about restpg_jax/doctor/survey_tables.py: what a person reads."""

from restpg_jax import types
from restpg_jax.data import census
from restpg_jax.doctor import survey_tables

TASK = 'product_review'


def split(name, *examples, **more):
  of = census.Census(len)
  list(of.through(examples))
  summary = {'task': TASK, 'split': name, 'counts': {}} | of.summary()
  return summary | more


def example(n, words, *texts):
  profile = tuple(types.Document(text, text) for text in texts)
  return types.Example(f'{TASK}/train/{n}', TASK, 'a b', words, profile)


def made(*splits, synthetic=False):
  found = survey_tables.build_tables(splits, synthetic=synthetic)
  return {table.title: table for table in found}


def test_ours_stands_beside_the_papers():
  train = split('train', example(0, 'x', 'c'), example(1, 'x y z', 'c'))
  test = split('test', example(0, 'x', 'c'))
  table = made(train, test)['Table 2 of the paper, and of this data']
  assert table.rows == [
    ('review', 'train', '2', '14,745',
     '2.00 ± 0.00', '2.00 ± 1.00', '1.00 ± 0.00'),
    ('', 'test', '1', '1,822', '2.00 ± 0.00', '1.00 ± 0.00', '1.00 ± 0.00'),
    ('', 'paper', '', '',
     '119.39 ± 73.06', '304.54 ± 228.61', '34.39 ± 57.31'),
  ]  # fmt: skip
  assert 'synthetic' not in table.note
  assert 'synthetic' in made(train, synthetic=True)[table.title].note


def test_what_is_cut_is_told_as_number_and_share():
  prompts = {
    'sampled': 8, 'documents_by': 'bm25', 'cut': 3,
    'mean': 1234.4, 'p90': 4000, 'largest': 5120, 'std': 1.0,
  }  # fmt: skip
  train = split('train', example(0, 'x'), prompts=prompts, long_outputs=0)
  table = made(train)['What the limits cut']
  assert table.rows == [
    ('review', 'train', '1,234 / 4,000 / 5,120', '8', '3 (37.5%)', '0')
  ]
  assert 'that bm25 chooses' in table.note


def test_copies_and_odd_rows():
  gold = 'one two three four five six seven eight nine'
  train = split(
    'train',
    example(0, gold, 'a', 'A', gold, 'b'),
    example(1, gold, 'a'),
    counts={'rows': 2, 'duplicate_users': 1, 'cut_texts': 0},
  )
  tables = made(train)
  assert tables['Copies in profiles'].rows == [
    ('review', 'train', '5', '1 (20.0%)', '1 (50.0%)', '1 (20.0%)', '1 (50.0%)')
  ]
  assert tables['Odd rows'].rows == [
    ('review', 'train', 'rows of a user who had one before', '1')
  ]


def test_tables_that_would_be_empty_are_left_out():
  tables = made(split('train', example(0, 'x'), tokens=None))
  assert list(tables) == [
    'Table 2 of the paper, and of this data',
    'Copies in profiles',
    'Longest fields',
  ]
  (row,) = tables['Copies in profiles'].rows
  assert row == ('review', 'train', '0', '-', '0', '-', '0')


def test_the_longest_over_all_splits():
  splits = (
    split('train', example(0, 'xxx', 'd')),
    split('test', example(1, 'xx', 'd' * 2000)),
  )
  assert made(*splits)['Longest fields'].rows == [
    ('review', 'input', 'product_review/train/0', '3'),
    ('', 'output', 'product_review/train/0', '3'),
    ('', 'document', 'product_review/train/1, document 1', '2,000'),
  ]


def test_columns_are_as_wide_as_they_need():
  table = survey_tables.SurveyTable(
    'Title', ('a', 'name'), ('n',), [('x', '', '1,000'), ('', 'long', '2')]
  )
  assert survey_tables.table_text(table).split('\n') == [
    'Title',
    'a  name      n',
    'x        1,000',
    '   long      2',
  ]
