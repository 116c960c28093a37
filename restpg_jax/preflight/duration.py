"""Computes the least time that each stage takes on its chips.

This is arithmetic, no promise.

A chip computes at its peak or reads its memory at full bandwidth, whichever
takes longer; nothing waits, and all chips have equal shares.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from restpg_jax import config, integers
from restpg_jax.engines import batch_loader, model_size, trainer
from restpg_jax.io import artifacts
from restpg_jax.models import flops, precision
from restpg_jax.parallel import chips
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import cost, draw_workloads, judging, programs
from restpg_jax.preflight import workload as work
from restpg_jax.rewards import mixture
from restpg_jax.sampling import candidates
from restpg_jax.stages import (
  choose,
  draw,
  measure,
  reason,
  retrieve,
  score,
  train,
)
from restpg_jax.training import packing

JUDGED = 2000  # inputs whose answers stand for all that are judged
STEPS = 16  # optimizer steps whose packing stands for all


@dataclasses.dataclass(frozen=True)
class RunCost:
  """Holds what all stages of a run have in common."""

  cfg: config.Config
  layout: layouts.Layout
  chip: chips.Chip
  inputs: draw_workloads.SplitSizes

  @property
  def texts(self) -> work.TextLengths:
    return work.text_lengths(self.cfg)

  def seconds(
    self, dtype: DTypeLike, arithmetic: float, read: float = 0.0
  ) -> float:
    """Returns seconds of a chip that multiplies in this type.

    `arithmetic` is in FLOPs, `read` in bytes.
    """
    passes = precision.passes(self.layout.platform, dtype)
    return max(
      passes * arithmetic / self.chip.flops, read / self.chip.bandwidth
    )


def stage_seconds(
  run: RunCost, function: artifacts.Stage, settings: Any, split: str
) -> float:
  """Returns seconds on all chips together; 0 for what the host does."""
  return SECONDS[function](run, settings, split) if function in SECONDS else 0.0


def _reason(run: RunCost, settings: reason.ReasonSettings, split: str) -> float:
  del settings
  texts = run.texts
  return draw_seconds(
    run,
    draw_workloads.reason_workload(run.cfg, run.inputs),
    inputs=work.examples(run.cfg, split),
    prompt=min(run.cfg.reason.max_input, texts.prompt + texts.gold),
    output=texts.reasoning,
  )


def _retrieve(
  run: RunCost, settings: retrieve.RetrieveSettings, split: str
) -> float:
  """Returns seconds of a dense retriever, which reads every document.

  The host ranks.
  """
  del split
  if settings.retrieval.name != 'contriever':
    return 0.0
  size = model_size.encoder_size(settings.retrieval.encoder)
  count = work.examples(run.cfg, settings.split) * (
    1 + work.documents_per_user()
  )
  one = cost.embed_cost(
    size, texts=1, length=min(size.positions, run.texts.gold)
  )
  return count * run.seconds(jnp.float32, one.hardware) / run.layout.devices


def _draw(run: RunCost, settings: draw.DrawSettings, split: str) -> float:
  workload_of = (
    draw_workloads.draw_workload
    if settings.purpose == 'draw'
    else draw_workloads.answer_workload
  )
  return draw_seconds(
    run,
    workload_of(run.cfg, run.inputs),
    inputs=work.examples(run.cfg, split),
    samples=settings.m - max(settings.before, default=0),
    prompt=run.texts.prompt,
    output=run.texts.written(settings.reasoning, run.cfg.prompt.max_output),
  )


def _score(run: RunCost, settings: score.ScoreSettings, split: str) -> float:
  return judge_seconds(
    run, settings.reward, work.examples(run.cfg, split), settings.m
  )


def _measure(
  run: RunCost, settings: measure.MeasureSettings, split: str
) -> float:
  """Returns seconds of the judge, where it is not the reward.

  The host does the rest.
  """
  if not settings.judge:
    return 0.0
  return judge_seconds(
    run, settings.judge, work.examples(run.cfg, split), settings.m
  )


def _choose(run: RunCost, settings: choose.ChooseSettings, split: str) -> float:
  checkpoints = integers.cdiv(
    run.cfg.train.steps, run.cfg.train.checkpoint_every
  )
  num_inputs = work.examples(run.cfg, split, limit=settings.choose.examples)
  answers = draw_seconds(
    run,
    draw_workloads.answer_workload(run.cfg, run.inputs),
    inputs=num_inputs,
    samples=settings.answer.m,
    prompt=run.texts.prompt,
    output=run.texts.written(settings.reasoning, run.cfg.prompt.max_output),
  )
  judged = judge_seconds(run, settings.reward, num_inputs, settings.answer.m)
  return checkpoints * (answers + judged)


def _train(run: RunCost, settings: train.TrainSettings, split: str) -> float:
  del split
  size, layout = (
    model_size.model_size(run.cfg.policy.checkpoint, run.cfg.policy.base),
    run.layout,
  )
  dtype = settings.train.compute_dtype
  attention = trainer.attention_of(layout, size, dtype)
  lengths = work.lengths(
    run.cfg, STEPS * settings.train.batch_size, reasoning=settings.reasoning
  )

  def seconds(shape: packing.BatchShape) -> float:
    """Returns seconds of a device's part of a micro-batch, padding too."""
    needs = cost.train_cost(
      size,
      rows=shape.rows / layout.parts,
      L=shape.length,
      T=shape.targets,
      attention=attention,
      remat=trainer.remat_of(layout),
      parts=layout.mesh.shape['model'] * layout.context_parallel,
    )
    return run.seconds(dtype, needs.hardware)

  total = sum(
    seconds(group.shape)
    for step in packed_steps(run.cfg, settings.train, layout, lengths)
    for group in step
  )
  return settings.train.steps * total / STEPS


def packed_steps(
  cfg: config.Config,
  settings: config.Train,
  layout: layouts.Layout,
  lengths: Sequence[packing.Length],
) -> list[list[packing.MicroBatch]]:
  """Returns the micro-batches of steps that take these examples in order."""
  size, batch = (
    model_size.model_size(cfg.policy.checkpoint, cfg.policy.base),
    settings.batch_size,
  )
  attention = trainer.attention_of(layout, size, settings.compute_dtype)
  batches = [range(n, n + batch) for n in range(0, len(lengths), batch)]
  price, shapes = batch_loader.packing_of(
    lengths, batches[:STEPS], size, layout, attention
  )
  return [
    packing.pack([lengths[n] for n in step], shapes, price) for step in batches
  ]


def draw_seconds(
  run: RunCost,
  workload: draw_workloads.DrawWorkload,
  *,
  inputs: int,
  prompt: float,
  output: float,
  samples: int = 1,
) -> float:
  """Returns seconds of drawing `samples` of each of `inputs`.

  Each prompt is read once; then all slots draw a token a step. `prompt` and
  `output` are mean numbers of tokens.
  """
  size, layout = workload.size, run.layout
  model = programs.abstract_model(size, layout, workload.sample.dtype)
  shape = draw_workloads.decode_shape(workload, model)
  dtype = workload.sample.dtype
  itemsize = jnp.dtype(dtype).itemsize
  weights = flops.weights(size) * itemsize
  once = run.seconds(
    dtype,
    prompt * flops.layers(size) + flops.causal_flops(size, prompt),
    weights,
  )
  slots = shape.groups * shape.slots
  kept = shape.groups * (prompt + shape.slots * output / 2)
  step = run.seconds(
    dtype,
    slots * (flops.layers(size) + flops.logits(size))
    + flops.square(size, slots, prompt + output / 2),
    weights + kept * flops.token_bytes(size, itemsize),
  )
  steps = samples * output / slots
  return inputs * (once + steps * step) / layout.devices


def judge_seconds(
  run: RunCost, reward: config.Reward, inputs: int, answers: int
) -> float:
  """Returns seconds of judging `answers` answers to each of `inputs`.

  Padding counts: instruction and reference are read once for each compiled
  length that the answers to an input have, then each answer behind them.
  """
  if not mixture.asks(reward, 'judge'):
    return 0.0
  size = model_size.model_size(reward.model.checkpoint, reward.model.base)
  judged = judging.computed_tokens(
    judging.judged_lengths(run.cfg, JUDGED, answers),
    candidates.compiled_lengths(reward.max_input),
  )
  # Of attention, whose share is small, that between means.
  S, R = run.texts.input + run.texts.gold, judged.rests / answers
  arithmetic = (judged.prefixes + judged.rests) * flops.layers(size)
  arithmetic += flops.square(size, judged.rests, S + R)
  arithmetic += answers * flops.logits(size)
  return inputs * run.seconds(reward.dtype, arithmetic) / run.layout.devices


SECONDS = {
  retrieve.retrieve: _retrieve,
  reason.reason: _reason,
  draw.draw: _draw,
  score.score: _score,
  measure.measure: _measure,
  choose.choose: _choose,
  train.train: _train,
}
