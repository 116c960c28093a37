"""Golden dry runs: what each launcher would execute, for each of its verbs.

After a change that is meant, `LAUNCH_GOLDENS=write pytest tests/launch` writes
them anew; the diff is what a reviewer reads.
"""

import os
import pathlib
import re
import shlex

import pytest
import yaml

from launch import gke, pod, shell, slurm, spec, sweep, tpu
from restpg_jax.parallel import chips

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = 'launch/example.toml'
GOLDENS = pathlib.Path(__file__).parent / 'goldens'
BACKENDS = {'tpu': tpu.VERBS, 'gke': gke.VERBS, 'slurm': slurm.VERBS}
PAGES = [
  ROOT / 'launch' / 'README.md',
  *((ROOT / 'docs' / f'{n}.md') for n in ('pods', 'troubleshooting')),
]


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.fixture
def small(tmp_path):
  """The path of small.toml, its workdir where TPUs reach it."""
  text = (pathlib.Path(__file__).parent / 'small.toml').read_text()
  path = tmp_path / 'small.toml'
  path.write_text(text.replace("'/shared/runs", "'gs://my-bucket"))
  return str(path)


def launch(*argv):
  """Runs `python -m launch.ARGV`."""
  backend, *rest = argv
  if backend == 'sweep':
    return sweep.main(rest)
  return shell.main(backend, BACKENDS[backend], rest)


def check(name, text):
  path = GOLDENS / f'{name}.txt'
  if os.environ.get('LAUNCH_GOLDENS') == 'write':
    path.write_text(text)
  assert text == path.read_text()


@pytest.mark.parametrize(
  'backend, verb', [(b, v) for b, verbs in BACKENDS.items() for v in verbs]
)
def test_example(backend, verb, capsys):
  assert launch(backend, verb, EXAMPLE, '--dry_run') == 0
  check(f'{backend}_{verb}', capsys.readouterr().out)


@pytest.mark.parametrize('backend, verb', [('tpu', 'retry'), ('gke', 'create')])
def test_small(backend, verb, small, capsys):
  assert launch(backend, verb, small, '--dry_run') == 0
  check(f'small_{backend}_{verb}', capsys.readouterr().out)


def test_small_slurm(capsys):
  assert launch('slurm', 'run', 'tests/launch/small.toml', '--dry_run') == 0
  check('small_slurm_run', capsys.readouterr().out)


@pytest.mark.parametrize(
  'backend, verb', [('tpu', 'run'), ('gke', 'manifest'), ('slurm', 'run')]
)
def test_sweep(backend, verb, capsys):
  assert launch('sweep', backend, verb, EXAMPLE, '--dry_run') == 0
  check(f'sweep_{backend}_{verb}', capsys.readouterr().out)


def test_tail_shows_the_worker_that_is_asked_for(capsys):
  launch('tpu', 'tail', EXAMPLE, '--worker=3', '--dry_run')
  launch('gke', 'tail', EXAMPLE, '--worker=3', '--dry_run')
  first, second = capsys.readouterr().out.splitlines()
  assert ' --worker=3 ' in first
  assert second.endswith('job-completion-index=3')


def test_there_is_no_golden_too_many():
  read = {f'{b}_{v}.txt' for b, verbs in BACKENDS.items() for v in verbs}
  read |= {f'small_{n}.txt' for n in ('tpu_retry', 'gke_create', 'slurm_run')}
  read |= {f'sweep_{n}.txt' for n in ('tpu_run', 'gke_manifest', 'slurm_run')}
  assert {path.name for path in GOLDENS.iterdir()} == read


def test_a_worker_gets_the_arguments_as_they_are_in_the_spec(small):
  """The shell here reads the line once, the one of the worker once more."""
  one = spec.read(small)
  line = pod.ssh(one, pod.on_worker(one, 'start', *spec.command(one)))
  (here,) = [shlex.split(shell.written(line))]
  assert here == line
  remote = here[-1].removeprefix('--command=')
  there = shlex.split(remote.removeprefix('cd restpg_jax && '))
  assert there[:4] == ['bash', 'launch/worker.sh', 'start', 'small']
  assert there[4:] == spec.command(one)
  assert there[-2] == '--config.data.path=/shared/my data; $HOME `x` "y" *'


@pytest.mark.parametrize('name', [EXAMPLE, 'small'])
def test_the_manifest_is_the_yaml_of_a_jobset(name, small):
  one = spec.read(small if name == 'small' else name)
  job_set = yaml.safe_load(gke.text(one))
  assert job_set == gke.manifest(one)
  assert job_set['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert job_set['kind'] == 'JobSet'
  (replicated,) = job_set['spec']['replicatedJobs']
  job = replicated['template']['spec']
  assert job['parallelism'] == job['completions'] == one.hosts
  # Any lost pod ends the job, and the JobSet makes all of them anew ..
  assert job['backoffLimit'] == 0
  assert job_set['spec']['failurePolicy']['maxRestarts'] == one.retries
  # .. unless the exit code says that the same would happen again.
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['action'] == 'FailJob'
  assert rule['onExitCodes']['operator'] == 'NotIn'
  assert rule['onExitCodes']['values'] == [75, 134, 137, 143]
  (rule,) = job_set['spec']['failurePolicy']['rules']
  assert rule['action'] == 'FailJobSet'
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  host = job['template']['spec']
  assert host['restartPolicy'] == 'Never'  # podFailurePolicy needs it
  (container,) = host['containers']
  assert container['resources']['limits'] == {'google.com/tpu': '4'}
  assert container['ports'] == [{'containerPort': 8476}]
  assert container['command'][1:] == spec.command(one)[1:]


def test_hosts_of_a_slice():
  def hosts(topology):
    return spec.Spec('n', 'c', 'w', topology=topology).hosts

  assert {
    t: hosts(t)
    for t in ('v4:2x2x1', 'v4:4x4x4', 'v5p:2x2x4', 'v5e:2x4', 'v6e:8x8')
  } == {
    'v4:2x2x1': 1,
    'v4:4x4x4': 16,
    'v5p:2x2x4': 4,
    'v5e:2x4': 1,
    'v6e:8x8': 16,
  }


@pytest.mark.parametrize(
  'topology, flags',
  [
    ('v4:2x4x4', ['--type=v4', '--topology=2x4x4']),
    ('v5e:4x8', ['--accelerator-type=v5litepod-32']),
    ('v5p:4x4x4', ['--accelerator-type=v5p-128']),
    ('v6e:4x4', ['--accelerator-type=v6e-16']),
  ],
)
def test_what_gcloud_calls_a_slice(topology, flags):
  one = spec.Spec('n', 'c', 'w', topology=topology)
  assert pod.accelerator(one) == flags


def test_a_slice_is_written_as_for_preflight():
  for topology in ('v4:4x4x4', 'v6e:8x8', 'v4', 'v7x:4x4x4', 'v4:4', 'v4:4x'):
    assert bool(spec.TOPOLOGY.fullmatch(topology)) == bool(
      chips.TOPOLOGY.fullmatch(topology)
    )


@pytest.mark.parametrize(
  'states, code',
  [
    ([0, 0], 0),
    ([75, 75], 75),
    ([134, 137], 75),
    ([0, 75], 75),
    (['none', 0], 75),  # a host that never came
    ([2, 134], 2),
    ([1, 2, 75], 2),
    ([134, 1], 1),
    ([141, 75], 141),
  ],
)
def test_verdict(states, code):
  assert tpu.verdict(states) == code


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.name)
def test_commands_of_a_page_are_commands(page, capsys):
  """With the example for the reader's own spec; goldens say what they do."""
  text = page.read_text().replace('\\\n', ' ')
  lines = re.findall(r'python -m launch\.([^|`\n#]*\bmy\.toml[^|`\n#]*)', text)
  assert lines
  for line in lines:
    arguments = shlex.split(line.replace('my.toml', EXAMPLE))
    arguments = [word.replace('=K', '=1') for word in arguments]
    assert launch(*arguments, '--dry_run') == 0, line
  capsys.readouterr()
