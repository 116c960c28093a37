"""Facts about launch/tpu_pod.sh, with a gcloud that only writes down."""

import os
import pathlib
import shlex
import subprocess

import pytest

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).parents[2] / 'launch' / 'tpu_pod.sh'
POD = ('--name=pod', '--zone=us-central2-b')
RUN = ('--', '--config=configs/paper.py', '--workdir=gs://bucket/paper')
REMOTE = (
  'cd restpg_jax && .venv/bin/python -m restpg_jax.main '
  '--config=configs/paper.py --workdir=gs://bucket/paper'
)
SSH = ('gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh')


@pytest.fixture
def pod(tmp_path):
  """Runs the script; returns what it says and how gcloud was called."""
  fake, log = tmp_path / 'bin' / 'gcloud', tmp_path / 'log'
  fake.parent.mkdir()
  fake.write_text(f'#!/bin/bash\nprintf "%s\\0" gcloud "$@" > {log}\nexit 7\n')
  fake.chmod(0o755)

  def run(*arguments):
    path = f'{fake.parent}:{os.environ["PATH"]}'
    done = subprocess.run(
      ['bash', str(SCRIPT), *arguments],
      env={'PATH': path},
      capture_output=True,
      text=True,
    )
    calls = log.read_text().split('\0')[:-1] if log.exists() else None
    return done, calls

  return run


def test_one_command_on_every_worker(pod):
  done, call = pod(*POD, *RUN)
  assert call == [
    *SSH,
    'pod',
    '--worker=all',
    '--zone=us-central2-b',
    f'--command={REMOTE}',
  ]
  assert done.returncode == 7  # gcloud's own


def test_a_dry_run_prints_that_command_and_runs_nothing(pod):
  done, call = pod(*POD, '--project=p', '--dry_run', *RUN)
  assert call is None
  assert (done.returncode, done.stderr) == (0, '')
  assert shlex.split(done.stdout) == [
    *SSH,
    'pod',
    '--worker=all',
    '--zone=us-central2-b',
    '--project=p',
    f'--command={REMOTE}',
  ]


def test_flags_may_stand_apart_from_their_values(pod):
  _, joined = pod(*POD, '--repo_dir=/a', *RUN)
  _, apart = pod(
    '--name', 'pod', '--zone', 'us-central2-b', '--repo_dir', '/a', *RUN
  )
  assert joined == apart
  assert joined[-1].startswith('--command=cd /a && ')


def test_arguments_reach_the_worker_as_they_were_given(pod, tmp_path):
  odd = [
    'run',
    "--config.methods=('sft','rest_pg')",
    '--config.data.path=gs://b/my data; $HOME `x` "y" *',
    '--until=',
    '--workdir',
    'gs://b/w',
  ]
  repo = tmp_path / 'my repo'
  python = repo / '.venv' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  python.write_text('#!/bin/bash\nprintf "%s\\0" "$PWD" "$@"\n')
  python.chmod(0o755)
  _, call = pod(*POD, f'--repo_dir={repo}', '--', *odd)
  command = call[-1].removeprefix('--command=')
  worker = subprocess.run(  # what the remote shell makes of it
    ['bash', '-c', command], capture_output=True, text=True, check=True
  )
  assert worker.stdout.split('\0')[:-1] == [
    str(repo),
    '-m',
    'restpg_jax.main',
    *odd,
  ]


@pytest.mark.parametrize(
  'arguments, words',
  [
    (RUN, 'missing --name'),
    (('--name=pod', *RUN), 'missing --zone'),
    (('--name=', '--zone=z', *RUN), 'missing --name'),
    ((*POD, '--repo_dir=', *RUN), 'empty --repo_dir'),
    (POD, 'missing -- and the arguments'),
    ((*POD, '--'), 'missing -- and the arguments'),
    ((*POD, '--workers=2', *RUN), 'unknown flag --workers'),
    ((*POD, '--dryrun'), '--dryrun has no value'),
    ((*POD, 'run', *RUN), 'run: the arguments of restpg_jax.main come after'),
    ((*POD, '--', 'run'), 'missing --workdir=gs://'),
    ((*POD, '--', '--workdir=runs/x'), '--workdir=runs/x is on each worker'),
    ((*POD, '--', '--workdir', '/tmp/x'), '--workdir=/tmp/x is on each'),
    ((*POD, '--', '--workdir=gs://'), '--workdir=gs:// is on each'),
    (
      (*POD, '--', '--workdir=gs://b/x', '--workdir=x'),
      '--workdir=x is on each',
    ),
  ],
)
def test_what_cannot_work_is_refused(pod, arguments, words):
  done, call = pod(*arguments)
  assert call is None
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: {words}')
  assert 'launch/tpu_pod.sh --name=NAME --zone=ZONE' in done.stderr
  assert done.stdout == ''


def test_help(pod):
  done, call = pod('--help')
  assert (done.returncode, call) == (0, None)
  assert '--dry_run' in done.stdout
