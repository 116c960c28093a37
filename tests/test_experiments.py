"""Facts about restpg_jax/experiments.py: a record an experiment."""

import dataclasses
import os
import re
import shutil
import warnings

import pytest

from restpg_jax import config, errors, experiments
from restpg_jax.commands import policies
from restpg_jax.io import records
from tests import runs


def record(method, stem, *, iterations=1, **changes):
  """Of a method whose answers are in folders called after `stem`."""
  cfg = dataclasses.replace(config.Config(), iterations=iterations, **changes)
  return {
    'method': method,
    'config': dataclasses.asdict(cfg),
    'output': runs.OUTPUT,
    'iterations': [
      {'t': t, 'answers': f'eval{t}-{stem}', 'scores': f'scored{t}-{stem}'}
      for t in range(iterations + 1)
    ],
  }


def labels(workdir):
  return [r['label'] for r in experiments.read_experiments(workdir)]


def refused(workdir, method=''):
  with pytest.raises(errors.InputError) as caught:
    experiments.pick(workdir, method)
  return str(caught.value)


def test_a_copy_of_a_workdir_means_the_same(tmp_path):
  work = runs.chosen(tmp_path / 'work')  # sft was finished last
  ages = {'rest_pg': 2000, 'sft': 1000}
  copy = shutil.copytree(work, tmp_path / 'copy')
  for path in copy.glob('methods/*.json'):
    age = ages[path.name.split('-')[0]]
    os.utime(path, (age, age))
  origin = policies.find_policy(str(copy))
  assert (origin.method['method'], origin.t) == ('sft', 0)
  assert origin.weights == copy / 'sft/choose-a/model'


def test_the_order_of_finishing_is_in_the_files(tmp_path):
  for method in ('rest_pg', 'sft', 'rest_pg'):
    experiments.note(tmp_path, record(method, method))
  rest_pg, sft = sorted(tmp_path.glob('methods/*.json'))
  assert re.fullmatch(r'rest_pg-[0-9a-f]{12}\.json', rest_pg.name)
  assert records.read_json(rest_pg)['number'] == 3  # again: finished last
  assert records.read_json(sft)['number'] == 2
  utc = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00'
  assert re.fullmatch(utc, records.read_json(sft)['finished'])
  assert experiments.pick(tmp_path)['method'] == 'rest_pg'


def test_older_files_do_not_say_which_was_last(tmp_path):
  old = tmp_path / 'methods'
  records.write_json(old / 'rest_pg.json', record('rest_pg', 'a'))
  assert experiments.pick(tmp_path)['method'] == 'rest_pg'  # the only one
  records.write_json(old / 'sft.json', record('sft', 'b'))
  assert refused(tmp_path) == (
    f'{tmp_path}: its files do not say which of rest_pg, sft was finished '
    'last; give --method=NAME'
  )
  assert experiments.pick(tmp_path, 'sft')['method'] == 'sft'
  experiments.note(tmp_path, record('rest_em', 'c'))
  assert experiments.pick(tmp_path)['method'] == 'rest_em'


def test_records_of_two_workdirs_put_together_are_refused(tmp_path):
  for method in ('sft', 'rest_pg'):
    experiments.note(tmp_path / method, record(method, method))
  two, one = tmp_path / 'sft', tmp_path / 'rest_pg'
  shutil.copytree(one / 'methods', two / 'methods', dirs_exist_ok=True)
  assert 'which of rest_pg, sft was finished last' in refused(two)


def test_the_same_experiment_takes_the_place_of_its_old_record(tmp_path):
  old, methods = tmp_path / 'methods' / 'rest_pg.json', tmp_path / 'methods'
  records.write_json(old, record('rest_pg', 'a'))
  experiments.note(tmp_path, record('rest_pg', 'b', seed=1))
  assert old.exists()
  assert labels(tmp_path) == ['rest_pg (seed 0)', 'rest_pg (seed 1)']
  experiments.note(tmp_path, record('rest_pg', 'a'))
  assert not old.exists() and len(list(methods.iterdir())) == 2
  records.write_json(old, record('rest_pg', 'a'))  # killed before removing it
  assert labels(tmp_path) == ['rest_pg (seed 0)', 'rest_pg (seed 1)']


@pytest.mark.parametrize(
  'variants, expected',
  [
    (
      [{'iterations': 1}, {'iterations': 0}],
      ['rest_em (iterations 0)', 'rest_em (iterations 1)'],
    ),
    (
      [
        {'draw': config.Draw(m=16), 'seed': 1},
        {'draw': config.Draw(m=8), 'seed': 1},
        {'draw': config.Draw(m=16), 'seed': 0},
      ],
      [
        *('rest_em (seed 0, m 16)', 'rest_em (seed 1, m 8)'),
        'rest_em (seed 1, m 16)',
      ],
    ),
    (
      [{'fresh_start': True}, {'fresh_start': False}],
      ['rest_em (fresh_start False)', 'rest_em (fresh_start True)'],
    ),
    (
      [
        {'retrieval': config.Retrieval(shuffle=s), 'answer': config.Sample(m=m)}
        for s, m in ((0.5, 1), (0.25, 2))
      ],
      [
        'rest_em (shuffle 0.25, answer.m 2)',
        'rest_em (shuffle 0.5, answer.m 1)',
      ],
    ),
    (  # the E-step of iterations that were not made differs in nothing
      [{'iterations': 0, 'draw': config.Draw(m=8)}, {'iterations': 1}],
      ['rest_em (iterations 0)', 'rest_em (iterations 1)'],
    ),
    (  # what decided nothing, where nothing else tells them apart
      [{'select': config.Select(floor=f)} for f in (0.5, 0.7)],
      ['rest_em (floor 0.5)', 'rest_em (floor 0.7)'],
    ),
  ],
)
def test_variants_are_called_by_what_they_differ_in(
  tmp_path, variants, expected
):
  for n, changes in enumerate(variants):
    experiments.note(tmp_path, record('rest_em', n, **changes))
  experiments.note(tmp_path, record('sft', 'x', seed=9))
  assert labels(tmp_path) == ['sft', *expected]


def test_variants_of_other_code_have_their_digest(tmp_path):
  for stem in 'ab':
    experiments.note(tmp_path, record('sft', stem))
  keys = [
    r['key'].removeprefix('sft-')
    for r in experiments.read_experiments(tmp_path)
  ]
  assert labels(tmp_path) == [f'sft ({key})' for key in keys]
  assert len({*keys}) == 2


def test_a_name_of_several_is_refused_and_their_own_names_taken(tmp_path):
  for seed in (0, 1):
    experiments.note(tmp_path, record('rest_pg', seed, seed=seed))
  zero, one = experiments.by_age(tmp_path)
  assert refused(tmp_path, 'rest_pg') == (
    f'--method=rest_pg: {tmp_path} has 2 of that name; give '
    f'--method={zero["key"]} for rest_pg (seed 0), '
    f'--method={one["key"]} for rest_pg (seed 1)'
  )
  for name in (zero['key'], 'rest_pg (seed 0)'):
    assert experiments.pick(tmp_path, name)['config']['seed'] == 0
  assert experiments.pick(tmp_path)['config']['seed'] == 1  # finished last
  assert refused(tmp_path, 'rest_em') == (
    f'--method=rest_em: finished in {tmp_path} are rest_pg (seed 0), '
    'rest_pg (seed 1)'
  )


@pytest.mark.parametrize('text', ['', '{"method": "sft", "con', '[]', '{}'])
def test_a_torn_record_is_left_out_with_a_warning(tmp_path, text):
  experiments.note(tmp_path, record('rest_pg', 'a'))
  torn = tmp_path / 'methods' / 'sft.json'
  torn.write_text(text)
  with pytest.warns(errors.DataWarning, match='sft.json is no whole record'):
    assert labels(tmp_path) == ['rest_pg']
  with pytest.warns(errors.DataWarning):
    assert 'sft.json: no whole record' in refused(tmp_path)
  with pytest.warns(errors.DataWarning):
    assert experiments.pick(tmp_path, 'rest_pg')['method'] == 'rest_pg'


def test_what_a_kill_or_a_file_manager_left_is_no_record(tmp_path):
  experiments.note(tmp_path, record('rest_pg', 'a'))
  for name in ('sft.json.tmp', '._rest_pg.json', '.DS_Store'):
    (tmp_path / 'methods' / name).write_text('{"met')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert labels(tmp_path) == ['rest_pg']
