"""Describes what a run draws with one set of programs."""

import dataclasses

from restpg_jax import config
from restpg_jax.engines import generator, model_size
from restpg_jax.models import size as sizes
from restpg_jax.preflight import workload as work
from restpg_jax.sampling import slots


@dataclasses.dataclass(frozen=True)
class SplitSizes:
  """Holds the number of examples that a run reads of each split."""

  train: int
  val: int
  test: int


@dataclasses.dataclass(frozen=True)
class DrawWorkload:
  """Describes what one set of programs draws."""

  name: str
  size: sizes.Size
  sample: config.Sample
  prompt: int  # tokens, at most
  output: int  # tokens, at most
  inputs: int
  stop: tuple[int, ...]  # ids; only their number shapes a program


def split_sizes(cfg: config.Config) -> SplitSizes:
  """Counts examples by the paper's Table 2 or the synthetic users' settings."""
  return SplitSizes(
    work.examples(cfg, 'train'),
    work.examples(cfg, 'val', limit=cfg.choose.examples),
    work.examples(cfg, 'test'),
  )


def reason_workload(cfg: config.Config, inputs: SplitSizes) -> DrawWorkload:
  """Returns that of the larger model that explains the gold outputs."""
  reason = cfg.reason
  return DrawWorkload(
    'reason',
    model_size.model_size(reason.model.checkpoint, reason.model.base),
    config.Sample(1, reason.temperature, reason.top_p, dtype=reason.dtype),
    prompt=reason.max_input,
    output=reason.max_output,
    inputs=inputs.train,
    stop=(0, 1),  # end of turn, end of text
  )


def draw_workload(cfg: config.Config, inputs: SplitSizes) -> DrawWorkload:
  """Returns that of the E-step's outputs."""
  return _policy_workload('draw', cfg, cfg.draw, inputs.train)


def answer_workload(cfg: config.Config, inputs: SplitSizes) -> DrawWorkload:
  """Returns that of the validation or the test set, whichever is larger."""
  return _policy_workload(
    'answer', cfg, cfg.answer, max(inputs.val, inputs.test)
  )


def _policy_workload(
  name: str, cfg: config.Config, sample: config.Sample, inputs: int
) -> DrawWorkload:
  return DrawWorkload(
    name,
    model_size.model_size(cfg.policy.checkpoint, cfg.policy.base),
    sample,
    prompt=cfg.prompt.max_input,
    output=cfg.prompt.max_output,
    inputs=inputs,
    stop=(1,),
  )


def decode_shape(
  workload: DrawWorkload, model: generator.LoadedModel
) -> slots.DecodeShape:
  """Returns what a device draws side by side."""
  return generator.decode_shape(
    model,
    m=workload.sample.m,
    prompt=workload.prompt,
    output=workload.output,
    inputs=workload.inputs,
  )
