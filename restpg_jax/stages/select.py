"""Line 9: selects the outputs of an E-step that are good enough to train on."""

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.io import artifacts, records, samples
from restpg_jax.parallel import layout as layouts
from restpg_jax.rewards import selection

VERSION = 2  # 1 ordered copies by their last occurrence


@dataclasses.dataclass(frozen=True)
class SelectSettings:
  """The settings that decide which samples are kept."""

  select: config.Select
  rounds: tuple[int, ...]  # m of each round, (m,) where there is one


@artifacts.stage('restpg_jax.stages.select.select', version=VERSION)
def select(
  *scored: epath.Path,
  out: epath.Path,
  cfg: SelectSettings,
  layout: layouts.Layout,
) -> dict[str, Any]:
  """Writes trajectories.jsonl, what is kept of all rounds, by example and j.

  Raises InputError where that is nothing, and writes no file then.
  """
  del layout
  selection.check_select(cfg.select)
  best = max(
    sample.scored_reward
    for group in samples.by_example(scored, cfg.rounds)
    for sample in group
  )
  floor = lowered(cfg.select, best)
  tally = SelectTally()
  groups = samples.by_example(scored, cfg.rounds)
  num_kept = records.write(
    out / 'trajectories.jsonl',
    keep(groups, cfg.select, floor=floor, best=best, tally=tally),
  )
  rejected = tally.samples - tally.samples_kept
  return {
    'expected': samples.count(scored, cfg.rounds) - rejected,
    'made': num_kept,
    'of_samples': tally.samples,
    'inputs_kept': tally.inputs_kept,
    'inputs_dropped': tally.inputs - tally.inputs_kept,
    'mean_reward': tally.rewards_kept / tally.samples_kept,
  }


@dataclasses.dataclass
class SelectTally:
  """Counts over samples that come input by input."""

  inputs: int = 0
  inputs_kept: int = 0
  samples: int = 0
  samples_kept: int = 0
  rewards_kept: float = 0.0  # their sum

  def add(
    self, group: Sequence[types.Trajectory], kept: Sequence[types.Trajectory]
  ) -> None:
    """Counts the samples of one input, and those of them that are kept."""
    self.inputs += bool(group)
    self.inputs_kept += bool(kept)
    self.samples += len(group)
    self.samples_kept += len(kept)
    self.rewards_kept += sum(sample.scored_reward for sample in kept)


def keep(
  groups: Iterable[list[types.Trajectory]],
  rule: config.Select,
  *,
  floor: float,
  best: float,
  tally: SelectTally,
) -> Iterator[types.Trajectory]:
  """Yields what is kept of each input's samples, and counts it in `tally`.

  Raises InputError at the end if that was nothing, with the `best` reward; so
  the file that is being written never appears.
  """
  for group in groups:
    kept = selection.keep_best(
      group,
      rule=rule.rule,
      threshold=rule.threshold,
      floor=floor,
      limit=rule.limit,
      distinct=rule.distinct,
    )
    tally.add(group, kept)
    yield from kept
  if not tally.samples_kept:
    name = 'floor' if rule.rule == 'best' else 'threshold'
    raise errors.InputError(
      f'no output reached select.{name}={getattr(rule, name):g}; the best '
      f'reward was {best:g}. Lower it, draw more (draw.m) or train longer'
    )


def lowered(settings: config.Select, best: float) -> float:
  """Returns the floor, or the best reward of all where none reaches the floor.

  Rule 'best' is relative; a judge that is hard on everybody starves nobody.
  """
  if settings.rule != 'best' or not 0 < best < settings.floor:
    return settings.floor
  warnings.warn(
    f'no output reached select.floor={settings.floor:g}; kept are those of '
    f'reward {best:g}, the best there is',
    errors.DataWarning,
    stacklevel=2,
  )
  return best
