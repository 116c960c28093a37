"""Three trainers for the same job, each in a process of its own.

  PYTHON benchmarks/trainers_engines.py NAME JOB.json

NAME is one of ENGINES. Reads lines from standard input, {"first": 3, "count":
5}, and answers each with a line, {"seconds": .., "cpu_seconds": .., "faults":
.., "losses": [..]}, of these optimizer steps; faults: of pages of memory. A
first line, {"ready": .., "losses": ..}, says that all is compiled, by the job's
`warm` first steps, and names the packages.
"""

import json
import os
import pathlib
import resource
import sys
import time
from importlib import metadata

import as_command  # noqa: F401
import trainers_job
import trainers_peers


def ours(job: trainers_job.Job):
  """The programs of stages/train.py, without its files."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from restpg_jax import config
  from restpg_jax.io import weights
  from restpg_jax.parallel import layout as layouts
  from restpg_jax.stages import feed
  from restpg_jax.stages import train as stage
  from restpg_jax.training import batches, optimizer
  from restpg_jax.training import step as steps

  layout = layouts.Layout.of(config.Compute(cpu_devices=job.threads))
  params, size = weights.load(pathlib.Path(job.folder) / 'ours')
  rate = optimizer.schedule(
    job.rate,
    steps=job.steps,
    warmup=job.warmup,
    final_rate=job.final_rate,
  )
  tx = optimizer.build(
    job.optimizer, rate, weight_decay=job.weight_decay, clip=job.clip
  )
  settings = config.Train(compute_dtype='float32')
  attention = stage.attention_of(layout, size, settings.compute_dtype)
  model = stage.model_of(size, attention, settings, layout)
  state = layout.place(steps.start(jax.tree.map(jnp.asarray, params), tx))
  accumulate, update = stage.programs(model, tx, state, layout)
  reads = feed.Feed.of(
    [
      batches.Output(*(np.array(ids, np.int32) for ids in row), 1.0)
      for row in job.rows
    ],
    size,
    layout,
    attention=attention,
    seed=trainers_job.SEED,
    size=job.batch,
  )

  def train(first, count):
    nonlocal state
    losses = []
    for n in range(first, first + count):
      step, sums = reads.step(n), None
      for batch in step.batches:
        sums = accumulate(state, sums, batch, step.targets)
      state, metrics = update(state, sums)
      losses.append(metrics['loss'])
    return [float(loss) for loss in losses]

  return train, ('restpg_jax', 'jax')


ENGINES = {
  'ours': ours,
  'hf': trainers_peers.hf,
  'tunix': trainers_peers.tunix,
}


def main(name: str, path: str) -> None:
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # what the packages print is no answer
  job = trainers_job.Job(**json.loads(pathlib.Path(path).read_text()))
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
  train, packages = ENGINES[name](job)
  losses = train(0, job.warm)
  versions = {package: metadata.version(package) for package in packages}
  ready = json.dumps({'ready': versions, 'losses': losses})
  print(ready, file=answers, flush=True)
  for line in sys.stdin:
    asked = json.loads(line)
    began, busy, before = time.monotonic(), time.process_time(), faults()
    losses = train(asked['first'], asked['count'])
    answer = {
      'seconds': time.monotonic() - began,
      'cpu_seconds': time.process_time() - busy,
      'faults': faults() - before,
      'losses': losses,
    }
    print(json.dumps(answer), file=answers, flush=True)


def faults() -> int:
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == '__main__':
  main(*sys.argv[1:])
