"""Facts about restpg_jax/commands/sweep.py: members share what they can."""

import json
import os
import pathlib

import pytest

from restpg_jax import config, errors, experiments, main, members
from restpg_jax.commands import sweep
from restpg_jax.io import artifacts, lock

FILE = """
from restpg_jax import config, sweeps
from tests import pipeline

def get_config():
  return pipeline.small(
    methods=('rest_em',),
    draw=config.Draw(m=8),
    compute=config.Compute(prompts=4, samples=2, judged=8, log_every=2),
  )

def sweep():
  return sweeps.product({'draw.m': [8, 2]})
"""


def members_of(**axis) -> list[members.Member]:
  """Members with these values of one setting: `m`, `seed` or `threshold`."""
  ((name, values),) = axis.items()
  found = []
  for n, value in enumerate(values):
    cfg = config.Config(methods=('rest_em',), iterations=1)
    if name == 'm':
      cfg.draw.m = value
    elif name == 'threshold':
      cfg.select.threshold = value
    else:
      cfg.seed = value
    found.append(members.Member(n, {name: value}, cfg))
  return found


@pytest.fixture
def steps(monkeypatch):
  """What the stages of a run do: nothing, but for those named in `raises`."""
  raises, names = {}, []

  def step(self, name, fn, *inputs, cfg=None, after=None):
    names.append(name)
    mark = artifacts.fingerprint(name, fn, inputs, cfg)
    for key, error in raises.items():
      if key == (name, getattr(cfg, 'seed', None)):
        raise error
    return artifacts.Artifact(self.workdir / f'{name}-{mark[:12]}', mark, {})

  monkeypatch.setattr(artifacts.Store, 'step', step)
  return raises, names


def labels(workdir):
  return [r['label'] for r in experiments.read_experiments(workdir)]


@pytest.mark.parametrize(
  'axis, own',
  [
    ({'m': [16, 8]}, ['m 8', 'm 16']),
    ({'seed': [0, 1]}, ['seed 0', 'seed 1']),
    ({'threshold': [1.0, 0.7]}, ['threshold 0.7', 'threshold 1.0']),
  ],
)
def test_each_member_has_a_label_of_its_own(steps, tmp_path, axis, own):
  results = sweep.run_members(members_of(**axis), tmp_path)
  assert labels(tmp_path) == [f'rest_em ({text})' for text in own]
  keys = {r['key'] for r in experiments.read_experiments(tmp_path)}
  assert {result.keys['rest_em'] for result in results} == keys


def test_a_member_that_fails_does_not_stop_the_others(steps, tmp_path, capsys):
  steps[0]['sft/train', 1] = errors.InputError('nothing\nto train on')
  steps[0]['sft/train', 2] = ZeroDivisionError('by zero')
  results = sweep.run_members(members_of(seed=[0, 1, 2, 3]), tmp_path)
  log = tmp_path / 'sweep' / '2' / 'error.log'
  faults = [
    '',
    'nothing to train on',
    f'ZeroDivisionError: by zero (traceback in {log})',
    '',
  ]
  assert [result.fault for result in results] == faults
  assert 'ZeroDivisionError: by zero' in log.read_text()
  assert labels(tmp_path) == ['rest_em (seed 0)', 'rest_em (seed 3)']
  out, err = capsys.readouterr()
  assert err.splitlines() == [f'member {n} failed: {faults[n]}' for n in (1, 2)]
  assert out.splitlines()[0] == 'member 0, 1 of 4: seed 0'
  lines = sweep.sweep_table(results, None).splitlines()
  assert lines[0].split() == ['member', 'settings', 'minutes', 'reward']
  assert lines[2] == '     1  seed 1         0.0  failed: nothing to train on'


def test_the_table_has_the_macro_reward_of_the_last_iteration(steps, tmp_path):
  results = sweep.run_members(members_of(seed=[0, 1]), tmp_path)
  report = {
    'experiments': {'a': results[0].keys['rest_em'], 'b': 'sft-0'},
    'methods': {
      'a': {'macro': {'reward': 0.25}},
      'b': {'macro': {'reward': None}},
    },
  }
  lines = sweep.sweep_table(results, report).splitlines()
  assert lines[1] == '     0  seed 0         0.0  rest_em 0.2500'


@pytest.mark.parametrize(
  'error', [KeyboardInterrupt('SIGTERM'), errors.TryAgain('a host is gone')]
)
def test_what_ends_a_process_stops_all_members(steps, tmp_path, error):
  steps[0]['sft/train', 0] = error
  with pytest.raises(type(error)):
    sweep.run_members(members_of(seed=[0, 1]), tmp_path)
  assert 'eval0/answer' not in steps[1]
  with lock.exclusive(tmp_path):  # it is free again
    pass


def test_a_member_that_no_run_can_have_is_named_before_any_runs(
  steps, tmp_path
):
  with pytest.raises(errors.InputError) as caught:
    sweep.run_members(members_of(threshold=[0.7, 1.5]), tmp_path / 'w')
  assert str(caught.value).startswith(
    'member 1 (threshold 1.5): select.threshold is 1.5; '
  )
  assert steps[1] == [] and not (tmp_path / 'w').exists()


def test_a_sweep_holds_its_workdir_between_members(
  steps, tmp_path, monkeypatch
):
  run = sweep.restpg.run_held

  def run_held(*args, **options):
    with pytest.raises(errors.InputError, match='is running there'):
      sweep.run_members(members_of(seed=[7]), tmp_path)
    return run(*args, **options)

  monkeypatch.setattr(sweep.restpg, 'run_held', run_held)
  results = sweep.run_members(members_of(seed=[0, 1]), tmp_path)
  assert [result.fault for result in results] == ['', '']


def test_until_stops_each_member(steps, tmp_path):
  results = sweep.run_members(
    members_of(seed=[0, 1]), tmp_path, until='retrieve'
  )
  assert steps[1][-1] == 'retrieve/test'
  assert sweep.sweep_table(results, None).endswith('stopped')


@pytest.fixture
def flags(tmp_path):
  (tmp_path / 'x.py').write_text(FILE)
  return [f'--config={tmp_path / "x.py"}', f'--workdir={tmp_path / "w"}']


def test_list_runs_nothing_and_needs_no_workdir(steps, flags, tmp_path, capsys):
  assert main.main(['sweep', flags[0], '--list']) == 0
  assert steps[1] == []
  assert 'makes e_step1/select, m_step1, eval1' in capsys.readouterr().out
  assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
  'more, message',
  [
    (['--index=2'], '--index=2: the members are 0 to 1; --list shows them'),
    (['--sweep.seed=1,1'], 'members 0 (m 8, seed 1) and 1 (m 8, seed 1) are '),
    (['--sweep.sed=1'], '--sweep.sed=1: unknown setting config.sed; did you'),
    (['--sweep.answer.top_p=0'], 'member 0 (m 8, answer.top_p 0.0): answer.to'),
  ],
)
def test_bad_input_is_one_line(steps, flags, capsys, more, message):
  assert main.main(['sweep', *flags, *more]) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'error: {message}')
  assert steps[1] == []


def counts(workdir: pathlib.Path) -> dict[str, int]:
  """Stage -> its finished folders."""
  names = [
    str(path.parent.relative_to(workdir)).rpartition('-')[0]
    for path in workdir.glob('**/DONE.json')
  ]
  return {name: names.count(name) for name in names}


def markers(workdir: pathlib.Path) -> dict[str, int]:
  return {
    str(path): path.stat().st_mtime_ns for path in workdir.glob('**/DONE.json')
  }


@pytest.mark.slow
def test_budgets_draw_once_and_a_second_sweep_makes_nothing(
  flags, tmp_path, capsys
):
  work = tmp_path / 'w'
  assert main.main(['sweep', *flags]) == 0
  shared = ['base', 'retrieve/train', 'retrieve/val', 'retrieve/test']
  shared += ['targets', 'sft/train', 'sft/choose']
  shared += [f'eval0/{name}' for name in ('answer', 'score', 'measure')]
  shared += ['e_step1/draw', 'e_step1/score']
  own = ['e_step1/select', 'm_step1/train', 'm_step1/choose']
  own += [f'eval1/{name}' for name in ('answer', 'score', 'measure')]
  assert counts(work) == dict.fromkeys(shared, 1) | dict.fromkeys(own, 2)
  (drawn,) = work.glob('e_step1/draw-*/drawn/00000.jsonl')
  lines = [json.loads(line) for line in drawn.read_text().splitlines()]
  assert len(lines) == 8 * 16  # what the largest budget alone draws
  assert len({(s['example_id'], s['j']) for s in lines}) == 8 * 16
  out = capsys.readouterr().out
  assert out.count('\nmember 1, 2 of 2: m 2\n') == 1
  results = json.loads((work / 'report' / 'results.json').read_text())
  assert list(results['methods']) == [f'rest_em (m {m})' for m in (2, 8)]
  table = out.splitlines()[-2:]
  assert [line.split()[:3] for line in table] == [
    [str(n), 'm', str(m)] for n, m in enumerate((8, 2))
  ]
  for line, m in zip(table, (8, 2), strict=True):
    reward = results['methods'][f'rest_em (m {m})']['macro']['reward']
    assert line.endswith(f'rest_em {reward:.4f}')

  before, size = markers(work), os.path.getsize(drawn)
  assert main.main(['sweep', *flags]) == 0
  assert (markers(work), os.path.getsize(drawn)) == (before, size)
  again = json.loads((work / 'report' / 'results.json').read_text())
  assert again['methods'] == results['methods']
  assert main.main(['sweep', *flags, '--index=1']) == 0
  assert markers(work) == before
  capsys.readouterr()
  assert main.main(['sweep', *flags, '--list']) == 0
  assert capsys.readouterr().out.count('makes nothing') == 2


@pytest.mark.slow
def test_a_member_that_keeps_nothing_is_named_with_exit_code_1(
  flags, tmp_path, capsys
):
  rule = '--config.select.rule=threshold'
  flags = [*flags, rule, '--sweep.select.threshold=1.0,0.0']
  text = FILE.replace("{'draw.m': [8, 2]}", "{'draw.m': [2]}")
  (tmp_path / 'x.py').write_text(text)
  assert main.main(['sweep', *flags]) == 1
  out, err = capsys.readouterr()
  assert 'member 0 failed: no output reached select.threshold=1; ' in err
  first, second = out.splitlines()[-2:]
  assert 'failed: no output reached select.threshold=1; ' in first
  assert ' rest_em 0.' in second
