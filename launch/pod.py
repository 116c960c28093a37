"""Holds the commands that make a TPU VM pod and reach its workers."""

import shlex

from launch import spec as specs

# cloud.google.com/tpu/docs/runtimes
VERSIONS = {
  'v4': 'tpu-ubuntu2204-base',
  'v5e': 'v2-alpha-tpuv5-lite',
  'v5p': 'v2-alpha-tpuv5',
  'v6e': 'v2-alpha-tpuv6e',
}
FOLDER = 'restpg_jax'  # the clone, in the home of each host


def accelerator(spec: specs.Spec) -> list[str]:
  """Returns gcloud's flags for a slice; --type knows v4 and older only."""
  if spec.chip == 'v4':
    return ['--type=v4', f'--topology={spec.sides}']
  size = {  # v5p is counted in cores, two a chip
    'v5e': f'v5litepod-{spec.chips}',
    'v5p': f'v5p-{2 * spec.chips}',
    'v6e': f'v6e-{spec.chips}',
  }
  return [f'--accelerator-type={size[spec.chip]}']


def create(spec: specs.Spec) -> list[str]:
  assert spec.tpu
  version = spec.tpu.version or VERSIONS[spec.chip]
  flags = [*accelerator(spec), *(['--spot'] if spec.spot else [])]
  for flag in ('service-account', 'network', 'subnetwork'):
    if value := getattr(spec.tpu, flag.replace('-', '_')):
      flags.append(f'--{flag}={value}')
  # What it may do is the account's matter, not this list's.
  flags += ['--scopes=https://www.googleapis.com/auth/cloud-platform']
  if spec.tpu.queued:
    flags += [f'--node-id={spec.name}', f'--runtime-version={version}']
  else:
    flags += [f'--version={version}']
  return _gcloud(spec, 'create', *flags)


def describe(spec: specs.Spec) -> list[str]:
  assert spec.tpu
  field = 'state.state' if spec.tpu.queued else 'state'
  return _gcloud(spec, 'describe', f'--format=value({field})')


def delete(spec: specs.Spec) -> list[str]:
  assert spec.tpu
  force = ['--force'] if spec.tpu.queued else []  # with the TPU in it
  return _gcloud(spec, 'delete', '--quiet', *force)


def ssh(spec: specs.Spec, remote: str, worker: str = 'all') -> list[str]:
  """Returns the command that runs `remote` in the shell of workers."""
  return [
    *('gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh', spec.name),
    *(*_where(spec), '--quiet', f'--worker={worker}'),
    *('--ssh-flag=-oConnectTimeout=20', '--ssh-flag=-oServerAliveInterval=30'),
    f'--command={remote}',
  ]


def on_worker(spec: specs.Spec, verb: str, *rest: str) -> str:
  """Returns the line for the shell of a worker, which reads it once more."""
  line = shlex.join(['bash', 'launch/worker.sh', verb, spec.name, *rest])
  return f'cd {FOLDER} && {line}'


def install(spec: specs.Spec) -> str:
  """Returns the line by which a worker gets the code and what it needs."""
  repo, revision = shlex.quote(spec.repo), shlex.quote(spec.revision)
  return (
    f'{{ test -d {FOLDER} || git clone --quiet {repo} {FOLDER}; }}'
    f' && cd {FOLDER} && git fetch --quiet {repo} {revision}'
    ' && git checkout --quiet --detach FETCH_HEAD'
    ' && bash launch/install.sh tpu'
  )


def _gcloud(spec: specs.Spec, verb: str, *flags: str) -> list[str]:
  assert spec.tpu
  kind = 'queued-resources' if spec.tpu.queued else 'tpu-vm'
  names = ['gcloud', 'compute', 'tpus', kind, verb, spec.name]
  return [*names, *_where(spec), *flags]


def _where(spec: specs.Spec) -> list[str]:
  assert spec.tpu
  project = [f'--project={spec.tpu.project}'] if spec.tpu.project else []
  return [f'--zone={spec.tpu.zone}', *project]
