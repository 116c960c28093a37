"""The least time that each stage takes on its chips: arithmetic, no promise.

A chip computes at its peak or reads its memory at full bandwidth, whichever
takes longer; nothing waits, and all chips have equal shares.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from restpg_jax import config
from restpg_jax.engines import batch_loader, model_size, trainer
from restpg_jax.models import flops, precision
from restpg_jax.parallel import chips
from restpg_jax.preflight import cost, programs
from restpg_jax.preflight import workload as work
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

STEPS = 16  # whose packing is looked at


@dataclasses.dataclass(frozen=True)
class Run:
  """What all stages of a run have in common."""

  cfg: config.Config
  layout: object  # parallel.layout.Layout
  chip: chips.Chip
  inputs: programs.Inputs

  @property
  def texts(self) -> work.Texts:
    return work.texts(self.cfg)

  def seconds(self, dtype, arithmetic: float, read: float = 0.0) -> float:
    """Of a chip that multiplies in this type."""
    passes = precision.passes(self.layout.platform, dtype)
    return max(
      passes * arithmetic / self.chip.flops, read / self.chip.bandwidth
    )


def of_stage(run: Run, function: Callable, settings, split: str) -> float:
  """Seconds on all chips together; 0 for what the host does."""
  return SECONDS[function](run, settings, split) if function in SECONDS else 0.0


def _reason(run: Run, settings, split: str) -> float:
  del settings
  texts = run.texts
  return drawing(
    run,
    programs.reason(run.cfg, run.inputs),
    inputs=work.examples(run.cfg, split),
    prompt=min(run.cfg.reason.max_input, texts.prompt + texts.gold),
    output=texts.reasoning,
  )


def _retrieve(run: Run, settings: retrieve.Settings, split: str) -> float:
  """The host ranks; a dense retriever reads every document first."""
  del split
  if settings.retrieval.name != 'contriever':
    return 0.0
  size = model_size.encoder_of(settings.retrieval.encoder)
  count = work.examples(run.cfg, settings.split) * (1 + work.documents())
  one = cost.embed(size, texts=1, length=min(size.positions, run.texts.gold))
  return count * run.seconds(jnp.float32, one.hardware) / run.layout.devices


def _draw(run: Run, settings: draw.Settings, split: str) -> float:
  kind = programs.draw if settings.purpose == 'draw' else programs.answer
  return drawing(
    run,
    kind(run.cfg, run.inputs),
    inputs=work.examples(run.cfg, split),
    samples=settings.m - max(settings.before, default=0),
    prompt=run.texts.prompt,
    output=run.texts.written(settings.reasoning, run.cfg.prompt.max_output),
  )


def _score(run: Run, settings: score.Settings, split: str) -> float:
  return judging(
    run, settings.reward, work.examples(run.cfg, split), settings.m
  )


def _measure(run: Run, settings: measure.Settings, split: str) -> float:
  """The judge, where it is not the reward; the host does the rest."""
  if not settings.judge:
    return 0.0
  return judging(run, settings.judge, work.examples(run.cfg, split), settings.m)


def _choose(run: Run, settings: choose.Settings, split: str) -> float:
  checkpoints = -(-run.cfg.train.steps // run.cfg.train.checkpoint_every)
  asked = work.examples(run.cfg, split, most=settings.choose.examples)
  answers = drawing(
    run,
    programs.answer(run.cfg, run.inputs),
    inputs=asked,
    samples=settings.answer.m,
    prompt=run.texts.prompt,
    output=run.texts.written(settings.reasoning, run.cfg.prompt.max_output),
  )
  judged = judging(run, settings.reward, asked, settings.answer.m)
  return checkpoints * (answers + judged)


def _train(run: Run, settings: train.Settings, split: str) -> float:
  del split
  size, layout = model_size.size_of(run.cfg.policy.checkpoint), run.layout
  batch, dtype = settings.train.batch_size, settings.train.compute_dtype
  attention = trainer.attention_of(layout, size, dtype)
  lengths = work.lengths(run.cfg, STEPS * batch, reasoning=settings.reasoning)
  some = [range(n, n + batch) for n in range(0, len(lengths), batch)]
  price, shapes = batch_loader.packs(lengths, some, size, layout, attention)

  def seconds(shape: packing.Shape) -> float:
    """Of a micro-batch: what a device has of it, padding too."""
    needs = cost.train(
      size,
      rows=shape.rows / layout.parts,
      L=shape.length,
      T=shape.targets,
      attention=attention,
      remat=trainer.remat_of(layout),
      parts=layout.mesh.shape['model'] * layout.sharing,
    )
    return run.seconds(dtype, needs.hardware)

  found = sum(
    seconds(group.shape)
    for step in some
    for group in packing.pack([lengths[n] for n in step], shapes, price)
  )
  return settings.train.steps * found / STEPS


def drawing(
  run: Run,
  what: programs.Drawing,
  *,
  inputs: int,
  prompt: float,
  output: float,
  samples: int = 1,
) -> float:
  """Each prompt is read once; then all slots make a token a step."""
  size, layout = what.size, run.layout
  writer = programs.abstract(size, layout, what.how.dtype)
  shape = programs.slots_of(what, writer)
  dtype = what.how.dtype
  itemsize = jnp.dtype(dtype).itemsize
  weights = flops.weights(size) * itemsize
  once = run.seconds(
    dtype, prompt * flops.layers(size) + flops.causal(size, prompt), weights
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


def judging(
  run: Run, reward: config.Reward, inputs: int, answers: int
) -> float:
  """Instruction and reference once, then each answer behind them."""
  if reward.name != 'judge':
    return 0.0
  size = model_size.size_of(reward.model.checkpoint)
  texts = run.texts
  shared, own = 2 * work.TEMPLATE + texts.input + texts.gold, texts.gold
  read = shared + answers * own
  pairs = flops.causal(size, shared) + answers * (
    flops.square(size, own, shared) + flops.causal(size, own)
  )
  arithmetic = read * flops.layers(size) + pairs
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
