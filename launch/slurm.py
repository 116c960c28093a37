"""Runs the project on GPU nodes by SLURM: python -m launch.slurm VERB SPEC.

One process a node; JAX finds the others from SLURM's variables. The job is put
back into the queue when it was interrupted, and goes on there.
"""

import shlex
import sys
from collections.abc import Mapping

from launch import shell as shells
from launch import spec as specs

NOTICE = 300  # seconds to save in, before the time is over
WAIT = 600  # seconds that a task may run on after another has ended


def script(spec: specs.Spec) -> str:
  """Returns the batch script."""
  assert spec.slurm
  options = [
    *(f'--job-name={spec.name}', f'--output={_log(spec)}'),
    *(f'--nodes={spec.slurm.nodes}', '--ntasks-per-node=1'),
    *(f'--gpus-per-node={spec.slurm.gpus}', f'--time={spec.slurm.time}'),
    # To the tasks alone: this script must live to look at their exit code.
    f'--signal=TERM@{NOTICE}',
    *('--requeue', '--open-mode=append'),
    '--dependency=singleton',  # a workdir belongs to one run at a time
    *spec.slurm.options,
  ]
  again = ' | '.join(map(str, shells.AGAIN))
  lines = [
    '#!/bin/bash',
    *(f'#SBATCH {option}' for option in options),
    '',
    f'cd {shlex.quote(spec.slurm.folder)} || exit 2',
    '# Jobs that share a machine meet at ports of their own.',
    'export JAX_COORDINATOR_PORT=$((10000 + SLURM_JOB_ID % 20000))',
    f'srun --label --cpu-bind=none --kill-on-bad-exit=0 --wait={WAIT} \\',
    f'  {shlex.join(specs.command(spec))}',
    'code=$?',
    f'# Interrupted: {again.replace(" | ", ", ")}. The same job goes on.',
    'case $code in',
    f'  {again})',
    '    state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)',
    f'    if ((${{SLURM_RESTART_COUNT:-0}} < {spec.retries})) &&',
    '      [[ $state == RUNNING ]]; then # not cancelled',
    '      echo "exit code $code: back into the queue"',
    '      scontrol requeue "$SLURM_JOB_ID"',
    '    fi',
    '    ;;',
    'esac',
    'exit "$code"',
  ]
  return '\n'.join(lines) + '\n'


def _log(spec: specs.Spec) -> str:
  assert spec.slurm
  return f'{spec.slurm.folder}/{spec.name}.log'


def show(spec: specs.Spec, shell: shells.Shell) -> int:
  """Prints the batch script."""
  del shell
  print(script(spec), end='')
  return shells.DONE


def run(spec: specs.Spec, shell: shells.Shell) -> int:
  """Puts the job into the queue; a second one of this name waits."""
  return shell.run(['sbatch'], script(spec))


def status(spec: specs.Spec, shell: shells.Shell) -> int:
  """Says what the job does."""
  return shell.run(['squeue', '--me', f'--name={spec.name}', '--long'])


def tail(spec: specs.Spec, shell: shells.Shell) -> int:
  """Shows the log of all nodes and what follows (Ctrl-C ends it)."""
  return shell.run(['tail', '--lines=50', '--follow=name', _log(spec)])


def stop(spec: specs.Spec, shell: shells.Shell) -> int:
  """Ends the run: it saves first, and goes on when it is started again."""
  return shell.run(['scancel', '--me', f'--name={spec.name}'])


VERBS: Mapping[str, shells.Verb] = {
  'script': show,
  'run': run,
  'status': status,
  'tail': tail,
  'stop': stop,
}

if __name__ == '__main__':
  sys.exit(shells.main('slurm', VERBS))
