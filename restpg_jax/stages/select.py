"""Line 9: the outputs of an E-step that are good enough to learn from."""

import collections
import dataclasses
import math
import warnings
from collections.abc import Sequence

from restpg_jax import config, errors, types
from restpg_jax.io import artifacts, records
from restpg_jax.stages import samples

HIGHEST = 1.0  # of all rewards, see types.Trajectory
VERSION = 2  # 1 ordered copies by their last occurrence


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides which samples are kept."""

  select: config.Select
  rounds: tuple[int, ...]  # m of each round; of the only one: (m,)


@artifacts.stage('restpg_jax.stages.select.select', version=VERSION)
def select(*scored, out, cfg: Settings, layout) -> dict:
  """trajectories.jsonl: what is kept of all rounds, by example and j."""
  del layout
  rule = cfg.select
  check(rule)
  best = max(
    s.reward for found in samples.by_example(scored, cfg.rounds) for s in found
  )
  floor = lowered(rule, best)
  seen, kept = Tally(), Tally()

  def good():
    for found in samples.by_example(scored, cfg.rounds):
      chosen = choose(
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


def choose(
  found: Sequence[types.Trajectory],
  *,
  rule: str,
  threshold: float,
  floor: float,
  limit: int,
  distinct: bool,
) -> list[types.Trajectory]:
  """The first `limit` good ones of each example by sample index.

  rewards of j = 0..3: .4 .9 1. .9, rule 'threshold', threshold .9, limit 2
    -> j = 1, 2
  the same, rule 'best' (the input's best reward, if at least `floor`)
    -> j = 2
  """
  of_example = collections.defaultdict(list)
  for s in found:
    of_example[s.example_id].append(s)
  kept = []
  for group in of_example.values():
    group = sorted(group, key=lambda s: s.j)
    least = threshold
    if rule == 'best':
      least = max(floor, max(s.reward for s in group))
    good = [s for s in group if s.reward >= least]
    if distinct:
      good = first_of_each_text(good)
    kept += good[:limit]
  return kept


def full(
  found: Sequence[types.Trajectory], cfg: config.Select
) -> frozenset[str]:
  """The examples of which later samples cannot change what `choose` keeps.

  They have `limit` outputs that will stay: good ones by 'threshold'; by 'best'
  only those of the highest reward there is, as a better one raises the bar.

  rewards of j = 0..2: .4 1. .9, limit 2  ->  by 'threshold' .9, not by 'best'
  and a j = 3 with 1.                     ->  by either
  """
  kept = choose(
    found,
    rule='threshold',
    threshold=HIGHEST if cfg.rule == 'best' else cfg.threshold,
    floor=cfg.floor,
    limit=cfg.limit,
    distinct=cfg.distinct,
  )
  count = collections.Counter(s.example_id for s in kept)
  return frozenset(e for e, n in count.items() if n == cfg.limit)


def first_of_each_text(
  found: Sequence[types.Trajectory],
) -> list[types.Trajectory]:
  """texts a b a  ->  a b, the first of each in the order given."""
  of_text = {}
  for s in found:
    of_text.setdefault(s.text, s)
  return list(of_text.values())


def least(cfg: config.Select) -> float:
  """The reward below which nothing is kept."""
  return cfg.floor if cfg.rule == 'best' else cfg.threshold


def check(cfg: config.Select) -> None:
  if cfg.rule not in ('threshold', 'best'):
    raise errors.InputError(
      f"select.rule is {cfg.rule!r}; it must be 'threshold' or 'best'"
    )
  if cfg.rule == 'threshold' and not cfg.threshold <= HIGHEST:
    raise errors.InputError(
      f'select.threshold is {cfg.threshold:g}; no reward is above {HIGHEST:g}'
    )
  if math.isnan(cfg.floor):
    raise errors.InputError('select.floor is nan; it must be a number')
