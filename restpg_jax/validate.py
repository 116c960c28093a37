"""Refuses settings that no run can have, before anything runs."""

import itertools
import math
from collections.abc import Sequence

from restpg_jax import config, errors
from restpg_jax.data import longlamp
from restpg_jax.engines import generator, model_size, trainer, turn_files
from restpg_jax.io import tracking
from restpg_jax.models import decoder, formats, packed, splash
from restpg_jax.parallel import layout as layouts
from restpg_jax.parallel import rules
from restpg_jax.rewards import judge, mixture, selection
from restpg_jax.stages import measure, reason, retrieve
from restpg_jax.training import lora


def check_settings(cfg: config.Config) -> None:
  """Raises InputError for settings that no run can have."""
  for part in PARTS:
    part(cfg)


def check_numbers(cfg: config.Config) -> None:
  """Refuses counts and sizes that are too small."""
  at_least_1 = {
    'retrieval.k': cfg.retrieval.k,
    'draw.m': cfg.draw.m,
    'answer.m': cfg.answer.m,
    'select.limit': cfg.select.limit,
    'train.steps': cfg.train.steps,
    'train.batch_size': cfg.train.batch_size,
    'train.checkpoint_every': cfg.train.checkpoint_every,
    'choose.examples': cfg.choose.examples,
    'reason.tries': cfg.reason.tries,
    'reason.max_output': cfg.reason.max_output,
    'prompt.max_output': cfg.prompt.max_output,
    'compute.slots': cfg.compute.slots,
    'compute.shards': cfg.compute.shards,
    'compute.judged': cfg.compute.judged,
    'compute.model': cfg.compute.model,
    'compute.log_every': cfg.compute.log_every,
  }
  for name, value in at_least_1.items():
    if value < 1:
      raise errors.InputError(f'{name} is {value}; it must be at least 1')
  for name in (
    *('prompts', 'samples', 'memory', 'cpu_devices', 'fsdp', 'sequence'),
    *('rows', 'row_length'),
  ):
    value = getattr(cfg.compute, name)
    if not value >= 0:
      raise errors.InputError(
        f'compute.{name} is {value:g}; it must be 0 or more'
      )
  if cfg.evaluate.shards < 0:
    raise errors.InputError(
      f'evaluate.shards is {cfg.evaluate.shards}; it must be 0 or more'
    )
  if cfg.iterations < 0:
    raise errors.InputError(f'iterations is {cfg.iterations}; 0 or more')
  if cfg.data.limit < 0:
    raise errors.InputError(
      f'data.limit is {cfg.data.limit}; 0 takes every row'
    )


def check_drawing(cfg: config.Config) -> None:
  """Checks the sections that draw, or read what is drawn."""
  for name in ('draw', 'answer', 'reason'):
    check_sampling(name, getattr(cfg, name))
  for name in ('draw', 'answer', 'reason', 'reward'):
    dtype = getattr(cfg, name).dtype
    if dtype not in generator.DTYPES:
      raise errors.InputError(
        f'{name}.dtype is {dtype!r}; it must be {" or ".join(generator.DTYPES)}'
      )
  dtype = cfg.evaluate.dtype
  if dtype and dtype not in generator.DTYPES:
    raise errors.InputError(
      f'evaluate.dtype is {dtype!r}; it must be '
      f'{" or ".join(generator.DTYPES)}, or empty for reward.dtype'
    )
  check_rounds(cfg.draw)


def check_policy(
  policy: config.Model, train: config.Train, layout: layouts.Layout
) -> None:
  """Raises InputError where the policy cannot be trained so on these devices.

  To be called once there are devices: reading a checkpoint starts JAX.
  """
  size = model_size.model_size(policy.checkpoint, policy.base)
  lora.check_targets(train.lora, formats.shapes(size))
  rules.check_divisible(size, layout.mesh)
  attention = trainer.attention_of(layout, size, train.compute_dtype)
  check_row(attention, layout.compute.row_length, layout.context_parallel)


def check_data(data: config.Data) -> None:
  """Raises InputError where data.path has no data."""
  if data.path:
    longlamp.tasks_found(data.path, setting=data.setting)


def check_split_sizes(data: config.Data, splits: Sequence[str]) -> None:
  """Raises InputError for a split that is needed and has no example.

  The splits of data.path are checked when they are read, which is also before
  any training.
  """
  for split in splits:
    count = getattr(data.world, split)
    if not data.path and count < 1:
      raise errors.InputError(
        f'data.world.{split} is {count}; this run needs at least 1 example'
      )


def check_sampling(name: str, sampling: config.Sample | config.Reason) -> None:
  """Checks temperature, nucleus and top-k of a section that draws."""
  top_k = getattr(sampling, 'top_k', 0)
  if not 0 <= sampling.temperature < math.inf:
    fault = f'temperature is {sampling.temperature:g}; it must be 0 or more'
  elif not 0 < sampling.top_p <= 1:
    fault = f'top_p is {sampling.top_p:g}; it must be above 0 and at most 1'
  elif top_k < 0:
    fault = f'top_k is {top_k}; it must be 0 (all tokens) or more'
  else:
    return
  raise errors.InputError(f'{name}.{fault}')


def check_training(cfg: config.Config) -> None:
  """Checks the names of ways to compute, and that every example fits a row."""
  trainer.check_train(cfg.train)
  for name, known in (('attention', packed.NAMES), ('remat', decoder.REMAT)):
    value = getattr(cfg.compute, name)
    if value and value not in known:
      raise errors.InputError(
        f'compute.{name} is {value!r}; known are {", ".join(known)}'
      )
  longest = cfg.prompt.max_input + cfg.prompt.max_output
  if 0 < cfg.compute.row_length < longest:
    raise errors.InputError(
      f'compute.row_length={cfg.compute.row_length} is too short: an example '
      f'may have prompt.max_input + prompt.max_output = {longest} tokens'
    )
  check_row(cfg.compute.attention, cfg.compute.row_length)


def check_row(attention: str, length: int, context_parallel: int = 1) -> None:
  """Checks that a row splits into whole lanes of a kernel and equal parts of
  devices."""
  multiple = (
    splash.multiple(context_parallel)
    if attention == 'splash'
    else context_parallel
  )
  if length % multiple:
    shared = f' over {context_parallel} devices (compute.sequence)'
    raise errors.InputError(
      f'compute.row_length={length} must be a multiple of {multiple} for '
      f'compute.attention={attention}{shared * (context_parallel > 1)}'
    )


def check_rounds(draw: config.Draw) -> None:
  """Checks that the sizes of the rounds rise and end with m."""
  if not draw.rounds:
    return
  rising = all(a < b for a, b in itertools.pairwise((0, *draw.rounds)))
  if not rising or draw.rounds[-1] != draw.m:
    raise errors.InputError(
      f'draw.rounds is {",".join(map(str, draw.rounds))}; it must rise from '
      f'1 or more and end with draw.m={draw.m}'
    )


PARTS = (  # each raises for the first fault that it finds
  check_numbers,
  check_drawing,
  check_training,
  lambda cfg: longlamp.check_data_settings(cfg.data),
  lambda cfg: reason.check_reason(cfg.reason),
  lambda cfg: turn_files.check_no_turns('policy', cfg.policy),
  lambda cfg: turn_files.check_turns('reason.model', cfg.reason.model),
  lambda cfg: turn_files.check_turns('reward.model', cfg.reward.model),
  lambda cfg: selection.check_select(cfg.select),
  lambda cfg: judge.check_rule(cfg.reward.rule),
  lambda cfg: mixture.check(cfg.reward),
  lambda cfg: retrieve.check_retrieval(cfg.retrieval),
  lambda cfg: measure.check_metrics(cfg.evaluate, cfg.retrieval),
  lambda cfg: tracking.check_name(cfg.track),
)
