"""Keeps an engine alive in a process of its own, which answers requests.

`Worker` is its handle, `serve` what runs in that process. Requests are lines
of JSON on its standard input, keyword arguments of the engine; an answer is a
line {"seconds": .., "cpu_seconds": .., "faults": .., RESULT: ..}, where faults
are those of pages of memory. A first line, {"ready": {package: version}, ..},
says that all is compiled.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import IO, Any, cast

from common import flags, memory, timing

BENCHMARKS = pathlib.Path(__file__).parents[1]


class Worker:
  """One engine, alive until this process ends.

  `ready` is its first line; `failure` its last words where it died.
  """

  def __init__(
    self, module: str, name: str, job: Any, *, python: str, keep: bool
  ):
    self.job, self.ready, self.failure = job, {}, ''
    path = pathlib.Path(job.folder) / f'{name}.json'
    path.write_text(json.dumps(dataclasses.asdict(job)))
    self._log = path.with_suffix('.log')
    with self._log.open('w') as log:
      self._process = subprocess.Popen(
        [python, '-m', module, name, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=os.environ
        | {'JAX_PLATFORMS': 'cpu', 'KEEP_MEMORY': str(int(keep))}
        | {'PYTHONPATH': f'{BENCHMARKS}{os.pathsep}{BENCHMARKS.parent}'},
      )
    # Both are pipes, as asked for above.
    self._requests = cast(IO[str], self._process.stdin)
    self._answers = cast(IO[str], self._process.stdout)
    self.ready = self._answer() or {}
    if not self.failure:
      print(f'{name}: {self.versions}', flush=True)

  @property
  def versions(self) -> dict[str, str]:
    return self.ready.get('ready', {})

  def ask(self, **request) -> dict | None:
    """Returns its answer; None where it failed, now or before."""
    if self.failure:
      return None
    self._requests.write(json.dumps(request) + '\n')
    self._requests.flush()
    return self._answer()

  def _answer(self) -> dict | None:
    line = self._answers.readline()
    if line:
      return json.loads(line)
    self.failure = (self._log.read_text().splitlines() or ['it died'])[-1]
    print(f'failed: {self.failure}', flush=True)
    return None


def start(module: str, jobs: Mapping[str, Any], args) -> dict[str, Worker]:
  """Starts a worker for each job, by the flags of flags.add_engines."""
  pythons = flags.pairs(args.python)
  return {
    name: Worker(
      module,
      name,
      job,
      python=pythons.get(name, sys.executable),
      keep=name in args.keep.split(','),
    )
    for name, job in jobs.items()
  }


def report(args, workers: Mapping[str, Worker], **results) -> None:
  """Writes the file of --json: settings, versions, failures and results."""
  flags.write_json(
    args.json,
    {
      'settings': {k: str(v) for k, v in vars(args).items()},
      'versions': {n: w.versions for n, w in workers.items()},
      'failures': {n: w.failure for n, w in workers.items() if w.failure},
      **results,
    },
  )


def serve(
  engines: Mapping[str, Callable],
  job_of: Callable[..., Any],
  *,
  result: str,
  warm: Callable[[Any, Any], dict],
) -> None:
  """Answers as `python -m MODULE NAME JOB.json`.

  An engine is a function of the job that returns (run, packages); `warm(run,
  job)` compiles and gives what else the first line holds.
  """
  name, path = sys.argv[1:]
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # what the packages print is no answer
  job = job_of(**json.loads(pathlib.Path(path).read_text()))
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
  run, packages = engines[name](job)
  more = warm(run, job)
  versions = {package: metadata.version(package) for package in packages}
  print(json.dumps({'ready': versions} | more), file=answers, flush=True)
  for line in sys.stdin:
    before = memory.faults()
    output, seconds = timing.timed(run, **json.loads(line))
    answer = {
      'seconds': seconds.wall,
      'cpu_seconds': seconds.cpu,
      'faults': memory.faults() - before,
      result: output,
    }
    print(json.dumps(answer), file=answers, flush=True)
