"""Facts about the scripts of a host: worker.sh, install.sh, SLURM's job."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from launch import slurm, spec

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / 'launch').glob('*.sh'))
WORKER = ROOT / 'launch' / 'worker.sh'


@pytest.fixture
def worker(tmp_path):
  """Runs worker.sh on a host whose home is tmp_path."""

  def run(verb, *arguments, name='job'):
    return subprocess.run(
      ['bash', str(WORKER), verb, name, *arguments],
      env=os.environ
      | {'HOME': str(tmp_path), 'HOSTNAME': 'h', 'MEGASCALE_SLICE_ID': '1'},
      capture_output=True,
      text=True,
      timeout=60,
    )

  yield run
  pid = tmp_path / 'restpg_runs' / 'job' / 'pid'
  if pid.exists():
    group = pid.read_text().split()[1]
    subprocess.run(
      ['bash', '-c', f'kill -KILL -- -{group}'], capture_output=True
    )


def numbers(folder):
  """The process of the command, and its group."""
  return (folder / 'restpg_runs' / 'job' / 'pid').read_text().split()


def until_up(folder):
  """Waits until the command says that it has set its trap."""
  log = folder / 'restpg_runs' / 'job' / 'log'
  while '\nup\n' not in log.read_text():
    time.sleep(0.02)


def wait(worker, state):
  for _ in range(200):
    said = worker('status').stdout
    if said == f'h {state}\n':
      return
    time.sleep(0.05)
  raise AssertionError(said)


def test_a_command_gets_its_arguments_as_they_are(worker, tmp_path):
  odd = ['a b', "it's", '$HOME `x` *', '', '"']
  code = (
    'import os, sys; print(sys.argv[1:], os.environ.get("MEGASCALE_SLICE_ID"))'
  )
  assert worker('start', sys.executable, '-c', code, *odd).returncode == 0
  wait(worker, 'ended 0')
  lines = (tmp_path / 'restpg_runs' / 'job' / 'log').read_text().splitlines()
  assert lines[1] == f'{odd} None'  # and no variable of an earlier slice


@pytest.mark.parametrize('code', [0, 2, 75, 127])
def test_the_exit_code_is_kept(worker, code):
  worker('start', 'bash', '-c', f'exit {code}')
  wait(worker, f'ended {code}')


def test_a_second_one_is_refused_while_the_first_lives(worker, tmp_path):
  assert worker('status').stdout == 'h none\n'
  worker('start', 'sleep', '300')
  wait(worker, 'running')
  second = worker('start', 'touch', str(tmp_path / 'ran'))
  assert second.returncode == 3
  assert second.stderr == 'h: job runs already; stop it first\n'
  assert worker('stop').stdout == 'h ended 143\n'
  assert not (tmp_path / 'ran').exists()
  worker('start', 'true')
  wait(worker, 'ended 0')


def test_a_command_that_does_not_stop_is_killed(worker, tmp_path):
  worker('start', 'bash', '-c', 'trap "" TERM; echo up; sleep 300')
  until_up(tmp_path)
  assert worker('stop', '1').stdout == 'h killed\n'


def test_a_shutdown_that_asks_everybody_to_end_loses_no_code(worker, tmp_path):
  code = 'trap "sleep 0.5; exit 75" TERM; echo up; sleep 300 & wait'
  worker('start', 'bash', '-c', code)
  until_up(tmp_path)
  child, group = numbers(tmp_path)
  subprocess.run(['kill', '-TERM', child, group], check=True)
  wait(worker, 'ended 75')


def test_what_a_command_leaves_behind_ends_with_it(worker):
  worker('start', 'bash', '-c', 'sleep 300 & exit 75')
  wait(worker, 'ended 75')
  assert worker('start', 'true').returncode == 0


def test_a_host_that_was_restarted_has_no_run(worker, tmp_path):
  worker('start', 'sleep', '300')
  wait(worker, 'running')
  _, group = numbers(tmp_path)
  subprocess.run(['bash', '-c', f'kill -KILL -- -{group}'], check=True)
  wait(worker, 'killed')
  pid = tmp_path / 'restpg_runs' / 'job' / 'pid'
  pid.write_text(f'{os.getpid()} {os.getpid()}')  # a number that lives again
  assert worker('status').stdout == 'h killed\n'
  assert worker('stop').stdout == 'h killed\n'


@pytest.mark.parametrize(
  'arguments', [('start',), ('begin',), ('status', '../x')], ids=str
)
def test_wrong_calls_show_how(worker, arguments):
  verb, *rest = arguments
  done = worker(verb, name=rest[0]) if rest else worker(verb)
  assert done.returncode == 2
  assert 'launch/worker.sh start NAME COMMAND...' in done.stderr


@pytest.mark.parametrize(
  'extra, packages',
  [('tpu', '--editable .[tpu]'), ('cuda', '--editable . jax[cuda13]')],
)
def test_install(tmp_path, extra, packages):
  (tmp_path / 'launch').mkdir()
  shutil.copy(ROOT / 'launch' / 'install.sh', tmp_path / 'launch')
  uv = tmp_path / 'bin' / 'uv'
  uv.parent.mkdir()
  uv.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/calls\n')
  uv.chmod(0o755)
  subprocess.run(
    ['bash', str(tmp_path / 'launch' / 'install.sh'), extra],
    env={'PATH': f'{uv.parent}:{os.environ["PATH"]}', 'HOME': str(tmp_path)},
    check=True,
  )
  assert (tmp_path / 'calls').read_text().splitlines() == [
    'venv --quiet --allow-existing --python 3.11 .venv',
    'pip install --quiet --python .venv/bin/python '
    f'--constraint constraints/python3.11.txt {packages}',
  ]


def test_install_says_what_it_takes():
  done = subprocess.run(
    ['bash', str(ROOT / 'launch' / 'install.sh')],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  assert done.stderr == 'usage: launch/install.sh tpu|cuda\n'


@pytest.mark.parametrize(
  'code, restarts, state, requeued',
  [
    (0, 0, 'RUNNING', False),
    (75, 0, 'RUNNING', True),
    (134, 19, 'RUNNING', True),
    (137, 0, 'RUNNING', True),
    (75, 20, 'RUNNING', False),  # 20 retries
    (75, 0, 'COMPLETING', False),  # cancelled
    (2, 0, 'RUNNING', False),
    (1, 0, 'RUNNING', False),
  ],
)
def test_slurm_requeues_interruptions(
  tmp_path, code, restarts, state, requeued
):
  for name, line in {
    'srun': f'echo "$JAX_COORDINATOR_PORT: $*"; exit {code}',
    'squeue': f'echo {state}',
    'scontrol': 'echo "scontrol $*"',
  }.items():
    (tmp_path / name).write_text(f'#!/bin/bash\n{line}\n')
    (tmp_path / name).chmod(0o755)
  one = spec.Spec(
    *('job', 'c.py', '/w'),
    slurm=spec.Slurm(nodes=2, gpus=4, folder=str(tmp_path)),
  )
  done = subprocess.run(
    ['bash', '-c', slurm.script(one)],
    env={
      'PATH': f'{tmp_path}:{os.environ["PATH"]}',
      'SLURM_JOB_ID': '25007',
      'SLURM_RESTART_COUNT': str(restarts),
    },
    capture_output=True,
    text=True,
  )
  assert done.returncode == code
  lines = done.stdout.splitlines()
  assert lines[0] == (
    '15007: --label --cpu-bind=none --kill-on-bad-exit=0 --wait=600 '
    '.venv/bin/python -m restpg_jax.main run --config=c.py --workdir=/w'
  )
  assert ('scontrol requeue 25007' in lines) == requeued


def shellcheck():
  """shellcheck, also where it lies beside this Python."""
  near = os.path.dirname(sys.executable)
  return shutil.which('shellcheck') or shutil.which('shellcheck', path=near)


@pytest.mark.skipif(not shellcheck(), reason='shellcheck is not installed')
def test_shell_is_clean(tmp_path):
  text = slurm.script(spec.read(str(ROOT / 'launch' / 'example.toml')))
  (tmp_path / 'job.sh').write_text(text)
  assert [path.name for path in SCRIPTS] == ['install.sh', 'worker.sh']
  done = subprocess.run(
    [str(shellcheck()), *map(str, SCRIPTS), str(tmp_path / 'job.sh')],
    capture_output=True,
    text=True,
  )
  assert done.stdout == ''
