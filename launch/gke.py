"""Runs the project as a JobSet on GKE: python -m launch.gke VERB SPEC.

One pod a host, all started together; GKE tells each who it is, and JAX reads
that. After an interruption Kubernetes makes all pods anew.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from launch import shell as shells
from launch import spec as specs

ACCELERATORS = {  # cloud.google.com/kubernetes-engine/docs/concepts/tpus
  'v4': 'tpu-v4-podslice',
  'v5e': 'tpu-v5-lite-podslice',
  'v5p': 'tpu-v5p-slice',
  'v6e': 'tpu-v6e-slice',
}
MACHINES = {
  'v4': 'ct4p-hightpu',
  'v5e': 'ct5lp-hightpu',
  'v5p': 'ct5p-hightpu',
  'v6e': 'ct6e-standard',
}
GRACE = 120  # seconds to save in after SIGTERM; GKE gives a spot node 15 to 120


def manifest(spec: specs.Spec) -> dict[str, Any]:
  """Returns the JobSet: jobset.sigs.k8s.io, API v1alpha2."""
  assert spec.gke
  rule = {
    'name': 'notInterrupted',
    'action': 'FailJobSet',
    'onJobFailureReasons': ['PodFailurePolicy'],
  }
  return {
    'apiVersion': 'jobset.x-k8s.io/v1alpha2',
    'kind': 'JobSet',
    'metadata': {
      'name': spec.name,
      'namespace': spec.gke.namespace,
      # All pods on the nodes of one slice.
      'annotations': {
        'alpha.jobset.sigs.k8s.io/exclusive-topology': (
          'cloud.google.com/gke-nodepool'
        )
      },
    },
    'spec': {
      # Any other failure makes all pods anew, `maxRestarts` times.
      'failurePolicy': {'maxRestarts': spec.retries, 'rules': [rule]},
      'replicatedJobs': [
        {'name': 'host', 'replicas': 1, 'template': {'spec': _job(spec)}}
      ],
    },
  }


def _job(spec: specs.Spec) -> dict[str, Any]:
  return {
    'parallelism': spec.hosts,
    'completions': spec.hosts,
    'completionMode': 'Indexed',
    'backoffLimit': 0,  # one lost pod is the end of all: they start together
    'podFailurePolicy': {
      'rules': [
        {  # what would fail again fails the JobSet, by the rule above
          'action': 'FailJob',
          'onExitCodes': {
            'containerName': 'restpg',
            'operator': 'NotIn',
            'values': list(shells.AGAIN),
          },
        }
      ]
    },
    'template': {'spec': _pod(spec)},
  }


def _pod(spec: specs.Spec) -> dict[str, Any]:
  assert spec.gke
  selector = {
    'cloud.google.com/gke-tpu-accelerator': ACCELERATORS[spec.chip],
    'cloud.google.com/gke-tpu-topology': spec.sides,
  }
  spot = {
    'key': 'cloud.google.com/gke-spot',
    'operator': 'Equal',
    'value': 'true',
    'effect': 'NoSchedule',
  }
  if spec.spot:
    selector['cloud.google.com/gke-spot'] = 'true'
  chips = str(spec.chips // spec.hosts)
  return {
    'restartPolicy': 'Never',  # else the exit codes are not looked at
    'terminationGracePeriodSeconds': GRACE,
    'serviceAccountName': spec.gke.service_account,
    'nodeSelector': selector,
    'tolerations': [spot] if spec.spot else [],
    'containers': [
      {
        'name': 'restpg',
        'image': spec.gke.image,
        'command': specs.command(spec, 'python'),
        'ports': [{'containerPort': 8476}],  # the coordinator's
        'resources': {
          'requests': {'google.com/tpu': chips},
          'limits': {'google.com/tpu': chips},
        },
      }
    ],
  }


def yaml(value: Any, indent: str = '') -> Iterator[str]:
  """Yields the lines of dicts, lists and scalars (written as in JSON)."""
  items: list[tuple[str, Any]]
  if isinstance(value, dict):
    items = [(f'{key}:', child) for key, child in value.items()]
  else:
    items = [('-', child) for child in value]
  for head, child in items:
    if not child or not isinstance(child, dict | list):
      yield f'{indent}{head} {json.dumps(child)}'
      continue
    lines = list(yaml(child, indent + '  '))
    if head == '-':  # the first line of the item stands beside its dash
      yield f'{indent}- {lines[0].lstrip()}'
      yield from lines[1:]
    else:
      yield indent + head
      yield from lines


def text(spec: specs.Spec) -> str:
  """Returns the manifest as YAML."""
  return '\n'.join(yaml(manifest(spec))) + '\n'


def _kubectl(spec: specs.Spec, *arguments: str) -> list[str]:
  """Returns a command to this cluster, whichever is kubectl's present one."""
  assert spec.gke
  names = spec.gke.project, spec.gke.location, spec.gke.cluster
  return [
    *('kubectl', f'--context=gke_{"_".join(names)}'),
    *(f'--namespace={spec.gke.namespace}', *arguments),
  ]


def _container(spec: specs.Spec, *arguments: str) -> list[str]:
  assert spec.gke
  location = [
    f'--location={spec.gke.location}',
    f'--project={spec.gke.project}',
  ]
  return ['gcloud', 'container', *arguments, *location]


def create(spec: specs.Spec, shell: shells.Shell) -> int:
  """Makes the nodes of one slice, and tells kubectl of the cluster."""
  assert spec.gke
  chips = spec.chips // spec.hosts
  pool = [
    *('node-pools', 'create', spec.name, f'--cluster={spec.gke.cluster}'),
    f'--machine-type={MACHINES[spec.chip]}-{chips}t',
    *([f'--tpu-topology={spec.sides}'] if spec.hosts > 1 else []),
    f'--num-nodes={spec.hosts}',
    *(['--spot'] if spec.spot else []),
  ]
  code = shell.run(_container(spec, *pool))
  login = ('clusters', 'get-credentials', spec.gke.cluster)
  return code or shell.run(_container(spec, *login))


def image(spec: specs.Spec, shell: shells.Shell) -> int:
  """Builds the image of the spec's revision and pushes it."""
  assert spec.gke
  build = [
    *('docker', 'build', '--file=launch/Dockerfile'),
    *(f'--tag={spec.gke.image}', f'{spec.repo}#{spec.revision}'),
  ]
  return shell.run(build) or shell.run(['docker', 'push', spec.gke.image])


def show(spec: specs.Spec, shell: shells.Shell) -> int:
  """Prints the manifest."""
  del shell
  print(text(spec), end='')
  return shells.DONE


def run(spec: specs.Spec, shell: shells.Shell) -> int:
  """Starts the run; a second one of this name is refused by Kubernetes."""
  return shell.run(_kubectl(spec, 'create', '--filename=-'), text(spec))


def status(spec: specs.Spec, shell: shells.Shell) -> int:
  """Says what the JobSet does, and each pod."""
  code = shell.run(_kubectl(spec, 'get', 'jobset', spec.name))
  return code or shell.run(
    _kubectl(spec, 'get', 'pods', '--output=wide', _pods(spec))
  )


def tail(spec: specs.Spec, shell: shells.Shell) -> int:
  """Shows the log of --worker=K and what follows (Ctrl-C ends it)."""
  index = f',batch.kubernetes.io/job-completion-index={shell.worker}'
  arguments = ('logs', '--follow', '--tail=50', _pods(spec) + index)
  return shell.run(_kubectl(spec, *arguments))


def stop(spec: specs.Spec, shell: shells.Shell) -> int:
  """Ends the run: it saves first, and goes on when it is started again."""
  return shell.run(_kubectl(spec, 'delete', 'jobset', spec.name))


def delete(spec: specs.Spec, shell: shells.Shell) -> int:
  """Deletes the nodes."""
  assert spec.gke
  pool = (spec.name, f'--cluster={spec.gke.cluster}', '--quiet')
  return shell.run(_container(spec, 'node-pools', 'delete', *pool))


def _pods(spec: specs.Spec) -> str:
  return f'--selector=jobset.sigs.k8s.io/jobset-name={spec.name}'


VERBS: Mapping[str, shells.Verb] = {
  'create': create,
  'image': image,
  'manifest': show,
  'run': run,
  'status': status,
  'tail': tail,
  'stop': stop,
  'delete': delete,
}

if __name__ == '__main__':
  sys.exit(shells.main('gke', VERBS))
