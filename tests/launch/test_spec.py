"""Facts about the spec: what it says, and what is refused."""

import pathlib

import pytest

from launch import gke, shell, slurm, spec, sweep, tpu

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = (ROOT / 'launch' / 'example.toml').read_text()
HEAD = "name = 'n'\nconfig = 'c'\nworkdir = 'gs://bucket/w'\n"


@pytest.fixture
def refused(tmp_path, capsys):
  """Runs a launcher with a spec; returns the line that it says."""

  def launch(text, backend='tpu', verb='run', *flags):
    path = tmp_path / 'my.toml'
    path.write_text(text)
    if backend == 'sweep':
      code = sweep.main(['tpu', verb, str(path), '--dry_run', *flags])
    else:
      verbs = {'tpu': tpu.VERBS, 'gke': gke.VERBS, 'slurm': slurm.VERBS}
      argv = [verb, str(path), '--dry_run', *flags]
      code = shell.main(backend, verbs[backend], argv)
    out, err = capsys.readouterr()
    assert (code, out) == (2, '')
    assert err.count('\n') == 1
    return err.replace(f'{path}: ', '').removeprefix('error: ').rstrip()

  return launch


@pytest.mark.parametrize(
  'old, new, line',
  [
    (
      "name = 'paper'",
      '',
      "missing key name: a short name in lower case, for instance 'paper'",
    ),
    (
      "name = 'paper'",
      "name = 'My Pod'",
      "name = 'My Pod': small letters, digits and -, beginning with a "
      'letter, at most 40',
    ),
    (
      "name = 'paper'",
      'name = 3',
      "name = 3: a short name in lower case, for instance 'paper'",
    ),
    (
      'retries',
      'retires',
      "unknown key retires; did you mean 'retries'?",
    ),
    (
      'retries = 20',
      'retries = -1',
      'retries = -1: 0 or more',
    ),
    (
      'retries = 20',
      'retries = true',
      'retries = True: how often an interrupted run is started again',
    ),
    (
      'v4:4x4x4',
      'v4-128',
      "topology = 'v4-128': a kind of chip (v4, v5e, v5p, v6e) and the "
      "sides of a slice, for instance 'v4:4x4x4'",
    ),
    (
      'v4:4x4x4',
      'v4:0x4x4',
      "topology = 'v4:0x4x4' has no chips",
    ),
    (
      "topology = 'v4:4x4x4'",
      '',
      "missing key topology: a slice as preflight has it: 'v4:4x4x4'",
    ),
    (
      'gs://my-bucket/restpg',
      'runs/x',
      "workdir = 'runs/x' is on each host's own disk: give gs://BUCKET/PATH",
    ),
    (
      'gs://my-bucket/restpg',
      'gs://',
      "workdir = 'gs://' is on each host's own disk: give gs://BUCKET/PATH",
    ),
    (
      "zone = 'us-central2-b'",
      '',
      "missing key tpu.zone: where the TPU is, for instance 'us-central2-b'",
    ),
    (
      "zone = 'us-central2-b'",
      "zone = 'a b'",
      "tpu.zone = 'a b': one word, without - in front",
    ),
    (
      "revision = 'main'",
      "revision = '--upload-pack=x'",
      "revision = '--upload-pack=x': one word, without - in front",
    ),
    (
      'queued = true',
      "queued = 'yes'",
      "tpu.queued = 'yes': true asks by a queued resource",
    ),
    (
      "'--config.data.path=",
      "'config.data.path=",
      "flags: 'config.data.path=gs://my-bucket/longlamp': write "
      '--KEY=VALUE, a string each',
    ),
    (
      "'--config.data.path=gs://my-bucket/longlamp'",
      "'--workdir=x'",
      "flags: '--workdir=x': it is a key of the spec itself",
    ),
    (
      "name = 'm16'",
      "name = 'm8'",
      "members: two are called 'm8'; rename one",
    ),
    (
      'draw.m = 16',
      '"draw.m" = 8',
      "members 'm8' and 'm16' have the same settings: remove one",
    ),
    (
      "name = 'm16'",
      "name = 'M 16'",
      "members, name = 'M 16': up to 20 small letters, digits and -",
    ),
    (
      '[tpu]',
      '[tpus]',
      "unknown key tpus; did you mean 'tpu'?",
    ),
    (
      'gpus = 8',
      'gpus = 0',
      'slurm.nodes and slurm.gpus: 1 or more',
    ),
    (
      "folder = '/shared",
      "folder = 'shared",
      "slurm.folder = 'shared/restpg_jax': an absolute path",
    ),
  ],
)
def test_a_bad_spec_is_one_line(refused, old, new, line):
  assert EXAMPLE.count(old) >= 1
  assert refused(EXAMPLE.replace(old, new, 1)) == line


def test_a_launcher_without_its_section(refused):
  for backend in ('tpu', 'gke', 'slurm'):
    line = f'no [{backend}]: launch/example.toml has one to copy'
    assert refused(HEAD, backend) == line


def test_a_job_on_several_nodes_needs_a_workdir_that_all_see(refused):
  text = EXAMPLE.replace('gs://my-bucket/restpg', 'runs/x')
  assert refused(text, 'slurm') == (
    "workdir = 'runs/x': give an absolute path that all nodes share, or "
    'gs://BUCKET/PATH'
  )


def test_what_is_no_toml_or_no_file(refused, capsys):
  assert refused('name = ').startswith('no TOML: ')
  assert shell.main('tpu', tpu.VERBS, ['run', '/absent.toml']) == 2
  line = 'error: /absent.toml: No such file or directory\n'
  assert capsys.readouterr().err == line


def test_a_launcher_whose_tool_is_not_installed(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('PATH', str(tmp_path))
  spec_path = str(ROOT / 'launch' / 'example.toml')
  assert shell.main('slurm', slurm.VERBS, ['status', spec_path]) == 2
  line = 'error: squeue is not on PATH: install it (docs/pods.md)\n'
  assert capsys.readouterr().err == line


def test_members_are_experiments_of_their_own(tmp_path):
  path = tmp_path / 'my.toml'
  path.write_text(
    HEAD
    + """
    flags = ['--config.seed=1']
    [[members]]
    name = 'both'
    methods = ['sft', 'rest_pg']
    "train.learning_rate" = 1e-5
    [[members]]
    [members.select]
    distinct = false
    """
  )
  whole = spec.read(str(path))
  first, second = spec.member(whole, 0), spec.member(whole, 1)
  assert (first.name, first.workdir) == ('n-both', 'gs://bucket/w/both')
  assert first.flags == (
    '--config.seed=1',
    '--config.methods=sft,rest_pg',
    '--config.train.learning_rate=1e-05',
  )
  assert (second.name, second.workdir) == ('n-1', 'gs://bucket/w/1')
  assert second.flags == ('--config.seed=1', '--config.select.distinct=false')


def test_bad_sweeps_are_one_line(refused):
  assert refused(EXAMPLE, 'tpu', 'run', '--member=2') == (
    '--member=2: the spec has 2 [[members]], counted from 0'
  )
  tpu_only = EXAMPLE[: EXAMPLE.index('[[members]]')]
  assert refused(tpu_only, 'sweep') == (
    'no [[members]]: launch/example.toml has two to copy'
  )
  assert refused(EXAMPLE, 'sweep', 'fly').startswith(
    'fly: the verbs of tpu are'
  )
  assert 'tail --member=K' not in refused(EXAMPLE, 'sweep', 'fly')
  assert refused(EXAMPLE, 'sweep', 'tail').endswith('--member=K')
  long = EXAMPLE.replace("name = 'paper'", f"name = '{'p' * 38}'")
  assert refused(long, 'tpu', 'run', '--member=0').endswith(
    'has more than 40 letters: shorten it'
  )
