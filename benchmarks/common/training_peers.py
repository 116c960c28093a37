"""Trains as others do: PyTorch with Hugging Face's model, and Tunix.

Each is a function of a job that imports its package and returns train(first,
count) -> losses of these steps, and the packages that count.
"""

import pathlib

import numpy as np

from common import gemma
from common.training_job import Job

PAD, IGNORED = 0, -100


def hf(job: Job):
  """The step of transformers' Trainer: rows padded to the longest beside them,
  in as many micro-batches (its gradient_accumulation_steps) as the job says."""
  import torch
  import transformers

  torch.set_num_threads(job.threads)
  model = transformers.AutoModelForCausalLM.from_pretrained(
    pathlib.Path(job.folder) / 'hf', dtype=torch.float32
  )
  model.train()
  build = {
    'adamw': lambda weights: torch.optim.AdamW(
      weights, job.rate, weight_decay=job.weight_decay
    ),
    'adafactor': lambda weights: transformers.Adafactor(
      weights,
      job.rate,
      weight_decay=job.weight_decay,
      scale_parameter=False,
      relative_step=False,
    ),
  }
  stepper = build[job.optimizer](model.parameters())
  rate = job.schedule()

  def backward(rows, targets):
    """Adds gradients of these rows; their share of the batch's loss."""
    longest = max(len(prompt) + len(target) for prompt, target in rows)
    tokens = torch.full((len(rows), longest), PAD)
    labels = torch.full((len(rows), longest), IGNORED)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for n, (prompt, target) in enumerate(rows):
      end = len(prompt) + len(target)
      tokens[n, :end] = torch.tensor(prompt + target)
      labels[n, len(prompt) : end] = torch.tensor(target)
      mask[n, :end] = 1
    loss = model(
      input_ids=tokens,
      attention_mask=mask,
      labels=labels,
      use_cache=False,
      num_items_in_batch=targets,
    ).loss
    loss.backward()
    return float(loss.detach())

  def one(step):
    rows = job.chosen(step)
    targets = sum(len(target) for _, target in rows)
    for group in stepper.param_groups:
      group['lr'] = float(rate(step))  # pyright: ignore
    stepper.zero_grad()
    size = job.batch // job.accumulate
    loss = sum(
      backward(rows[n : n + size], targets) for n in range(0, len(rows), size)
    )
    torch.nn.utils.clip_grad_norm_(model.parameters(), job.clip)
    stepper.step()
    return loss

  def train(first, count):
    return [one(step) for step in range(first, first + count)]

  return train, ('transformers', 'torch')


def tunix(job: Job):
  """Tunix's PeftTrainer on its own Gemma: one shape, that of the longest."""
  import optax
  from tunix.sft import peft_trainer, utils  # pyright: ignore

  direction = {
    'adamw': (optax.scale_by_adam(),),
    'adafactor': (optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0)),
  }
  rate = job.schedule()

  class Trainer(peft_trainer.PeftTrainer):
    """Keeps the losses."""

    losses = ()

    def _post_process_train_step(self, aux):
      super()._post_process_train_step(aux)
      self.losses = (*self.losses, self._buffered_train_metrics.losses[-1])

  trainer = Trainer(
    gemma.tunix(job.folder),
    optax.chain(
      optax.clip_by_global_norm(job.clip),
      *direction[job.optimizer],
      optax.add_decayed_weights(job.weight_decay),
      optax.scale_by_learning_rate(rate),
    ),
    peft_trainer.TrainingConfig(eval_every_n_steps=job.steps + 1),
  )
  trainer.is_managed_externally = True  # it goes on round after round

  def inputs(batch):
    known = batch.input_tokens != PAD
    return {
      'input_tokens': batch.input_tokens,
      'input_mask': batch.input_mask,
      'positions': utils.build_positions_from_mask(known),
      'attention_mask': utils.make_causal_attn_mask(known),
    }

  trainer = trainer.with_gen_model_input_fn(inputs)

  def batch(step):
    rows = job.chosen(step)
    tokens = np.full((len(rows), job.longest), PAD, np.int32)
    mask = np.zeros((len(rows), job.longest), np.int32)
    for n, (prompt, target) in enumerate(rows):
      end = len(prompt) + len(target)
      tokens[n, :end] = prompt + target
      mask[n, len(prompt) : end] = 1
    return peft_trainer.TrainingInput(input_tokens=tokens, input_mask=mask)

  def train(first, count):
    before = len(trainer.losses)
    trainer.train(batch(step) for step in range(first, first + count))
    return [float(loss) for loss in trainer.losses[before:]]

  return train, ('google-tunix', 'jax')
