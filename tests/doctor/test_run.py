"""Facts about restpg_jax/doctor/run.py: it goes on after the first fault."""

import json
import shutil

import pytest

from restpg_jax import main, types
from restpg_jax.doctor import findings, run
from tests import pipeline
from tests.data import longlamp_rows

HOSTILE = '<script>alert(1)</script> & one two three four five six seven'
CONFIG = """
from restpg_jax import config
from tests import pipeline

def get_config():
  return pipeline.small()
"""


@pytest.fixture
def flags(tmp_path):
  (tmp_path / 'x.py').write_text(CONFIG)
  return [
    'doctor',
    f'--config={tmp_path / "x.py"}',
    f'--workdir={tmp_path / "w"}',
  ]


def found(tmp_path):
  return json.loads((tmp_path / 'w' / 'doctor.json').read_text())


def test_nothing_is_wrong_with_the_synthetic_users(flags, tmp_path, capsys):
  assert main.main(flags) == 0
  out = capsys.readouterr().out
  told = found(tmp_path)
  assert told['bad'] == []
  assert [(s['task'], s['split'], s['examples']) for s in told['splits']] == [
    (task, split, count)
    for task in (
      *('email_generation', 'abstract_generation'),
      *('product_review', 'topic_writing'),
    )
    for split, count in (('train', 4), ('val', 1), ('test', 2))
  ]
  assert all(s['prompts']['sampled'] == s['examples'] for s in told['splits'])
  assert all(s['tokens']['outputs']['mean'] > 10 for s in told['splits'])
  assert 'These are synthetic users' in out
  lines = [line for line in out.splitlines() if '/' not in line]
  assert len(lines) > 40
  assert max(map(len, lines)) <= 100
  page = (tmp_path / 'w' / 'doctor.html').read_text()
  assert 'Nothing is missing or broken' in page
  names = {path.name for path in (tmp_path / 'w').iterdir()}
  assert names == {'doctor.json', 'doctor.html'}


def test_it_goes_on_after_every_fault(flags, tmp_path, capsys, monkeypatch):
  usage = shutil.disk_usage(tmp_path)._replace(free=2**50)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
  data = tmp_path / 'data'
  row = {
    'input': 'a',
    'output': HOSTILE,
    'profile': [{'text': 'x'}, {'text': f'{HOSTILE} eight'}, {'text': 'X.'}],
  }
  longlamp_rows.folder(
    data,
    train=longlamp_rows.lines(row),
    val=longlamp_rows.lines(row, row | {'output': 7}, row | {'input': ''}),
    test=None,
  )
  code = main.main(
    [
      *flags,
      f'--config.data.path={data}',
      '--config.train.steps=0',
      '--config.policy.checkpoint=gemma_2b',
      '--config.reason.template=nowhere.txt',
    ]
  )
  assert code == 2
  (error,) = capsys.readouterr().err.splitlines()
  told = found(tmp_path)
  assert told['bad'] == [
    'settings',
    'data, email_generation test',
    'policy, weights',
    'reasoner, prompt',
    'data, email_generation val',
  ]
  assert error == (
    f'error: missing or broken: {"; ".join(told["bad"])}. '
    f'{tmp_path / "w" / "doctor.html"} says more'
  )
  said = {f['name']: f['said'] for f in told['findings'] if f['state'] != 'ok'}
  unusable = said['data, email_generation val']
  assert 'val.jsonl: row 2: output is a int; it must be a text' in unusable
  assert unusable.endswith('(rows that cannot be used: 2)')
  train, val = told['splits']
  assert (train['repeated'], train['leaked']) == (1, 1)
  assert (val['split'], val['examples']) == ('val', 1)
  page = (tmp_path / 'w' / 'doctor.html').read_text()
  assert '<script' not in page
  assert '&lt;script&gt;alert(1)&lt;/script&gt; &amp; one two' in page


def test_rows_of_ones_own_and_such_that_are_to_be_skipped(flags, tmp_path):
  row = {'input': 'a', 'output': 'b', 'profile': ['one text', 'One text!']}
  rows = longlamp_rows.lines(row, row | {'output': 3}, row | {'input': 'b'})
  longlamp_rows.folder(tmp_path / 'd', name='custom', train=rows)
  more = [
    f'--config.data.path={tmp_path / "d"}',
    '--config.data.on_error=skip',
  ]
  assert main.main([*flags, *more]) == 0
  told = found(tmp_path)
  noted = {
    f['name']: f['said']
    for f in told['findings']
    if f['state'] == 'note' and f['name'].startswith('data, ')
  }
  assert 'train.jsonl: row 2: output is a int' in noted['data, custom train']
  assert set(noted) == {
    'data, custom train',
    *(f'data, {task}' for task in types.TASKS),
  }
  assert told['splits'][0]['examples'] == 2
  assert (
    '<td class="name">custom</td>'
    in (tmp_path / 'w' / 'doctor.html').read_text()
  )


def test_copies_are_counted_before_they_are_left_out(flags, tmp_path):
  row = longlamp_rows.MAIL | {'profile': [{'text': 'x'}, {'text': 'x!'}]}
  longlamp_rows.folder(tmp_path / 'd', train=longlamp_rows.lines(row))
  more = [f'--config.data.path={tmp_path / "d"}', '--config.data.dedupe']
  assert main.main([*flags, *more]) == 0
  assert found(tmp_path)['splits'][0]['repeated'] == 1


def test_a_folder_that_takes_no_file(flags, tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  assert main.main([*flags[:2], f'--workdir={tmp_path / "file" / "w"}']) == 2
  assert 'nothing can be written there' in capsys.readouterr().err


def test_it_needs_a_config(capsys):
  assert main.main(['doctor']) == 2
  assert 'missing --config=FILE' in capsys.readouterr().err


def looked(cfg):
  found = run.inspect_run(cfg, '.')
  return [f for f in found if not isinstance(f, dict)]


def test_devices_are_parted_before_anything_uses_them():
  names = [finding.name for finding in looked(pipeline.small())]
  assert names.index('devices') < names.index('policy, weights')


def test_without_any_method_the_rest_is_looked_at():
  found = looked(pipeline.small(methods=()))
  assert [f.name for f in found if f.state == 'broken'] == ['settings']
  assert 'judge, weights' not in [f.name for f in found]
  assert 'policy, weights' in [f.name for f in found]


def test_a_line_with_its_remedy():
  finding = findings.Finding('a', 'missing', 'b ' * 40, 'hf download --to=DIR')
  assert run.finding_line(finding).splitlines() == [
    'a' + ' ' * 31 + 'missing  ' + 'b ' * 29 + 'b',
    ' ' * 41 + 'b ' * 9 + 'b',
    ' ' * 41 + '-> hf download --to=DIR',
  ]
