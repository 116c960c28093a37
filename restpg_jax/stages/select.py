"""Line 9: the outputs of an E-step that are good enough to learn from."""

import dataclasses
import warnings
from collections.abc import Sequence

from restpg_jax import config, errors, types
from restpg_jax.io import artifacts, records, samples
from restpg_jax.rewards import selection

VERSION = 2  # 1 ordered copies by their last occurrence


@dataclasses.dataclass(frozen=True)
class SelectSettings:
  """What decides which samples are kept."""

  select: config.Select
  rounds: tuple[int, ...]  # m of each round; of the only one: (m,)


@artifacts.stage('restpg_jax.stages.select.select', version=VERSION)
def select(*scored, out, cfg: SelectSettings, layout) -> dict:
  """trajectories.jsonl: what is kept of all rounds, by example and j."""
  del layout
  rule = cfg.select
  selection.check_select(rule)
  best = max(
    s.reward for found in samples.by_example(scored, cfg.rounds) for s in found
  )
  floor = lowered(rule, best)
  seen, kept = Tally(), Tally()

  def good():
    for found in samples.by_example(scored, cfg.rounds):
      chosen = selection.keep_best(
        found,
        rule=rule.rule,
        threshold=rule.threshold,
        floor=floor,
        limit=rule.limit,
        distinct=rule.distinct,
      )
      seen.add(found)
      kept.add(chosen)
      yield from chosen
    if not kept.samples:
      least = 'floor' if rule.rule == 'best' else 'threshold'
      raise errors.InputError(
        f'no output reached select.{least}={getattr(rule, least):g}; the best '
        f'reward was {best:g}. Lower it, draw more (draw.m) or train longer'
      )

  made = records.write(out / 'trajectories.jsonl', good())
  rejected = seen.samples - kept.samples
  return {
    'expected': samples.count(scored, cfg.rounds) - rejected,
    'made': made,
    'of_samples': seen.samples,
    'inputs_kept': kept.inputs,
    'inputs_dropped': seen.inputs - kept.inputs,
    'mean_reward': kept.rewards / kept.samples,
  }


@dataclasses.dataclass
class Tally:
  """Of samples that come example by example."""

  samples: int = 0
  inputs: int = 0
  rewards: float = 0.0

  def add(self, found: Sequence[types.Trajectory]) -> None:
    self.samples += len(found)
    self.inputs += bool(found)
    self.rewards += sum(s.reward for s in found)


def lowered(cfg: config.Select, best: float) -> float:
  """The floor, or the best reward of all where none comes up to the floor.

  Rule 'best' is relative; a judge that is hard on everybody starves nobody.
  """
  if cfg.rule != 'best' or not 0 < best < cfg.floor:
    return cfg.floor
  warnings.warn(
    f'no output reached select.floor={cfg.floor:g}; kept are those of reward '
    f'{best:g}, the best there is',
    errors.DataWarning,
    stacklevel=2,
  )
  return best
