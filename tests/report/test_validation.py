"""Facts about validation as the report shows it: Table 3, Figures 9 to 11."""

import pytest

from restpg_jax.report import build
from tests import runs


def chosen(workdir, t: int, rewards) -> str:
  """A choice of two tasks; of three validation examples two were answered."""
  examples = [
    runs.example(task, row, id=f'{task}/val/{row}')
    for task, row in ((runs.EMAIL, 0), (runs.TOPIC, 0), (runs.TOPIC, 1))
  ]
  scored = rewards and [
    runs.answer(e, r) for e, r in zip(examples, rewards, strict=False)
  ]
  return runs.choose(workdir, f'fit{t}', examples, scored)


def finish(workdir, choices):
  one = runs.example(runs.EMAIL, 0), runs.example(runs.TOPIC, 0)
  test = [*one], [runs.answer(e, 0.5) for e in one]
  runs.finish(workdir, 'rest_pg', [test] * len(choices), choices=choices)
  return build.build_report(workdir)


def test_validation_is_known_by_iteration_and_task(tmp_path):
  choices = [chosen(tmp_path, 0, (0.2, 0.4)), chosen(tmp_path, 1, (0.6, 0.7))]
  results = finish(tmp_path, choices)
  first, last = results['methods']['rest_pg']['iterations']
  assert first['validation']['macro']['reward'] == pytest.approx(0.3)
  numbers = last['validation']
  assert numbers['tasks'][runs.EMAIL]['reward'] == 0.6
  assert numbers['tasks'][runs.TOPIC]['n'] == 1
  assert numbers['macro']['reward'] == pytest.approx(0.65)
  assert numbers['macro_public']['reward'] == 0.7
  assert numbers['macro']['true_score'] == 1.0
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| REST-PG | 0 | 0.2000 | 0.4000 | 0.3000 | 0.4000 | 1.0000 |' in text
  assert '| REST-PG | 1 | 0.6000 | 0.7000 | 0.6500 | 0.7000 | 1.0000 |' in text
  page = (tmp_path / 'report' / 'index.html').read_text()
  assert '<h2>Table 3: validation</h2>' in page
  assert not any('were chosen before' in note for note in results['notes'])


def test_older_choices_have_a_macro_and_dashes(tmp_path):
  choices = [chosen(tmp_path, 0, None), chosen(tmp_path, 1, (0.6, 0.7))]
  results = finish(tmp_path, choices)
  first, _ = results['methods']['rest_pg']['iterations']
  assert first['validation']['tasks'] == {}
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| REST-PG | 0 | - | - | 0.3750 | - | - |' in text
  assert '| REST-PG | 1 | 0.6000 |' in text
  (note,) = (n for n in results['notes'] if 'were chosen before' in n)
  assert note.startswith('rest_pg: ')


def test_without_any_choice_there_is_no_table(tmp_path):
  results = finish(tmp_path, ['gone', ''])
  iterations = results['methods']['rest_pg']['iterations']
  assert [i['validation'] for i in iterations] == [None, None]
  assert '## Validation' not in (tmp_path / 'report' / 'report.md').read_text()
