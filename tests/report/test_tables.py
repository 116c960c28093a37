"""Facts about restpg_jax/report/tables.py and the paper's numbers in it."""

import pytest

from restpg_jax import paper, types
from restpg_jax.report import build
from tests import runs

pytestmark = pytest.mark.usefixtures('no_warnings')


def test_table_marks_only_what_is_significant(tmp_path):
  examples = [runs.example(runs.EMAIL, row) for row in range(8)]
  low = [0.3, 0.1, 0.3, 0.1, 0.3, 0.1, 0.3, 0.1]
  high = [0.7, 1.0, 0.7, 1.0, 0.7, 0.7, 1.0, 0.7]
  near = [0.3, 0.1, 0.3, 0.1, 0.3, 0.1, 0.3, 0.3]

  def scored(rewards):
    return [runs.answer(*pair) for pair in zip(examples, rewards, strict=True)]

  runs.finish(tmp_path, 'sft', [(examples, scored(low))])
  runs.finish(tmp_path, 'rest_em', [(examples, scored(near))])
  runs.finish(
    tmp_path, 'rest_pg', [(examples, scored(low)), (examples, scored(high))]
  )
  lines = build.results_text(build.build_report(tmp_path)).splitlines()
  assert [line.split()[:4] for line in lines[:4]] == [
    ['method', 'email', 'macro', '1'],
    ['1', 'sft', '0.200', '0.200'],
    ['2', 'rest_em', '0.225', '0.225'],
    ['3', 'rest_pg', '0.812^1,2', '0.812^1,2'],
  ]
  page = (tmp_path / 'report' / 'index.html').read_text()
  assert '0.8125<sup>1,2</sup>' in page
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| 0.8125<sup>1,2</sup> ± 0.0' in text
  gain = next(line for line in lines if line.startswith('rest_pg, reward'))
  assert gain.startswith(
    'rest_pg, reward, macro 1, iteration 0 -> 1: +0.612 +- 0.0'
  )
  assert 'n=8, p' in gain
  assert max(map(len, lines[:4])) <= 80
  text = ' '.join(lines)
  assert "the judge's score (model tiny_it;" in text
  assert 'synthetic users' in text


def test_the_papers_numbers_average_to_its_macro():
  for split in ('test', 'validation'):
    for numbers in paper.RESULTS[split].values():
      tasks = [numbers[task] for task in types.TASKS]
      assert numbers['macro'] == pytest.approx(sum(tasks) / 4, abs=1.5e-4)
      public = sum(tasks[1:]) / 3
      assert numbers['macro_public'] == pytest.approx(public, abs=1e-4)


def test_markdown_has_a_row_a_method(tmp_path):
  runs.two_methods(tmp_path)
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| 1 | SFT | 0 | 0.2000' in text
  assert '| 2 | REST-PG | 1 | 0.6000' in text
  assert 'Gemma 2B trained on LongLaMP' in text
  assert '| REST-PG | test | 0.3059 |' in text
