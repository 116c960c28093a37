"""Facts about restpg_jax/report/ledger.py and data_table.py."""

import dataclasses
import html
import pathlib

import pytest

from restpg_jax import config
from restpg_jax.io import records
from restpg_jax.report import build, data_table, ledger
from tests import runs

DOCS = pathlib.Path(__file__).parents[2] / 'docs'


def test_the_ledger_is_the_page_of_the_docs():
  assert ledger.FILE.read_text() == (DOCS / 'reading_the_paper.md').read_text()


def test_every_setting_of_the_ledger_is_one():
  rows = ledger.rows([dataclasses.asdict(config.Config())])
  assert len(rows) > 25
  values = dict(pair for row in rows for pair in row['values'])
  assert values['draw.top_p'] == '0.95' and values['fresh_start'] == 'True'
  unset = {name for name, value in values.items() if value == '-'}
  assert unset == set()
  assert not any('`' in row['default'] + row['why'] for row in rows)


def test_the_values_of_all_runs_stand_there_once():
  configs = [{'draw': {'m': m}} for m in (8, 32, 8)]
  assert ledger.used('draw.m', configs) == '8 or 32'
  assert ledger.used('draw.rounds', configs) == '-'  # an older version


def test_markdown_becomes_text():
  text = ledger.plain(r'[a word](page.md#part), `b.c` and \| d')
  assert text == 'a word, b.c and | d'


def test_the_page_has_the_ledger_and_a_link_to_the_audit(tmp_path):
  one = runs.example(runs.EMAIL, 0)
  runs.finish(tmp_path, 'sft', [([one], [runs.answer(one, 0.7)])])
  build.build_report(tmp_path)
  page = tmp_path / 'report' / 'index.html'
  text = html.unescape(page.read_text())
  assert 'answer.top_p = 0.95' in text
  assert 'keeps 96 % on average' in text
  assert 'audit.html' not in text
  (tmp_path / 'audit').mkdir()
  (tmp_path / 'audit' / 'audit.html').write_text('')
  build.build_report(tmp_path)
  assert 'href="../audit/audit.html"' in page.read_text()


def data(workdir, known=None):
  method = {
    'label': 'sft',
    'iterations': [{'t': 0, 'answers': 'a', 'scores': 's'}],
  }
  names = [f'retrieve/{split}' for split in ('train', 'test', 'of another')]
  stages = [
    {'name': name, 'folder': name, 'fingerprint': name, 'inputs': []}
    for name in names
  ]
  stages.append(
    {
      'name': 'eval0/score',
      'folder': 's',
      'fingerprint': 's',
      'inputs': [{'fingerprint': name} for name in names[:2]],
    }
  )
  return data_table.read(workdir, method, stages, known)


def test_table_2_counts_examples_and_words(tmp_path):
  for split, inputs in (('train', ('a b', 'a b')), ('test', ('a b c d',))):
    examples = [
      runs.example(runs.EMAIL, n, input=text, output='one')
      for n, text in enumerate(inputs)
    ]
    folder = tmp_path / 'retrieve' / split
    records.write(folder / 'examples.jsonl', examples)
  table = data(tmp_path)
  assert table['tasks'] == {
    runs.EMAIL: {
      'examples': {'train': 2, 'test': 1},
      'input': pytest.approx([8 / 3, (4 / 3) ** 0.5]),
      'output': [1, 0],
    }
  }
  (row,) = data_table.table(table)
  assert row['cells'] == [
    *(('2', '3,286'), ('0', '958'), ('1', '823')),
    *(('2.7 ± 1.2', '46.5 ± 21.4'), ('1.0', '92.6 ± 60.7')),
    ('', '85.7 ± 51.7'),
  ]
  (tmp_path / 'retrieve' / 'train' / 'examples.jsonl').unlink()
  assert data(tmp_path, table) == table  # the same data is not read again
  assert data(tmp_path)['tasks'][runs.EMAIL]['examples'] == {'test': 1}
