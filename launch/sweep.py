"""Fans the members of a sweep out: python -m launch.sweep BACKEND VERB SPEC.

Each of the spec's [[members]] runs by itself: its own pod, JobSet or job, and
its own workdir, since a workdir belongs to one run at a time.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence

from launch import gke, slurm, tpu
from launch import shell as shells
from launch import spec as specs

BACKENDS: Mapping[str, Mapping[str, shells.Verb]] = {
  'tpu': tpu.VERBS,
  'gke': gke.VERBS,
  'slurm': slurm.VERBS,
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a verb of a launcher for each member; returns the worst exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m launch.sweep',
    description="Flags that follow SPEC are the launcher's own.",
  )
  parser.add_argument('backend', choices=BACKENDS)
  parser.add_argument('verb')
  parser.add_argument('spec', metavar='SPEC', help='as launch/example.toml')
  args, flags = parser.parse_known_args(argv)
  return shells.guarded(lambda: _fan_out(args, flags))


def _fan_out(args: argparse.Namespace, flags: Sequence[str]) -> int:
  verbs = BACKENDS[args.backend]
  if args.verb not in verbs:
    raise specs.SpecError(
      f'{args.verb}: the verbs of {args.backend} are {", ".join(verbs)}'
    )
  spec = specs.read(args.spec)
  specs.needs(spec, args.backend)
  if not spec.members:
    raise specs.SpecError(
      f'{args.spec}: no [[members]]: launch/example.toml has two to copy'
    )
  if args.verb == 'tail':
    raise specs.SpecError(
      f'tail follows one log: python -m launch.{args.backend} tail '
      f'{args.spec} --member=K'
    )
  commands = [
    [args.verb, args.spec, f'--member={index}', *flags]
    for index in range(len(spec.members))
  ]
  if '--dry_run' in flags or args.verb in ('manifest', 'script'):
    codes = []
    for member, command in zip(spec.members, commands, strict=True):
      print(f'# {spec.name}-{member.name}')
      codes.append(shells.main(args.backend, verbs, command))
  else:  # side by side: a verb such as `retry` takes days
    started = [
      subprocess.Popen(
        [sys.executable, '-m', f'launch.{args.backend}', *arguments]
      )
      for arguments in commands
    ]
    codes = [process.wait() for process in started]
  for member, code in zip(spec.members, codes, strict=True):
    if code:
      print(f'{spec.name}-{member.name}: exit code {code}', file=sys.stderr)
  return max(codes)


if __name__ == '__main__':
  sys.exit(main())
