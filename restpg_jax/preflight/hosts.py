"""Computes what each host needs and waits for, by arithmetic alone."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from restpg_jax import config, integers
from restpg_jax.engines import model_size
from restpg_jax.io import artifacts
from restpg_jax.models import flops
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import duration, judging, programs
from restpg_jax.preflight import workload as work
from restpg_jax.rewards import mixture
from restpg_jax.stages import choose, draw, measure, reason, score, train

GIB = 2**30
CHARACTERS = 6  # of a word and what follows it; ASCII, a byte each
READ = 1e9  # bytes of weights that a host is assumed to read in a second
INPUTS = 2000  # whose answers stand for all
HOST_LOCAL = (
  reason.reason,
  draw.draw,
  score.score,
  measure.measure,
  choose.choose,
)
DRAWS = 4000  # of the slowest among hosts, whose mean is taken


@dataclasses.dataclass(frozen=True)
class HostMemory:
  """Holds GiB of a host's own memory, at most; stages follow each other."""

  examples: float  # their texts, with the documents of their prompts
  rows: float  # tokenised outputs to train on; each host has all
  weights: float  # of the largest model, whole before they go to devices
  checkpoint: float  # the state of its devices, on its way to disk

  @property
  def peak(self) -> float:
    """Returns that of the stage that needs most."""
    training = self.rows + self.checkpoint
    return self.examples + max(self.weights, training)


def host_count(layout: layouts.Layout) -> int:
  """Returns the number of hosts of the layout's devices."""
  return len({device.process_index for device in layout.mesh.devices.flat})


def host_memory(cfg: config.Config, layout: layouts.Layout) -> HostMemory:
  """Returns what a host holds beside its devices."""
  texts, count = work.text_lengths(cfg), work.examples(cfg, 'train')
  words = (texts.prompt + texts.gold) / work.TOKENS
  outputs = count * max(1, cfg.select.limit * bool(cfg.iterations))
  target = texts.written(True, cfg.prompt.max_output)
  tokens = count * texts.prompt + outputs * target
  state = programs.train_programs(cfg, layout)[-1].held
  return HostMemory(
    examples=count * words * CHARACTERS / GIB,
    rows=tokens * 4 / GIB,  # int32
    weights=max(_loaded(cfg).values()) / GIB,
    checkpoint=state * layout.devices / host_count(layout) / GIB,
  )


def _loaded(cfg: config.Config) -> dict[str, float]:
  """Returns bytes of the models, each in the type in which it is loaded."""
  models = [
    ('reasoner', cfg.reason.model, cfg.reason.dtype),
    ('policy', cfg.policy, cfg.draw.dtype),
    ('answers', cfg.policy, cfg.answer.dtype),
  ]
  if mixture.asks(cfg.reward, 'judge'):
    dtype = cfg.evaluate.dtype or cfg.reward.dtype
    models.append(('judge', cfg.reward.model, dtype))
  return {
    name: weight_bytes(model, jnp.dtype(dtype).itemsize)
    for name, model, dtype in models
  }


def weight_bytes(model: config.Model, itemsize: int) -> float:
  """Returns the bytes of a model's weights."""
  return (
    flops.weights(model_size.model_size(model.checkpoint, model.base))
    * itemsize
  )


def load_seconds(
  run: duration.RunCost, function: artifacts.Stage, settings: Any
) -> float:
  """Returns seconds in which a host reads the weights of a stage.

  Published weights are bfloat16, those that the run trains float32.
  """
  cfg = run.cfg
  policy = weight_bytes(cfg.policy, 4)
  judges = mixture.asks(cfg.reward, 'judge')
  judge = weight_bytes(cfg.reward.model, 2) if judges else 0.0
  if function is reason.reason:
    size = weight_bytes(cfg.reason.model, 2)
  elif function is choose.choose:
    checkpoints = integers.cdiv(cfg.train.steps, cfg.train.checkpoint_every)
    size = checkpoints * policy + judge
  elif function in (draw.draw, train.train):
    size = policy
  elif function is score.score:
    size = judge
  elif function is measure.measure and settings.judge:
    size = weight_bytes(settings.judge.model, 2)
  else:
    size = 0.0
  return size / READ


def wait_share(
  run: duration.RunCost, function: artifacts.Stage, split: str
) -> float:
  """Returns how much longer the slowest host works than the mean, as a share.

  Inputs go to hosts by a hash, so a host's work is a sum of about N / H inputs
  drawn at random: its deviation is that of sqrt(N / H) of them. Training is one
  program on all hosts.
  """
  if function not in HOST_LOCAL:
    return 0.0
  several = split == 'train' and function is not reason.reason
  answers = run.cfg.draw.m if several else 1
  limit = run.cfg.choose.examples if function is choose.choose else 0
  count = work.examples(run.cfg, split, limit=limit)
  judged = judging.judged_lengths(run.cfg, INPUTS, answers)
  tokens_N = judged.rest_NA.sum(axis=1)
  return slowest(tokens_N, count, host_count(run.layout))


def slowest(work_N: np.ndarray, count: int, hosts: int) -> float:
  """Returns the expected maximum over hosts, as a share above the mean.

  `work_N` is that of a sample of inputs; there are `count`. One host: 0.
  """
  relative = np.mean(work_N.astype(float) ** 2) / np.mean(work_N) ** 2
  normal = np.random.default_rng(0).standard_normal((DRAWS, hosts))
  normal -= normal.mean(axis=1, keepdims=True)  # all of the work is done
  return float(normal.max(axis=1).mean() * (relative * hosts / count) ** 0.5)
