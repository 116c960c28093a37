"""Facts about the verb `prepare`."""

import multiprocessing
import os
import pathlib

import pytest

from restpg_jax import config, errors, main, outcomes, verb_args
from restpg_jax.commands import prepare
from tests.data import longlamp_rows as given
from tests.data import test_avocado

ROW = b'{"input": "x", "output": "y", "profile": []}'


def run(*argv):
  return main.main(['prepare', *argv])


def source(tmp_path, *tasks, **files):
  for task in tasks or ('topic_writing', 'custom'):
    name = task if task == 'custom' else f'{task}_user'
    rows = dict.fromkeys(('train', 'val', 'test'), ROW) | files
    given.folder(tmp_path / 'from', name, **rows)
  return f'--from={tmp_path}/from'


@pytest.mark.slow
def test_tasks_side_by_side_and_what_is_there_is_kept(tmp_path, capsys):
  for path in ('topic_writing_user', 'product_review_temporal', 'custom'):
    given.folder(tmp_path / 'from', path, train=ROW, val=ROW, test=ROW)
  asked = [f'--from={tmp_path}/from', f'--to={tmp_path}/to']
  assert run(*asked, '--jobs=2') == outcomes.DONE
  assert capsys.readouterr().out.splitlines() == [
    'product_review_temporal: prepared, 1 train, 1 val, 1 test rows',
    'topic_writing_user: prepared, 1 train, 1 val, 1 test rows',
    'custom: prepared, 1 train, 1 val, 1 test rows',
    f'a run reads them by --config.data.path={tmp_path}/to/longlamp',
  ]
  before = {p: p.stat().st_mtime_ns for p in (tmp_path / 'to').rglob('*')}
  (tmp_path / 'from' / 'custom' / 'README.md').write_text('nobody reads it')
  assert run(*asked) == outcomes.DONE
  assert 'custom: kept, 1 train, 1 val, 1 test rows' in capsys.readouterr().out
  after = {p: p.stat().st_mtime_ns for p in (tmp_path / 'to').rglob('*')}
  assert before.keys() == after.keys()
  [examples, _] = given.read(tmp_path / 'to' / 'longlamp')
  assert [e.task for e in examples] == ['topic_writing', 'custom']


def test_a_bucket_is_refused_before_anything_is_made(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  asked = [source(tmp_path), '--to=gs://b/to']
  assert run(*asked) == outcomes.BAD_INPUT
  assert said(capsys) == (
    'error: --to=gs://b/to: give a local folder and copy it from there\n'
  )
  assert os.listdir(tmp_path) == ['from']


@pytest.mark.slow
def test_other_files_or_settings_are_not_taken_for_what_is_there(
  tmp_path, capsys
):
  asked = [source(tmp_path, 'custom'), f'--to={tmp_path}/to']
  assert run(*asked) == outcomes.DONE
  short = ['--config=configs/demo.py', '--config.data.max_text=5']
  assert run(*asked, *short) == outcomes.BAD_INPUT
  assert 'with another data.max_text' in said(capsys)
  (tmp_path / 'from/custom/test.jsonl').write_bytes(ROW + b'\n')
  assert run(*asked) == outcomes.BAD_INPUT
  assert f'{tmp_path}/to/longlamp/custom: it is there, made o' in said(capsys)


def said(capsys):
  message = capsys.readouterr().err
  assert message.startswith('error: ') and message.count('\n') == 1
  return message


@pytest.mark.slow
@pytest.mark.parametrize('jobs', ['1', '2'])
def test_a_bad_row_stops_with_its_place_or_is_skipped(tmp_path, capsys, jobs):
  asked = [
    source(tmp_path, train=ROW + b'\n{"input": 5}'),
    f'--to={tmp_path}/to',
    f'--jobs={jobs}',
  ]
  assert run(*asked) == outcomes.BAD_INPUT
  assert 'train.jsonl: row 2 (line 2): input is a int' in said(capsys)
  assert not list((tmp_path / 'to').rglob('dataset_info.json'))
  assert not multiprocessing.active_children()
  skip = ['--config=configs/demo.py', '--config.data.on_error=skip']
  assert run(*asked, *skip) == outcomes.DONE
  told = capsys.readouterr().out
  assert 'custom: prepared, 1 train, 1 val, 1 test rows, 1 skipped rows' in told
  assert run(*asked) == outcomes.BAD_INPUT
  assert 'without rows that were skipped' in said(capsys)


@pytest.mark.slow
def test_the_licensed_mails_become_a_task(tmp_path, capsys):
  test_avocado.mails(tmp_path / 'text')
  test_avocado.ids(tmp_path / 'ids')
  asked = [f'--avocado={tmp_path}/text', f'--ids={tmp_path}/ids']
  assert run(*asked, f'--to={tmp_path}/to') == outcomes.DONE
  assert 'email_generation_user: prepared, 1 train' in capsys.readouterr().out
  examples, _ = given.read(tmp_path / 'to' / 'longlamp', 'test')
  assert [e.output for e in examples] == ['we eat at noon? Ann']
  assert run(source(tmp_path), *asked, f'--to={tmp_path}/to') == outcomes.DONE
  assert 'email_generation_user: kept' in capsys.readouterr().out
  assert len(os.listdir(tmp_path / 'to' / 'longlamp')) == 4  # and .config


@pytest.mark.parametrize(
  'asked, part',
  [
    ({}, 'prepare needs --to=DIR and --from=DIR, --from=hub or --avocado=DIR'),
    ({'source': 'x'}, 'prepare needs --to=DIR'),
    (
      {'source': 'x', 'to': 'y'},
      'x: none of the folders email_generation_user',
    ),
    ({'avocado': 'x', 'to': 'y'}, '--avocado and --ids belong together'),
    (
      {'source': 'x', 'to': 'y', 'ids': 'z'},
      '--avocado and --ids belong',
    ),
    ({'source': 'x', 'to': 'y', 'jobs': '0'}, '--jobs=0: the value must be'),
    (
      {'source': 'x', 'to': 'y', 'jobs': 'all'},
      '--jobs=all: the value must',
    ),
  ],
)
def test_what_cannot_be_prepared_is_told_at_once(asked, part):
  with pytest.raises(errors.InputError) as error:
    prepare.check_prepare_args(verb_args.PrepareArgs(**asked), config.Data())
  assert part in str(error.value)


def test_a_task_without_a_split_is_told_before_any_is_prepared(
  tmp_path, capsys
):
  asked = source(tmp_path, 'custom', val=None)
  assert run(asked, f'--to={tmp_path}/to') == outcomes.BAD_INPUT
  assert "custom: no split 'val'; add one of val-*.parquet" in said(capsys)
  assert not pathlib.Path(tmp_path / 'to').exists()


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_no_data_set(tmp_path, monkeypatch):
  task = given.folder(tmp_path / 'from', 'custom')
  asked = verb_args.PrepareArgs(source=f'{tmp_path}/from', to=f'{tmp_path}/to')
  child = multiprocessing.get_context('fork').Process(
    target=killed_in_test, args=(asked,)
  )
  child.start()
  child.join()
  assert child.exitcode == 9
  left = list((tmp_path / 'to').rglob('longlamp-*'))
  assert left  # the first split was written
  prepare.prepare_data(asked, config.Data())
  examples, _ = given.read(tmp_path / 'to' / 'longlamp')
  assert len(examples) == 1
  assert task.exists()
  assert not any(path.exists() for path in left)


def killed_in_test(asked):
  from restpg_jax.data import builder

  shards = builder.Longlamp._shards

  def until_test(self, folder, split):
    def kill():
      os._exit(9)

    return [kill] if split == 'test' else shards(self, folder, split)

  builder.Longlamp._shards = until_test
  prepare.prepare_data(asked, config.Data())
