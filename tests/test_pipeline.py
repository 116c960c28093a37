"""The whole method in miniature: once, again, killed, and cut short."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from restpg_jax import config, restpg, types
from restpg_jax.engines import batch_loader, trainer
from restpg_jax.io import artifacts, lock, records
from restpg_jax.parallel import watch
from restpg_jax.report import build
from tests import event_reader, pipeline

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent
SAMPLE = ROOT.parent / 'shared' / 'data' / 'longlamp_sample'


FITS = 'sft', 'm_step1'  # what makes the policy of each iteration


def methods(workdir) -> dict:
  return build.build_report(workdir)['methods']


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('finished')
  restpg.run_methods(pipeline.small(), workdir)
  return workdir


def test_every_method_and_iteration_is_in_the_report(finished):
  found = methods(finished)
  assert list(found) == ['sft_reasoning', 'rest_pg']
  assert [i['t'] for i in found['sft_reasoning']['iterations']] == [0]
  assert [i['t'] for i in found['rest_pg']['iterations']] == [0, 1]
  assert list(found['rest_pg']['tasks']) == list(types.TASKS)
  assert found['rest_pg']['tasks']['topic_writing']['n'] == 2
  for iteration in found['rest_pg']['iterations']:
    validation = iteration['validation']
    assert list(validation['tasks']) == list(types.TASKS)
    (path,) = finished.glob(f'{FITS[iteration["t"]]}/choose-*/DONE.json')
    chosen = records.read_json(path)['summary']['reward']
    assert validation['macro']['reward'] == pytest.approx(chosen)


def test_methods_share_what_they_have_in_common(finished):
  # SFT with reasoning is the first iteration of REST-PG.
  found = methods(finished)
  first = found['rest_pg']['iterations'][0]
  assert first == found['sft_reasoning']['iterations'][0]
  assert len(list(finished.glob('sft/train-*'))) == 1


def test_every_stage_states_what_it_expected_and_made(finished):
  done = [records.read_json(p) for p in finished.rglob('DONE.json')]
  assert len(done) == 18
  for stage in done:
    assert stage['summary']['expected'] == stage['summary']['made'], stage


def test_a_second_run_makes_nothing(finished, capsys):
  before = {p: p.stat().st_mtime_ns for p in finished.rglob('DONE.json')}
  restpg.run_methods(pipeline.small(), finished)
  assert {
    p: p.stat().st_mtime_ns for p in finished.rglob('DONE.json')
  } == before
  lines = capsys.readouterr().out.splitlines()
  stages = [line for line in lines if not line.startswith('method ')]
  assert len(stages) == 18
  assert all(' kept ' in line for line in stages)


def test_the_same_seed_in_another_workdir_gives_the_same_numbers(
  finished, tmp_path
):
  restpg.run_methods(pipeline.small(), tmp_path)
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
    restpg.run_methods(pipeline.small(seed=1), tmp_path, until=until)
  (one,) = finished.glob('e_step1/draw-*/trajectories.jsonl')
  (other,) = tmp_path.glob('e_step1/draw-*/trajectories.jsonl')
  assert one.read_text() != other.read_text()


def test_a_run_killed_again_and_again_goes_on_to_the_same_numbers(
  finished, tmp_path, monkeypatch
):
  cfg = pipeline.small(track='tensorboard')  # `finished` has no tracker
  for writes in (1, 3, 5, 6):  # of a sitting, the last of which is torn
    pipeline.kill_at_write(monkeypatch, writes)
    with pytest.raises(KeyboardInterrupt):
      restpg.run_methods(cfg, tmp_path)
    monkeypatch.undo()
  restpg.run_methods(cfg, tmp_path)
  assert methods(tmp_path) == methods(finished)
  assert sorted(event_reader.compare(tmp_path)) == [
    'e_step1/draw', 'eval0/answer', 'eval0/measure', 'eval1/answer',
    'eval1/measure', 'm_step1/choose', 'm_step1/train', 'reason',
    'sft/choose', 'sft/train',
  ]  # fmt: skip


def test_training_goes_on_from_the_last_checkpoint(tmp_path, monkeypatch):
  until = 'sft/train'
  save = trainer.save_checkpoint
  made = []

  def noted(saver, out, done, *rest):
    save(saver, out, done, *rest)
    made.append(done)
    if cut in out.parents and len(made) == 1:
      raise KeyboardInterrupt

  monkeypatch.setattr(trainer, 'save_checkpoint', noted)
  cut, whole = tmp_path / 'cut', tmp_path / 'whole'
  tracked = pipeline.small(track='tensorboard')
  with pytest.raises(KeyboardInterrupt):
    restpg.run_methods(tracked, cut, until=until)
  for workdir, cfg in ((cut, tracked), (whole, pipeline.small())):
    with pytest.raises(artifacts.Until):
      restpg.run_methods(cfg, workdir, until=until)
  assert made == [2, 4, 2, 4]
  assert event_reader.compare(cut) == {'reason', 'sft/train'}
  (run,) = cut.glob('tensorboard/sft/train-*')
  assert len(list(run.iterdir())) == 2  # a file of each sitting
  last = [
    next(workdir.glob('sft/train-*')) / 'checkpoints' / 'step_4' / 'model'
    for workdir in (cut, whole)
  ]
  assert same_weights(*last)


def test_steps_made_again_after_a_kill_are_no_goodput(
  finished, tmp_path, monkeypatch
):
  """Training is killed in its third step, one after a checkpoint."""
  workdir = shutil.copytree(finished, tmp_path / 'copy')
  shutil.rmtree(next(workdir.glob('sft/train-*')))
  load = batch_loader.BatchLoader.step

  def failing(loader, n):
    if n == 3:  # the batch behind it, which is loaded ahead
      raise MemoryError
    return load(loader, n)

  monkeypatch.setattr(batch_loader.BatchLoader, 'step', failing)
  with pytest.raises(MemoryError):
    restpg.run_methods(pipeline.small(), workdir)
  monkeypatch.undo()
  restpg.run_methods(pipeline.small(), workdir)
  table = build.build_report(workdir)['goodput']
  rows = {row['stage']: row for row in table['stages']}
  assert len(rows) == 18
  parts = 'useful', 'compiling', 'waiting', 'redone'
  for row in [*rows.values(), table['all']]:
    assert sum(row[part] for part in parts) == pytest.approx(row['seconds'])
    assert min(row[part] for part in parts) >= 0
  for name, row in rows.items():
    killed = name == 'sft/train'
    assert (row['sittings'], row['redone'] > 0) == (1 + killed, killed), name
  assert rows['m_step1/train']['compiling'] > 0  # perhaps read from a cache
  assert rows['sft/train']['useful'] > 0


def same_weights(one, other) -> bool:
  import jax
  import numpy as np

  from restpg_jax.io import checkpoints

  trees = [checkpoints.restore_model(path)[0] for path in (one, other)]
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, *trees)))


def test_settings_that_cannot_change_results_remake_nothing(finished, capsys):
  cfg = pipeline.small()
  cfg.compute.log_every = 1
  restpg.run_methods(cfg, finished)
  assert ' s   ' not in capsys.readouterr().out


def test_the_four_methods_share_retrieval_and_reasoning(finished):
  restpg.run_methods(pipeline.small(methods=('sft', 'rest_em')), finished)
  assert list(methods(finished)) == [
    'sft', 'sft_reasoning', 'rest_em', 'rest_pg'
  ]  # fmt: skip
  assert len(list(finished.glob('retrieve/*-*'))) == 3
  assert len(list(finished.glob('sft/train-*'))) == 2


def test_other_metrics_are_measured_and_nothing_else_is_made(
  finished, tmp_path, capsys
):
  workdir = shutil.copytree(finished, tmp_path / 'run')
  cfg = pipeline.small()
  cfg.evaluate.metrics = ('bleu',)
  restpg.run_methods(cfg, workdir)
  lines = capsys.readouterr().out.splitlines()
  made = [line.split()[0] for line in lines if ' s   ' in line]
  assert made == ['eval0/measure', 'eval1/measure']
  task = methods(workdir)['rest_pg']['tasks']['topic_writing']
  assert 0 <= task['bleu'] <= 1 and 'rouge1' not in task


COMMAND = [sys.executable, '-m', 'restpg_jax.main']
CONFIG = """
import sys
sys.path.insert(0, {root!r})
from tests.pipeline import small
get_config = small
"""


def command(tmp_path, *arguments):
  file = tmp_path / 'small.py'
  file.write_text(CONFIG.format(root=str(ROOT)))
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
  # A run of more than ten seconds has written its heartbeat.
  present = set(workdir.iterdir()) - {workdir / watch.FOLDER}
  assert present == {base, workdir / lock.NAME}
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
  cfg = pipeline.small(methods=('rest_pg',))
  cfg.data = config.Data(path=str(SAMPLE), limit=3)
  # These prompts fill their limits; so they do in what `finished` compiled,
  # whose longest are of 150 and 181 tokens.
  cfg.prompt.max_input, cfg.reason.max_input = 160, 192
  restpg.run_methods(cfg, tmp_path)
  found = methods(tmp_path)['rest_pg']
  assert {task: t['n'] for task, t in found['tasks'].items()} == {
    task: 3 for task in types.TASKS
  }
  assert os.path.getsize(tmp_path / 'report' / 'index.html') > 10_000
