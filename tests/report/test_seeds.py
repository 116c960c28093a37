"""Facts about restpg_jax/report/seeds.py and stat_tables.py."""

import pytest

from restpg_jax import variants
from restpg_jax.report import build, seeds, stat_tables
from tests import runs


def finish(workdir, method: str, seed: int, ends, tasks=(runs.TOPIC,), **data):
  """A run of 2 examples a task, of rewards `ends` after each iteration."""
  examples = [
    runs.example(task, row, **data) for task in tasks for row in (0, 1)
  ]
  scored = [
    [runs.answer(e, end + n % 2 / 10) for n, e in enumerate(examples)]
    for end in ends
  ]
  runs.finish(
    workdir,
    method,
    [(examples, s) for s in scored],
    stem=f'{method}-{seed}',
    seed=seed,
  )


@pytest.fixture
def three_seeds(tmp_path):
  for seed, sft, end in ((0, 0.2, 0.5), (1, 0.3, 0.7), (2, 0.4, 0.9)):
    finish(tmp_path, 'sft', seed, [sft])
    finish(tmp_path, 'rest_pg', seed, [sft, end])
  return tmp_path


def test_seeds_have_a_mean_an_interval_and_each_its_value(three_seeds):
  results = build.build_report(three_seeds)['seeds']
  assert list(results['groups']) == ['sft', 'rest_pg']
  group = results['groups']['rest_pg']
  assert group['runs'] == {str(n): f'rest_pg (seed {n})' for n in range(3)}
  assert [i['t'] for i in group['iterations']] == [0, 1]
  macro = group['iterations'][1]['test']['reward']['macro']
  # Each run's mean is 0.05 above its lower reward: 0.55, 0.75, 0.95.
  assert macro['values'] == {
    '0': pytest.approx(0.55), '1': pytest.approx(0.75), '2': pytest.approx(0.95)
  }  # fmt: skip
  assert (macro['n'], macro['mean']) == (3, pytest.approx(0.75))
  half = 4.3027 * 0.2 / 3**0.5
  assert macro['low'] == pytest.approx(0.75 - half, abs=1e-4)
  assert group['iterations'][1]['test']['reward'][runs.TOPIC] == macro
  assert group['iterations'][1]['validation'] == {}


def test_methods_are_compared_seed_by_seed(three_seeds):
  results = build.build_report(three_seeds)
  (pair,) = results['seeds']['pairs']
  assert (pair['a'], pair['b']) == ('rest_pg', 'sft')
  assert (pair['seeds'], pair['refused']) == (['0', '1', '2'], [])
  test = pair['reward']['macro']  # 0.3, 0.4, 0.5
  assert test['difference'] == pytest.approx(0.4)
  assert test['t'] == pytest.approx(0.4 / 0.1 * 3**0.5)
  assert test['p'] == pytest.approx(0.0202, abs=1e-4)
  assert test['relative'] == pytest.approx(0.4 / 0.35)
  (gain,) = results['seeds']['gains']
  assert (gain['a'], gain['from'], gain['to']) == ('rest_pg', 0, 1)
  assert gain['reward']['macro']['p'] == test['p']
  table = stat_tables.seeds(results)
  assert [row['cells'][0]['marks'] for row in table['rows']] == ['', '1']


def test_seeds_stand_in_every_file(three_seeds):
  results = build.build_report(three_seeds)
  text = (three_seeds / 'report' / 'report.md').read_text()
  mean = '| 2 | REST-PG | 1 | 3 seeds | 0.7500<sup>1</sup> [0.253, 1.247]'
  assert mean in text
  assert '| | | | 2 | 0.9500 |' in text
  assert '| REST-PG - SFT | 3 | +0.4000 ± 0.058 [+0.152, +0.648]' in text
  assert ', d 4.00, p=0.02, +114% |' in text
  page = (three_seeds / 'report' / 'index.html').read_text()
  assert '<h2>Several seeds</h2>' in page and '0.7500<sup>1</sup>' in page
  lines = build.results_text(results).splitlines()
  (line,) = (x for x in lines if x.startswith('2 rest_pg '))
  assert line.split() == '2 rest_pg 3 0.750^1 0.750^1 1.000'.split()


def test_one_method_without_iterations_is_compared_with_nothing(tmp_path):
  for seed, end in ((0, 0.2), (1, 0.3)):
    finish(tmp_path, 'sft', seed, [end])
  results = build.build_report(tmp_path)
  assert stat_tables.seeds(results)['tests'] == []
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| 1 | SFT | 0 | 2 seeds | 0.3000 [' in text
  assert 'Macros compared, first minus second' not in text
  page = (tmp_path / 'report' / 'index.html').read_text()
  assert 'Several seeds' in page and 'Differences over seeds' not in page


def test_one_seed_has_no_table(tmp_path):
  results = runs.two_methods(tmp_path)
  assert results['seeds']['groups'] == {} == dict(results['seeds']['pairs'])
  assert 'Several seeds' not in (tmp_path / 'report' / 'report.md').read_text()
  assert stat_tables.seed_lines(results) == []


def test_seeds_tested_on_different_examples_are_refused(three_seeds):
  finish(three_seeds, 'rest_pg', 1, [0.3, 0.7], output='blue boats')
  results = build.build_report(three_seeds)
  (pair,) = results['seeds']['pairs']
  assert (pair['seeds'], pair['refused']) == (['0', '2'], ['1'])
  assert pair['reward']['macro']['difference'] == pytest.approx(0.4)
  assert (
    'rest_pg - sft: over seeds without 1, tested on different examples; run '
    'both on the same test data.'
  ) in results['notes']


def test_worlds_of_each_seed_are_not_compared_across_seeds(tmp_path):
  for seed in (0, 1):
    own = {'input': f'of world {seed}'}
    finish(tmp_path, 'sft', seed, [0.2], **own)
    finish(tmp_path, 'rest_pg', seed, [0.2, 0.5 + seed / 5], **own)
  results = build.build_report(tmp_path)
  pairs = [(p['a'], p['b']) for p in results['significance']['methods']]
  assert pairs == [
    ('rest_pg (seed 0)', 'sft (seed 0)'),
    ('rest_pg (seed 1)', 'sft (seed 1)'),
  ]
  (pair,) = results['seeds']['pairs']
  assert pair['seeds'] == ['0', '1'] and not pair['refused']
  (note,) = (n for n in results['notes'] if 'Not compared' in n)
  assert note.endswith(
    ': sft (seed 0), rest_pg (seed 0) | sft (seed 1), rest_pg (seed 1).'
  )


def test_variants_are_groups_of_their_own():
  def record(seed, world=0, m=32, **more):
    cfg = runs.settings(seed=seed)
    cfg['draw']['m'] = m
    cfg['data']['world']['seed'] = world
    iterations = [{'t': 0}, {'t': 1}]
    label = f'{seed}, {world}, {m}'
    return {
      'method': 'rest_pg', 'config': cfg, 'output': runs.OUTPUT,
      'iterations': iterations, 'label': label, **more,
    }  # fmt: skip

  listed = [
    record(0, 0),
    record(1, 1),
    record(1, 2),
    record(0, 0, m=8),
    record(1, 1, number=9, label='later'),
    record(1, 1, number=8, label='earlier'),
  ]
  assert [len(group) for group in variants.repetitions(listed)] == [5, 1]
  assert seeds.groups(listed) == {
    'rest_pg (m 32)': {'0': '0, 0, 32', '1': 'later', '1/2': '1, 2, 32'},
    'rest_pg (m 8)': {'0': '0, 0, 8'},
  }


def test_a_difference_is_written_with_what_is_known():
  test = {
    'difference': 0.4, 'stderr': 0.1, 'low': 0.2, 'high': 0.6, 'd': 0.5,
    'p': 0.01,
  }  # fmt: skip
  assert stat_tables.difference(test) == (
    '+0.4000 ± 0.100 [+0.200, +0.600], d 0.50, p=0.01'
  )
  alone = dict.fromkeys(test) | {'difference': -0.25}
  assert stat_tables.difference(alone) == '-0.2500'
  assert stat_tables.difference(None) == '-'
