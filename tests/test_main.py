"""Facts about restpg_jax/main.py: verbs, exit codes, last words."""

import errno
import os
import signal
import subprocess
import sys
import threading
import types
import warnings

import pytest

from restpg_jax import backends, errors, main
from restpg_jax.io import artifacts

CONFIG = """
from restpg_jax import config

def get_config():
  return config.Config()
"""
# Stands in for the method, for tests in a process of their own.
STUB = """
import signal, sys, types, time
# A shell has its background jobs, and what they start, ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
from restpg_jax import main
def run(cfg, workdir, until='', hosts=None):
  {body}
import restpg_jax
restpg_jax.restpg = sys.modules['restpg_jax.restpg'] = types.SimpleNamespace(
    run_methods=run)
sys.argv[0] = 'restpg'
main.console()
"""


@pytest.fixture
def flags(tmp_path):
  (tmp_path / 'x.py').write_text(CONFIG)
  return [f'--config={tmp_path / "x.py"}', f'--workdir={tmp_path / "w"}']


@pytest.fixture
def method(monkeypatch):
  """Stand-ins for the method and its report; .error is what a run raises."""
  seen = types.SimpleNamespace(calls=[], error=None, workdirs=[])

  def run(cfg, workdir, until='', hosts=None):
    seen.calls.append((cfg, workdir, until))
    os.makedirs(workdir, exist_ok=True)
    if seen.error:
      raise seen.error

  def build(workdir):
    seen.workdirs.append(workdir)
    return {'methods': {'rest_pg': 0.5}}

  import restpg_jax
  import restpg_jax.report

  report = types.SimpleNamespace(
    build_report=build,
    results_text=lambda results: f'table of {results["methods"]}',
  )
  restpg = types.SimpleNamespace(run_methods=run)
  monkeypatch.setattr(restpg_jax, 'restpg', restpg, raising=False)
  monkeypatch.setitem(sys.modules, 'restpg_jax.restpg', restpg)
  monkeypatch.setattr(restpg_jax.report, 'build', report, raising=False)
  monkeypatch.setitem(sys.modules, 'restpg_jax.report.build', report)
  return seen


def test_run_ends_with_the_table_and_the_place(method, flags, capsys, tmp_path):
  assert main.main([*flags, '--config.seed=3']) == 0
  ((cfg, workdir, until),) = method.calls
  assert (cfg.seed, workdir, until) == (3, str(tmp_path / 'w'), '')
  assert method.workdirs == [workdir]
  assert capsys.readouterr().out.splitlines() == [
    "table of {'rest_pg': 0.5}",
    f'report: {tmp_path / "w" / "report" / "index.html"}',
  ]


def test_report_alone_runs_nothing_and_needs_no_config(
  method, capsys, tmp_path
):
  assert main.main(['report', f'--workdir={tmp_path}']) == 0
  assert method.calls == []
  assert method.workdirs == [str(tmp_path)]
  assert 'table of' in capsys.readouterr().out


def test_until_is_no_failure_and_makes_no_report(method, flags, capsys):
  method.error = artifacts.Until('sft')
  assert main.main([*flags, '--until=sft']) == 0
  assert method.calls[0][2] == 'sft'
  assert method.workdirs == []
  assert capsys.readouterr().out == 'stopped after sft\n'


@pytest.mark.parametrize(
  'error, code, words',
  [
    (errors.InputError('row 3:\n bad'), 2, 'error: row 3: bad'),
    (
      KeyboardInterrupt(),
      75,
      'interrupted: run the same command again to continue',
    ),
    (artifacts.Incomplete('a: 1 of 2'), 1, 'error: Incomplete: a: 1 of 2'),
    (ZeroDivisionError('a\nb'), 1, 'error: ZeroDivisionError: a b'),
    (ValueError(''), 1, 'error: ValueError: '),
  ],
)
def test_exit_codes(method, flags, capsys, tmp_path, error, code, words):
  method.error = error
  assert main.main(flags) == code
  (line,) = capsys.readouterr().err.splitlines()  # no traceback
  log = tmp_path / 'w' / 'error.log'
  if code == 1:
    assert line == f'{words} (traceback in {log})'
    assert 'in run\n    raise seen.error\n' in log.read_text()
  else:
    assert line == words
    assert not log.exists()
  assert method.workdirs == []


@pytest.mark.parametrize(
  'argv, words',
  [
    ([], 'missing --workdir=DIR; see --help'),
    (['--workdir=w'], 'missing --config=FILE; see --help'),
    (['evaluate', '--workdir=w'], 'evaluate: the verbs are run, report'),
    (['--workdir=w', '--worm=1'], "Unknown command line flag 'worm'"),
    (['report', '--workdir=none'], '--workdir=none: no such folder'),
    (['--workdir=w', '--config=none.py'], 'none.py: no such config file'),
  ],
)
def test_what_is_missing_or_wrong(method, capsys, monkeypatch, tmp_path, argv,
                                  words):  # fmt: skip
  monkeypatch.chdir(tmp_path)
  assert main.main(argv) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'error: {words}')
  assert list(tmp_path.iterdir()) == []  # nothing is made
  assert method.calls == []


def test_a_workdir_that_is_a_file(method, flags, capsys, tmp_path):
  (tmp_path / 'w').write_text('')
  assert main.main(flags) == 2
  assert capsys.readouterr().err.endswith('is no folder\n')


def test_help_names_every_verb(capsys):
  assert main.main(['--help']) == 0
  out = capsys.readouterr().out
  for verb in main.VERBS:
    assert f'\n  {verb} ' in out
  assert max(map(len, out.splitlines())) <= 80


@pytest.mark.slow
def test_help_imports_nothing_heavy():
  """What makes it quick: three light packages, and no room of the house."""
  done = subprocess.run(
    [sys.executable, '-X', 'importtime', '-m', 'restpg_jax.main', '--help'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0
  assert done.stdout.startswith('REST-PG')
  imported = {line.split('|')[-1].strip() for line in done.stderr.splitlines()}
  tops = {name.split('.')[0] for name in imported}
  assert 'absl' in tops  # the list is what it should be
  assert not tops & {
    *('jax', 'flax', 'numpy', 'optax', 'orbax', 'gemma', 'scipy', 'nltk'),
    *('tensorflow', 'tensorflow_datasets', 'torch', 'transformers'),
    *('pyarrow', 'huggingface_hub', 'safetensors', 'sentencepiece'),
    *('tokenizers', 'jinja2', 'regex', 'tqdm'),
  }
  ours = {name for name in imported if name.startswith('restpg_jax.')}
  light = (
    'arguments backends cli config errors interrupts malloc outcomes '
    'overrides parallel parallel.hosts pulse storage usage verb_args'
  ).split()
  assert ours == {f'restpg_jax.{name}' for name in light}


def start(flags, body, **changed):
  return subprocess.Popen(
    [sys.executable, '-c', STUB.format(body=body), *flags],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | changed,
  )


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_75_and_says_how_to_go_on(flags, number):
  process = start(flags, "print('here', flush=True); time.sleep(60)")
  assert process.stdout.readline() == 'here\n'
  process.send_signal(number)
  _, err = process.communicate(timeout=20)
  assert process.returncode == 75
  assert err == (
    f'interrupted ({number.name}): run the same command again to continue\n'
  )


@pytest.mark.slow
def test_the_exit_code_is_the_programs(flags):
  process = start(flags, '1 / 0')
  _, err = process.communicate(timeout=20)
  assert process.returncode == 1
  assert err.startswith('error: ZeroDivisionError: division by zero (traceback')


@pytest.mark.parametrize(
  'error, code, line',
  [
    (
      OSError(errno.EROFS, 'Read-only file system', 'w/.lock'),
      2,
      "error: [Errno 30] Read-only file system: 'w/.lock'; give a place that "
      'can be read and written\n',
    ),
    (
      PermissionError(errno.EACCES, 'Permission denied', 'w'),
      2,
      "error: [Errno 13] Permission denied: 'w'; give a place that can be "
      'read and written\n',
    ),
    (
      ValueError('TensorStore: No space left on device'),
      1,
      'error: TensorStore: No space left on device; make room; the same '
      'command again goes on from what is there\n',
    ),
  ],
)
def test_what_the_disk_refuses_is_a_line_without_a_traceback(
  method, flags, capsys, tmp_path, error, code, line
):
  method.error = error
  assert main.main(flags) == code
  assert capsys.readouterr().err == line
  assert not (tmp_path / 'w' / 'error.log').exists()


def test_the_cause_of_a_librarys_error_counts(method, flags, capsys):
  method.error = RuntimeError('not saved')
  method.error.__cause__ = OSError(errno.ENOSPC, 'No space left on device')
  assert main.main(flags) == 1
  assert capsys.readouterr().err.startswith('error: not saved; make room')


def test_jax_without_a_device_is_bad_input(method, flags, capsys, monkeypatch):
  method.error = AssertionError()
  monkeypatch.setattr(
    backends, 'backend_fault', lambda: 'JAX has no device here'
  )
  monkeypatch.setitem(sys.modules, 'jax', types.SimpleNamespace())
  assert main.main(flags) == 2
  assert capsys.readouterr().err == 'error: JAX has no device here\n'


def test_another_thread_than_the_main_one_may_call_it(method, flags):
  codes = []
  thread = threading.Thread(target=lambda: codes.append(main.main(flags)))
  thread.start()
  thread.join()
  assert codes == [0]


@pytest.mark.slow
def test_who_stops_reading_ends_it_quietly(flags, tmp_path):
  process = start(flags, "time.sleep(1); print('here', flush=True)")
  process.stdout.close()
  process.stdout = None
  _, err = process.communicate(timeout=20)
  assert (process.returncode, err) == (141, '')
  assert not (tmp_path / 'w').exists()  # no error.log


def test_another_pipe_that_breaks_is_told(method, flags, capsys):
  method.error = BrokenPipeError('of a worker')
  assert main.main(flags) == 1
  assert 'BrokenPipeError: of a worker' in capsys.readouterr().err


@pytest.mark.slow
def test_what_an_ascii_locale_lacks_is_printed_as_an_escape(flags):
  ascii_only = {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'}
  body = "print('\\xb1 \\u4e2d'); sys.exit(0)"
  process = start(flags, body, PYTHONIOENCODING='', **ascii_only)
  out, err = process.communicate(timeout=20)
  assert (out, err) == ('\\xb1 \\u4e2d\n', '')


@pytest.mark.slow
def test_help_needs_no_docstrings():
  done = subprocess.run(
    [sys.executable, '-OO', '-m', 'restpg_jax.main', '--help'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0
  assert 'run        Runs the methods of the config' in done.stdout
  assert 'None' not in done.stdout


def test_odd_data_is_told_in_one_line(capsys):
  with main._plain_warnings():
    warnings.warn('x: 2 rows repeat', errors.DataWarning, stacklevel=1)
  assert capsys.readouterr().err == 'warning: x: 2 rows repeat\n'


@pytest.mark.slow
def test_a_signal_that_comes_where_nobody_can_catch_it_is_not_lost(flags):
  body = """
  class Trap:
    def __del__(self):
      print('here', flush=True)
      time.sleep(5)  # the signal comes here
  Trap()
  time.sleep(60)"""
  process = start(flags, body)
  assert process.stdout.readline() == 'here\n'
  process.send_signal(signal.SIGTERM)
  _, err = process.communicate(timeout=20)
  assert process.returncode == 75
  assert err.endswith('run the same command again to continue\n')
