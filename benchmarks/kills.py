"""Kills runs at points chosen by a seed, and starts them again until done.

  python benchmarks/kills.py --kills=200 --processes=1,2,4 [--seed=0]

Kills are SIGKILL, SIGTERM, SIGINT, SIGSTOP, a full disk and an exception, at
points of all stages, one after another in each workdir. After each all
processes must end within a minute, with one exit code; at the end the workdir
must hold what an undisturbed run leaves, with nothing lost or doubled. Printed
is a line a kill: what, how long until the last process had ended, the exit
codes, and what was made in vain. Exits with 1 if anything was wrong.
"""

import collections
import pathlib
import random
import sys
import tempfile

from common import flags, kills

A_ROUND = 8  # kills of a workdir


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--kills', type=int, default=200)
  parser.add_argument('--processes', default='1,2,4')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--folder', type=pathlib.Path, help='is kept')
  parser.add_argument('--json', type=pathlib.Path)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    harness = kills.Harness(args.folder or pathlib.Path(folder))
    rows, faults = run(harness, args)
  counts = collections.Counter((row.processes, row.kill.action) for row in rows)
  for (processes, action), count in sorted(counts.items()):
    print(f'{processes} processes, {action}: {count}')
  slowest = max((row.seconds for row in rows), default=0.0)
  print(f'{len(rows)} kills, {len(faults)} faults, slowest {slowest:.1f} s')
  print('\n'.join(faults))
  flags.write_json(args.json, [row.noted() for row in rows])
  sys.exit(bool(faults))


def run(harness, args) -> tuple[list[kills.Row], list[str]]:
  """Returns all kills, and what was wrong."""
  numbers = [int(n) for n in args.processes.split(',')]
  rows, faults, seed = [], [], args.seed
  while len(rows) < args.kills:
    for processes in numbers:
      name = f'round-{processes}-{seed}'
      planned = harness.plan(processes, A_ROUND, random.Random(name))
      try:
        for row in harness.round(name, processes, planned):
          rows.append(row)
          print(f'{len(rows):>4} {row}', flush=True)
          faults += [f'{name}: {row}'] * bool(row.fault)
      except AssertionError as error:
        faults.append(f'{name}: {error}')
        print(faults[-1], flush=True)
    seed += 1
  return rows, faults


if __name__ == '__main__':
  main()
