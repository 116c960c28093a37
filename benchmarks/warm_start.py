"""What compiled programs that are kept bring: fresh users, and restarts.

  python benchmarks/warm_start.py [--workdir=DIR] [FLAGS OF THE COMMAND]

Runs configs/demo.py three times in one workdir, first an empty one, each time
on other synthetic users. The third run is killed (SIGKILL) when SFT has made 60
steps, and again when the E-step has drawn 1,000 samples; a restart is measured
from the start of its process to its first new step or sample. Flags such as
--config.data.world.train=100 make all runs smaller.

CPU seconds are those of user and system: on a machine that others use they say
more than the clock. `missed` are programs that were compiled, by the stage that
was running.
"""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import common.as_command  # noqa: F401
import jax
from common import flags

from restpg_jax import main as command
from restpg_jax.io import progress

ROOT = pathlib.Path(__file__).parents[1]
KILLS = {'train': 60, 'draw1': 1000}  # items of a stage until it is killed


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--workdir', type=pathlib.Path)
  parser.add_argument('--json', type=pathlib.Path)
  parser.add_argument('--began', type=float, help='of a child: its start')
  parser.add_argument('--kill', default='', help='of a child: a stage')
  args, rest = parser.parse_known_args()
  if args.began:
    child(args.began, args.kill, [*rest, f'--workdir={args.workdir}'])
    return
  with tempfile.TemporaryDirectory() as scratch:
    results = compare(args.workdir or pathlib.Path(scratch) / 'run', rest)
  flags.write_json(args.json, results)


def compare(workdir: pathlib.Path, rest: list[str]) -> dict:
  results = {}
  print(f'{"run":<26}{"s":>8}{"CPU s":>8}  read  missed')
  for name, seed in (('the first', 0), ('fresh users', 1)):
    results[name] = run(workdir, seed, rest)
    show(name, results[name])
  first, fresh = (results[name] for name in ('the first', 'fresh users'))
  ratios = [fresh[unit] / first[unit] for unit in ('seconds', 'cpu')]
  print(f'fresh users / the first: {ratios[0]:.2f}, of CPU {ratios[1]:.2f}')
  kills = [*KILLS, '']
  for before, stage in zip(['', *KILLS], kills, strict=True):
    result = run(workdir, 2, rest, kill=stage)
    if before:
      seconds, cpu = result['first'][before]
      results[f'restart, {before}'] = result
      print(f'restart to the first of {before}: {seconds:.1f} s, CPU {cpu:.1f}')
  return results


def show(name: str, result: dict) -> None:
  missed = ', '.join(f'{n} {stage}' for stage, n in result['missed'].items())
  print(
    f'{name:<26}{result["seconds"]:>8.1f}{result["cpu"]:>8.1f}'
    f'{result["read"]:>6}  {missed}',
    flush=True,
  )


def run(
  workdir: pathlib.Path, seed: int, rest: list[str], kill: str = ''
) -> dict:
  """Returns what a run of the command in a process of its own took."""
  began = time.time()
  process = subprocess.Popen(
    [
      *(sys.executable, __file__, f'--began={began}', f'--kill={kill}'),
      *('run', f'--config={ROOT / "configs" / "demo.py"}'),
      *(f'--workdir={workdir}', f'--config.data.world.seed={seed}', *rest),
    ],
    stdout=subprocess.PIPE,
    text=True,
  )
  out, _ = process.communicate()
  line = out.splitlines()[-1] if out else ''
  if process.returncode not in (0, -signal.SIGKILL) or line[:1] != '{':
    raise SystemExit(f'the run ended with {process.returncode}: {line}')
  return json.loads(line)


def child(began: float, kill: str, argv: list[str]) -> None:
  """Runs the command; prints what it took, also before it kills itself."""
  first: dict[str, tuple[float, float]] = {}
  done: collections.Counter[str] = collections.Counter()
  missed: collections.Counter[str] = collections.Counter()
  read, stage = 0, 'before'
  begin, update = progress.Shown.__init__, progress.Shown.update

  def event(name: str, **_: str) -> None:
    nonlocal read
    read += name.endswith('/cache_hits')
    missed[stage] += name.endswith('/cache_misses')

  def report() -> None:
    result = {
      'seconds': time.time() - began,
      'cpu': time.process_time(),
      'read': read,
      'missed': {name: n for name, n in missed.items() if n},
      'first': first,
    }
    print('\n' + json.dumps(result), flush=True)

  def begins(self, total, unit, name, *args, **kwargs) -> None:
    nonlocal stage
    stage = name
    begin(self, total, unit, name, *args, **kwargs)

  def counted(self, n=1, **counts) -> None:
    update(self, n, **counts)
    if n and stage not in first:
      first[stage] = time.time() - began, time.process_time()
    done[stage] += n
    if kill and stage == kill and done[stage] >= KILLS[kill]:
      report()
      os.kill(os.getpid(), signal.SIGKILL)

  progress.Shown.__init__, progress.Shown.update = begins, counted
  jax.monitoring.register_event_listener(event)  # pyright: ignore
  code = command.main(argv)
  report()
  sys.exit(code)


if __name__ == '__main__':
  main()
