"""The whole method in miniature: once, again, killed, and cut short."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from restpg_jax import config, errors, restpg, types
from restpg_jax.io import artifacts, lock, records
from restpg_jax.stages import report, train

ROOT = pathlib.Path(__file__).parent.parent
SAMPLE = ROOT.parent / 'shared' / 'data' / 'longlamp_sample'


def small(**changed) -> config.Config:
  """Every stage of REST-PG, a few examples each."""
  return dataclasses.replace(
    config.Config(
      methods=('sft_reasoning', 'rest_pg'),
      iterations=1,
      data=config.Data(world=config.World(train=16, val=4, test=8)),
      prompt=config.Prompt(
        template='prompts/tiny/policy.txt', max_input=192, max_output=64
      ),
      reason=config.Reason(
        template='prompts/tiny/reasoner.txt', max_input=256, max_output=64
      ),
      draw=config.Draw(m=4),
      reward=config.Reward(name='rouge'),
      select=config.Select(rule='best', floor=0.0),
      train=config.Train(
        steps=4,
        batch_size=8,
        warmup=1,
        learning_rate=1e-3,
        checkpoint_every=2,
        compute_dtype='float32',
      ),
      choose=config.Choose(examples=1),
      compute=config.Compute(prompts=4, samples=4, judged=8, log_every=2),
    ),
    **changed,
  )


def methods(workdir) -> dict:
  return report.build(workdir)['methods']


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('finished')
  restpg.run(small(), workdir)
  return workdir


def test_every_method_and_iteration_is_in_the_report(finished):
  found = methods(finished)
  assert list(found) == ['sft_reasoning', 'rest_pg']
  assert [i['t'] for i in found['sft_reasoning']['iterations']] == [0]
  assert [i['t'] for i in found['rest_pg']['iterations']] == [0, 1]
  assert list(found['rest_pg']['tasks']) == list(types.TASKS)
  assert found['rest_pg']['tasks']['topic_writing']['n'] == 2


def test_methods_share_what_they_have_in_common(finished):
  # SFT with reasoning is the first iteration of REST-PG.
  found = methods(finished)
  first = found['rest_pg']['iterations'][0]
  assert first == found['sft_reasoning']['iterations'][0]
  assert len(list(finished.glob('sft/train-*'))) == 1


def test_every_stage_states_what_it_expected_and_made(finished):
  done = [records.read_json(p) for p in finished.rglob('DONE.json')]
  assert len(done) == 16
  for stage in done:
    assert stage['summary']['expected'] == stage['summary']['made'], stage


def test_a_second_run_makes_nothing(finished, capsys):
  before = {p: p.stat().st_mtime_ns for p in finished.rglob('DONE.json')}
  restpg.run(small(), finished)
  assert {
    p: p.stat().st_mtime_ns for p in finished.rglob('DONE.json')
  } == before
  lines = capsys.readouterr().out.splitlines()
  stages = [line for line in lines if not line.startswith('method ')]
  assert len(stages) == 16
  assert all(' kept ' in line for line in stages)


def test_the_same_seed_in_another_workdir_gives_the_same_numbers(
  finished, tmp_path
):
  restpg.run(small(), tmp_path)
  assert methods(tmp_path) == methods(finished)
  for name in ('trajectories', 'scored'):  # no timing is in these
    files = list(finished.rglob(f'{name}.jsonl'))
    assert files
    for file in files:
      assert (
        file.read_bytes()
        == (tmp_path / file.relative_to(finished)).read_bytes()
      )


def test_another_seed_gives_other_samples(finished, tmp_path):
  until = 'e_step1/draw'
  with pytest.raises(artifacts.Until):
    restpg.run(small(seed=1), tmp_path, until=until)
  (one,) = finished.glob('e_step1/draw-*/trajectories.jsonl')
  (other,) = tmp_path.glob('e_step1/draw-*/trajectories.jsonl')
  assert one.read_text() != other.read_text()


@pytest.mark.parametrize('writes', [1, 4, 9, 15])
def test_a_killed_run_goes_on_to_the_same_numbers(
  finished, tmp_path, monkeypatch, writes
):
  kill_at_write(monkeypatch, writes)
  with pytest.raises(KeyboardInterrupt):
    restpg.run(small(), tmp_path)
  monkeypatch.undo()
  restpg.run(small(), tmp_path)
  assert methods(tmp_path) == methods(finished)


def kill_at_write(monkeypatch, writes):
  """Interrupted while the n-th piece of a stage is written, half of it lost."""
  append = records.Appender.append
  left = [writes]

  def torn(self, items):
    left[0] -= 1
    if left[0]:
      return append(self, items)
    with self._path.open('ab') as file:
      file.write(b'{"example_id": "torn')
    raise KeyboardInterrupt

  monkeypatch.setattr(records.Appender, 'append', torn)


def e_step(workdir, cfg=None) -> dict[str, bytes]:
  """Runs the first E-step; 'draw/trajectories.jsonl' -> bytes, and so on.

  Of several folders of a name, the last made. Without reasoning: a policy so
  little trained has no marker, and all rewards would be 0.
  """
  cfg = dataclasses.replace(cfg or small(), methods=('rest_em',))
  with pytest.raises(artifacts.Until):
    restpg.run(cfg, workdir, until='e_step1')
  files = sorted(
    workdir.glob('e_step1/*/*.jsonl'), key=lambda p: p.stat().st_mtime_ns
  )
  return {
    f'{p.parent.name.split("-")[0]}/{p.name}': p.read_bytes()
    for p in files
    if p.name != 'metrics.jsonl'  # times
  }


@pytest.fixture(scope='module')
def sampled(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('sampled')
  e_step(workdir)
  return workdir


def copied(workdir, tmp_path, *without):
  """A workdir beside it, without what these patterns name."""
  ignored = shutil.ignore_patterns(*without)
  return shutil.copytree(workdir, tmp_path / 'copy', ignore=ignored)


def damage(path, numbers):
  """Changes a letter in the middle of each of these lines."""
  lines = path.read_bytes().splitlines(keepends=True)
  for number in numbers:
    line = bytearray(lines[number - 1])
    line[len(line) // 2] ^= 1
    lines[number - 1] = bytes(line)
  path.write_bytes(b''.join(lines))


def test_damage_in_the_middle_of_a_shard_costs_only_what_it_hit(
  sampled, tmp_path
):
  workdir = copied(sampled, tmp_path)
  for name in ('DONE.json', 'trajectories.jsonl', 'scored.jsonl'):
    for path in workdir.glob(f'e_step1/*/{name}'):
      path.unlink()
  (drawn,) = workdir.glob('e_step1/draw-*/drawn/00000.jsonl')
  (rewards,) = workdir.glob('e_step1/score-*/rewards/00000.jsonl')
  lines = {path: path.read_bytes().splitlines() for path in (drawn, rewards)}
  damage(drawn, [3, 17, 18])
  damage(rewards, [5])
  with pytest.warns(errors.DataWarning) as caught:
    found = e_step(workdir)
  assert [str(w.message) for w in caught] == [
    f'{drawn}, lines 3, 17-18: damaged and dropped; 3 items are made again',
    f'{rewards}, line 5: damaged and dropped; 1 item is made again',
  ]
  assert found == e_step(sampled)
  for path, before in lines.items():  # made again, behind the others
    after = path.read_bytes().splitlines()
    assert sorted(after) == sorted(before)
    assert after != before


def drawing(m, rounds=(), **rule):
  """One shape for all m, so that every bit of the samples is the same."""
  rule = {'rule': 'best', 'floor': 0.0} | rule
  return small(
    draw=config.Draw(m=m, rounds=rounds),
    select=config.Select(**rule),
    compute=config.Compute(prompts=4, samples=2, judged=8, log_every=2),
  )


def test_a_larger_m_draws_only_what_is_missing_and_a_smaller_one_stays(
  sampled, tmp_path, capsys
):
  whole = e_step(copied(sampled, tmp_path / '1', 'e_step1'), drawing(4))
  workdir = copied(sampled, tmp_path / '2', 'e_step1')
  few = e_step(workdir, drawing(2))
  more = e_step(workdir, drawing(4))
  for name in ('draw/trajectories', 'score/scored', 'select/trajectories'):
    assert more[f'{name}.jsonl'] == whole[f'{name}.jsonl']
  assert few['draw/trajectories.jsonl'] != more['draw/trajectories.jsonl']
  folders = sorted(p.name.split('-')[0] for p in workdir.glob('e_step1/*'))
  assert folders == ['draw', 'score', 'select', 'select']
  (drawn,) = workdir.glob('e_step1/draw-*/drawn/00000.jsonl')
  of = [json.loads(line) for line in drawn.read_text().splitlines()]
  assert len(of) == len({(t['example_id'], t['j']) for t in of}) == 64
  assert [t['j'] < 2 for t in of] == [True] * 32 + [False] * 32
  capsys.readouterr()
  e_step(workdir, drawing(2))
  lines = capsys.readouterr().out.splitlines()
  assert all(' kept ' in line for line in lines[1:])


def test_a_kill_while_extending_keeps_the_earlier_extent_and_is_gone_on_from(
  sampled, tmp_path, monkeypatch
):
  whole = e_step(copied(sampled, tmp_path / '1', 'e_step1'), drawing(4))
  workdir = copied(sampled, tmp_path / '2', 'e_step1')
  few = e_step(workdir, drawing(2))
  kill_at_write(monkeypatch, 3)
  with pytest.raises(KeyboardInterrupt):
    e_step(workdir, drawing(4))
  monkeypatch.undo()
  assert e_step(workdir, drawing(2)) == few
  more = e_step(workdir, drawing(4))
  for name in ('draw/trajectories', 'score/scored', 'select/trajectories'):
    assert more[f'{name}.jsonl'] == whole[f'{name}.jsonl']


def test_a_smaller_m_of_a_wider_store_keeps_what_it_would_keep_alone(
  sampled, tmp_path
):
  alone = e_step(copied(sampled, tmp_path / '1', 'e_step1'), drawing(2))
  workdir = copied(sampled, tmp_path / '2', 'e_step1')
  e_step(workdir, drawing(4))
  found = e_step(workdir, drawing(2))
  name = 'select/trajectories.jsonl'
  assert found[name] == alone[name]


def test_rounds_keep_the_same_bytes_and_save_samples(sampled, tmp_path, capsys):
  rule = {'rule': 'threshold', 'threshold': 0.15, 'limit': 2}
  workdir = copied(sampled, tmp_path, 'e_step1')
  rounds = e_step(workdir, drawing(6, (2, 4, 6), **rule))
  out = capsys.readouterr().out
  whole = e_step(workdir, drawing(6, **rule))
  name = 'select/trajectories.jsonl'
  assert rounds[name] == whole[name]
  drawn = [
    records.read_json(path)['summary']
    for n in ('', '_2', '_3')
    for path in workdir.glob(f'e_step1/draw{n}-*/DONE.json')
  ]
  assert drawn[0]['made'] == 6 * 16  # by then whole, in the same store
  for summary in drawn[1:]:
    assert summary['made'] + summary['saved'] == 2 * 16
    assert summary['made'] > 0 and summary['saved'] > 0
    assert f', {summary["saved"]} saved, items per s ' in out


def test_a_round_with_nothing_left_to_draw_is_empty(sampled, tmp_path):
  rule = {'rule': 'threshold', 'threshold': 0.0, 'limit': 2, 'distinct': False}
  workdir = copied(sampled, tmp_path, 'e_step1')
  found = e_step(workdir, drawing(4, (2, 4), **rule))
  assert found['draw_2/trajectories.jsonl'] == b''
  assert found['score_2/scored.jsonl'] == b''
  assert found['select/trajectories.jsonl'] == found['score/scored.jsonl']


def test_training_goes_on_from_the_last_checkpoint(
  finished, tmp_path, monkeypatch
):
  save = train.save
  made = []

  def once(out, done, state, size):
    save(out, done, state, size)
    made.append(done)
    if len(made) == 1:
      raise KeyboardInterrupt

  monkeypatch.setattr(train, 'save', once)
  with pytest.raises(KeyboardInterrupt):
    restpg.run(small(), tmp_path, until='sft/train')
  with pytest.raises(artifacts.Until):
    restpg.run(small(), tmp_path, until='sft/train')
  assert made == [2, 4]
  (one,) = finished.glob('sft/train-*')
  (other,) = tmp_path.glob('sft/train-*')
  weights = 'checkpoints/step_4/model'
  assert same_weights(one / weights, other / weights)


def same_weights(one, other) -> bool:
  import jax
  import numpy as np

  from restpg_jax.io import checkpoints

  trees = [checkpoints.load_model(path)[0] for path in (one, other)]
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, *trees)))


def test_settings_that_cannot_change_results_remake_nothing(finished, capsys):
  cfg = small()
  cfg.compute.log_every = 1
  restpg.run(cfg, finished)
  assert ' s   ' not in capsys.readouterr().out


def test_the_four_methods_share_retrieval_and_reasoning(finished):
  restpg.run(small(methods=('sft', 'rest_em')), finished)
  assert list(methods(finished)) == [
    'sft', 'sft_reasoning', 'rest_em', 'rest_pg'
  ]  # fmt: skip
  assert len(list(finished.glob('retrieve/*-*'))) == 3
  assert len(list(finished.glob('sft/train-*'))) == 2


COMMAND = [sys.executable, '-m', 'restpg_jax.main']
CONFIG = """
import sys
sys.path.insert(0, {tests!r})
from test_pipeline import small
get_config = small
"""


def command(tmp_path, *arguments):
  file = tmp_path / 'small.py'
  file.write_text(CONFIG.format(tests=str(ROOT / 'tests')))
  return [*COMMAND, f'--config={file}', *arguments]


def test_a_process_killed_at_once_is_run_again_to_the_same_numbers(
  finished, tmp_path
):
  workdir = tmp_path / 'run'
  run = command(tmp_path, f'--workdir={workdir}')
  process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.DEVNULL)
  try:
    while not list(workdir.glob('sft/train-*/checkpoints/step_2*')):
      assert process.poll() is None, 'it ended before it could be killed'
      time.sleep(0.05)
  finally:
    process.kill()
    process.wait()
  again = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
  assert again.returncode == 0, again.stderr
  expected = methods(finished)
  results = json.loads((workdir / 'report/results.json').read_text())
  assert results['methods'] == {
    name: expected[name] for name in ('sft_reasoning', 'rest_pg')
  }


def test_a_workdir_in_use_is_refused_with_2_and_left_alone(tmp_path):
  workdir = tmp_path / 'run'
  with lock.exclusive(workdir):
    run = command(tmp_path, f'--workdir={workdir}')
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith(f'error: --workdir={workdir}: process {os.getpid()} ')
  assert list(workdir.iterdir()) == [workdir / lock.NAME]


def test_sigterm_ends_with_75_and_until_with_0(tmp_path):
  workdir = tmp_path / 'run'
  run = command(tmp_path, f'--workdir={workdir}', '--until=base')
  done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  (base,) = workdir.glob('base-*')
  assert set(workdir.iterdir()) == {base, workdir / lock.NAME}
  run = command(tmp_path, f'--workdir={workdir}')
  process = subprocess.Popen(
    run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )
  assert process.stdout.readline().startswith('method ')
  process.send_signal(signal.SIGTERM)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 75, err
  assert 'run the same command again' in err


@pytest.mark.skipif(not SAMPLE.is_dir(), reason='needs the shared sample data')
def test_real_texts_run_from_reading_to_report(tmp_path):
  cfg = small(methods=('rest_pg',))
  cfg.data = config.Data(path=str(SAMPLE), limit=3)
  restpg.run(cfg, tmp_path)
  found = methods(tmp_path)['rest_pg']
  assert {task: t['n'] for task, t in found['tasks'].items()} == {
    task: 3 for task in types.TASKS
  }
  assert os.path.getsize(tmp_path / 'report' / 'index.html') > 10_000
