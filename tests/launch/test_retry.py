"""Facts about a pod with a gcloud that plays one: hosts are folders here.

The clone, install.sh, worker.sh and the processes of the run are real; gcloud,
uv and the run itself are small scripts that write down how they were called.
"""

import os
import pathlib
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
HOSTS = 'w0', 'w1', 'w2', 'w3'  # v4:2x2x4
# state: gcloud's word for the pod, none where the file is absent. SSH reaches
# the workers of a ready pod only. A deleted pod takes its hosts with it.
GCLOUD = r"""#!/bin/bash
cd "$POD" || exit 1
printf '%s\n' "$*" >> calls
verb=$4
case $verb in
  describe)
    [[ ! -e broken ]] || { cat broken >&2; exit 1; }
    [[ -e state ]] || { echo 'ERROR: (gcloud) NOT_FOUND: no pod' >&2; exit 1; }
    cat state ;;
  create)
    code=$(head -n 1 creates 2>/dev/null); sed -i 1d creates 2>/dev/null
    [[ -z $code ]] || exit "$code"
    echo READY > state ;;
  delete)
    for pid in w*/restpg_runs/*/pid; do
      [[ ! -e $pid ]] || kill -KILL -- "-$(cut -d ' ' -f 2 "$pid")" 2>/dev/null
    done
    rm -rf state w[0-9]* ;;
  ssh)
    [[ $(cat state) == READY ]] || exit 255
    for word in "$@"; do
      case $word in
        --worker=all) workers='w0 w1 w2 w3' ;;
        --worker=*) workers=w${word#*=} ;;
        --command=*) command=${word#*=} ;;
      esac
    done
    code=0
    for worker in $workers; do
      mkdir -p "$worker"
      (cd "$worker" && HOME=$PWD HOSTNAME=$worker bash -c "$command") || code=$?
    done
    exit "$code" ;;
esac
"""
# The run: the next line of its host's plan is what becomes of it.
PYTHON = r"""#!/bin/bash
printf '%s\n' "$*" >> "$POD/runs"
next=$(head -n 1 "$POD/plan-$HOSTNAME"); sed -i 1d "$POD/plan-$HOSTNAME"
echo "plan: $next"
case $next in
  '' | hang) exec sleep 300 ;;
  saves) trap 'exit 75' TERM; sleep 300 & wait ;;
  stubborn) trap '' TERM; sleep 300 ;;
  preempted) echo PREEMPTED > "$POD/state"; exec sleep 300 ;;
  *) sleep 0.3; exit "$next" ;;
esac
"""
UV = r"""#!/bin/bash
echo "uv $*" >> "$POD/calls"
mkdir -p .venv/bin && cp "$POD/python" .venv/bin/python
"""


def script(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)


class Pod:
  """A pod of four hosts in a folder."""

  def __init__(self, folder):
    self.folder = folder
    script(folder / 'bin' / 'gcloud', GCLOUD)
    script(folder / 'bin' / 'uv', UV)
    script(folder / 'python', PYTHON)
    repo = folder / 'repo'
    for name in ('worker.sh', 'install.sh'):
      script(repo / 'launch' / name, (ROOT / 'launch' / name).read_text())
    git = 'git -c user.name=n -c user.email=e@x'
    self.sh(
      f'cd {repo} && git init -q -b main && git add . && {git} commit -qm m'
    )
    self.spec()

  def sh(self, line):
    subprocess.run(line, shell=True, check=True)

  def spec(self, **keys):
    """Writes the spec."""
    keys = {'retries': 3, **keys}
    (self.folder / 'spec.toml').write_text(
      f"""
      name = 'pod'
      config = 'configs/demo.py'
      workdir = 'gs://bucket/demo'
      topology = 'v4:2x2x4'
      repo = '{self.folder}/repo'
      retries = {keys['retries']}
      [tpu]
      zone = 'z'
      """
    )

  def plan(self, **starts):
    """Says what becomes of each start: plan(w0='75 0'); others do as w0."""
    for host in HOSTS:
      words = starts.get(host, starts['w0']).split()
      (self.folder / f'plan-{host}').write_text(
        ''.join(f'{w}\n' for w in words)
      )

  def launch(self, verb, *flags):
    command = [sys.executable, '-m', 'launch.tpu', verb]
    return subprocess.run(
      [*command, str(self.folder / 'spec.toml'), '--every=0.05', *flags],
      cwd=ROOT,
      env=os.environ
      | {
        'POD': str(self.folder),
        'PATH': f'{self.folder}/bin:{os.environ["PATH"]}',
        'MEGASCALE_NUM_SLICES': '2',
      },
      capture_output=True,
      text=True,
      timeout=120,
    )

  def states(self):
    lines = self.launch('status').stdout.splitlines()
    return [line for line in lines if line.startswith('w')]

  def until(self, state):
    """Waits until all workers say so: a start is over before its run is."""
    for _ in range(200):
      if self.states() == [f'{host} {state}' for host in HOSTS]:
        return
      time.sleep(0.05)
    raise AssertionError(self.states())

  def lines(self, name):
    path = self.folder / name
    return path.read_text().splitlines() if path.exists() else []

  def verbs(self):
    """What gcloud was asked for, without looks."""
    asked = []
    for line in self.lines('calls'):
      words = line.split()
      if words[0] == 'compute' and words[3:4] != ['describe']:
        asked.append(words[3])
    return [verb for verb in asked if verb != 'ssh']

  def times(self, words):
    return sum(words in line for line in self.lines('calls'))

  def starts(self):
    return len(self.lines('runs')) // len(HOSTS)


@pytest.fixture
def pod(tmp_path):
  pod = Pod(tmp_path)
  yield pod
  for path in tmp_path.glob('w*/restpg_runs/pod/pid'):
    subprocess.run(
      ['bash', '-c', f'kill -KILL -- -{path.read_text().split()[1]}'],
      capture_output=True,
    )


def test_interruptions_are_started_again_until_the_run_is_done(pod):
  pod.plan(w0='75 134 75 0', w1='75 137 0 0')
  done = pod.launch('retry')
  assert done.returncode == 0, done.stderr
  assert pod.starts() == 4
  assert pod.verbs() == ['create']
  assert pod.times('uv pip install') == len(HOSTS)  # once, not at each start
  assert 'pod: attempt 4 of 4' in done.stderr
  assert pod.lines('runs')[0] == (
    '-m restpg_jax.main run --config=configs/demo.py --workdir=gs://bucket/demo'
  )


@pytest.mark.parametrize(
  'plan, code',
  [({'w0': '2', 'w3': '134'}, 2), ({'w0': '1'}, 1), ({'w0': '0'}, 0)],
)
def test_what_would_happen_again_is_not_started_again(pod, plan, code):
  pod.plan(**plan)
  assert pod.launch('retry').returncode == code
  assert pod.starts() == 1


def test_a_preempted_pod_is_deleted_and_made_anew(pod):
  pod.plan(w0='hang 0', w2='preempted 0')
  done = pod.launch('retry')
  assert done.returncode == 0, done.stderr
  assert pod.verbs() == ['create', 'delete', 'create']
  assert pod.times('uv pip install') == 2 * len(HOSTS)
  assert 'pod is PREEMPTED: it is made anew' in done.stderr


def test_retries_have_an_end(pod):
  pod.spec(retries=1)
  pod.plan(w0='75 75 75')
  done = pod.launch('retry')
  assert done.returncode == 75
  assert pod.starts() == 2
  assert 'pod: interrupted 2 times, given up' in done.stderr


def test_a_host_that_hangs_after_the_others_ended_is_stopped(pod):
  pod.plan(w0='75 0', w3='saves 0')
  done = pod.launch('retry')
  assert done.returncode == 0, done.stderr
  assert '1 of 4 workers hang: they are stopped' in done.stderr
  assert pod.starts() == 2


def test_there_is_no_capacity_at_first(pod):
  (pod.folder / 'creates').write_text('1\n1\n')
  pod.plan(w0='0')
  assert pod.launch('retry').returncode == 0
  assert pod.verbs() == ['create'] * 3


def test_a_wrong_flag_of_gcloud_is_the_end(pod):
  (pod.folder / 'creates').write_text('2\n')
  pod.plan(w0='0')
  assert pod.launch('retry').returncode == 2
  assert pod.verbs() == ['create']


def test_nothing_is_made_or_deleted_where_gcloud_has_no_answer(pod):
  (pod.folder / 'broken').write_text('ERROR: PERMISSION_DENIED\n')
  done = pod.launch('retry')
  assert done.returncode == 1
  assert 'PERMISSION_DENIED' in done.stderr
  assert pod.verbs() == []


def test_a_run_lives_apart_from_the_session_and_by_itself(pod):
  pod.plan(w0='saves 0')
  assert pod.launch('create').returncode == 0
  assert pod.launch('install').returncode == 0
  pod.until('none')
  assert pod.launch('run').returncode == 0
  pod.until('running')
  for host in HOSTS:  # a session, and no terminal, of its own
    folder = pod.folder / host / 'restpg_runs' / 'pod'
    child, group = (folder / 'pid').read_text().split()
    listed = subprocess.run(
      ['ps', '-o', 'sid=,tty=', child], capture_output=True, text=True
    )
    assert listed.stdout.split() == [group, '?']
    assert 'plan: saves' in (folder / 'log').read_text()

  second = pod.launch('run')
  assert second.returncode == 2
  assert second.stderr == (
    'error: pod runs already: the verb tail shows its log, stop ends it\n'
  )
  assert pod.starts() == 1

  assert pod.launch('stop').returncode == 0
  assert pod.states() == [f'{host} ended 75' for host in HOSTS]
  # Another `retry`, from anywhere, goes on with what is there.
  assert pod.launch('retry').returncode == 0
  assert pod.starts() == 2
  assert pod.launch('delete').returncode == 0
  assert pod.verbs() == ['create', 'delete']


def test_a_run_that_is_there_is_only_watched(pod):
  pod.plan(w0='1')
  for verb in ('create', 'install'):
    assert pod.launch(verb).returncode == 0
  pod.plan(w0='saves', w3='saves')
  assert pod.launch('run').returncode == 0
  pod.until('running')
  with subprocess.Popen(
    [
      'bash',
      '-c',
      f'sleep 1; kill -TERM $(cut -d " " -f 1 {" ".join(pids(pod))})',
    ]
  ):
    pod.spec(retries=0)
    assert pod.launch('retry').returncode == 75
  assert pod.starts() == 1
  assert pod.times('uv pip install') == len(HOSTS)


def pids(pod):
  """The files of the hosts with the numbers of their processes."""
  return sorted(map(str, pod.folder.glob('w*/restpg_runs/pod/pid')))
