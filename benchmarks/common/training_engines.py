"""Three trainers for the same job, each in a process of its own.

  PYTHON -m common.training_engines NAME JOB.json

NAME is one of ENGINES. A request (worker.py), {"first": 3, "count": 5}, is
answered with {.., "losses": [..]} of these optimizer steps. The first line has
the losses of the job's `warm` first steps, by which all is compiled.
"""

import pathlib

import common.as_command  # noqa: F401  before all that imports NumPy
from common import training_job, training_peers, worker
from common.training_job import Job


def ours(job: Job):
  """Trains with the programs of engines/trainer.py, without its files."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from restpg_jax import config
  from restpg_jax.engines import batch_loader, trainer
  from restpg_jax.io import weights
  from restpg_jax.parallel import layout as layouts
  from restpg_jax.training import batches, optimizer
  from restpg_jax.training import step as steps

  layout = layouts.Layout.of(config.Compute(cpu_devices=job.threads))
  params, size = weights.load_weights(pathlib.Path(job.folder) / 'ours')
  rate = job.schedule()
  tx = optimizer.build_optimizer(
    job.optimizer, rate, weight_decay=job.weight_decay, clip=job.clip
  )
  settings = config.Train(compute_dtype='float32')
  attention = trainer.attention_of(layout, size, settings.compute_dtype)
  model = trainer.model_of(size, attention, settings, layout)
  state = layout.shard(steps.init_state(jax.tree.map(jnp.asarray, params), tx))
  accumulate, update = trainer.training_programs(model, tx, state, layout)
  reads = batch_loader.BatchLoader.of(
    [
      batches.TrainingExample(
        np.array(prompt, np.int32), np.array(target, np.int32), 1.0
      )
      for prompt, target in job.rows
    ],
    size,
    layout,
    attention=attention,
    seed=training_job.SEED,
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
  'hf': training_peers.hf,
  'tunix': training_peers.tunix,
}


def warm(train, job: Job) -> dict:
  return {'losses': train(0, job.warm)}


if __name__ == '__main__':
  worker.serve(ENGINES, Job, result='losses', warm=warm)
