"""Counts what the stages of a run make, and the seconds that this takes."""

import dataclasses
from collections.abc import Callable
from typing import Any

from restpg_jax import config, integers, restpg
from restpg_jax.preflight import duration
from restpg_jax.preflight import workload as work
from restpg_jax.stages import choose, draw, measure, reason, score, train


@dataclasses.dataclass(frozen=True)
class Tally:
  """Holds what stages make, at most: rounds may save some samples."""

  samples: int = 0  # texts that are drawn
  scored: int = 0  # texts that get a reward
  steps: int = 0  # of the optimizer
  seconds: float = 0.0  # at least, on all chips together; 0: unknown chips

  def __add__(self, other: 'Tally') -> 'Tally':
    return Tally(
      self.samples + other.samples,
      self.scored + other.scored,
      self.steps + other.steps,
      self.seconds + other.seconds,
    )


def stage_tally(
  cfg: config.Config,
  step: restpg.PlannedStep,
  *,
  before: int = 0,
  run: duration.RunCost | None = None,
) -> Tally:
  """Returns what a stage makes of its run.

  before: how far its store reaches already; run: None, no seconds.
  """
  splits = [
    i.path.name for i in step.inputs if i.path.parent.name == 'retrieve'
  ]
  split = splits[0] if splits else ''
  count = COUNTS.get(step.stage)
  tally = count(cfg, step.settings, split, before) if count else Tally()
  if run is None:
    return tally
  seconds = duration.stage_seconds(run, step.stage, step.settings, split)
  if before:
    reached = dataclasses.replace(step.settings, m=before)
    seconds -= duration.stage_seconds(run, step.stage, reached, split)
  return dataclasses.replace(tally, seconds=seconds)


def _draw(
  cfg: config.Config, settings: draw.DrawSettings, split: str, before: int
) -> Tally:
  drawn = max(before, *settings.before, 0)
  return Tally(samples=work.examples(cfg, split) * (settings.m - drawn))


def _reason(
  cfg: config.Config, settings: reason.ReasonSettings, split: str, before: int
) -> Tally:
  del settings, before
  return Tally(samples=work.examples(cfg, split))


def _score(
  cfg: config.Config, settings: score.ScoreSettings, split: str, before: int
) -> Tally:
  return Tally(scored=work.examples(cfg, split) * (settings.m - before))


def _measure(
  cfg: config.Config, settings: measure.MeasureSettings, split: str, before: int
) -> Tally:
  del before
  count = work.examples(cfg, split) * settings.m
  return Tally(scored=count if settings.judge else 0)


def _choose(
  cfg: config.Config, settings: choose.ChooseSettings, split: str, before: int
) -> Tally:
  del before
  checkpoints = integers.cdiv(cfg.train.steps, cfg.train.checkpoint_every)
  inputs = work.examples(cfg, split, limit=settings.choose.examples)
  texts = checkpoints * inputs * settings.answer.m
  return Tally(samples=texts, scored=texts)


def _train(
  cfg: config.Config, settings: train.TrainSettings, split: str, before: int
) -> Tally:
  del cfg, split, before
  return Tally(steps=settings.train.steps)


COUNTS: dict[Any, Callable[[config.Config, Any, str, int], Tally]] = {
  draw.draw: _draw,
  reason.reason: _reason,
  score.score: _score,
  measure.measure: _measure,
  choose.choose: _choose,
  train.train: _train,
}
