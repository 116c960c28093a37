"""Line 9: the outputs of an E-step that are good enough to learn from."""

import collections
import warnings
from collections.abc import Sequence

from restpg_jax import config, errors, types
from restpg_jax.io import records


def select(scored, *, out, cfg: config.Select, layout) -> dict:
  """trajectories.jsonl: what is kept, by example and sample index."""
  del layout
  samples = list(records.read(scored / 'scored.jsonl', types.Trajectory))
  check(cfg)
  best = max(s.reward for s in samples)
  kept = choose(
    samples,
    rule=cfg.rule,
    threshold=cfg.threshold,
    floor=lowered(cfg, best),
    limit=cfg.limit,
    distinct=cfg.distinct,
  )
  if not kept:
    least = 'floor' if cfg.rule == 'best' else 'threshold'
    raise errors.InputError(
      f'no output reached select.{least}={getattr(cfg, least):g}; the best '
      f'reward was {best:g}. Lower it, draw more (draw.m) or train longer'
    )
  records.write(out / 'trajectories.jsonl', kept)
  inputs = len({s.example_id for s in samples})
  return {
    'expected': len(kept),
    'made': len(kept),
    'of_samples': len(samples),
    'inputs_kept': len({s.example_id for s in kept}),
    'inputs_dropped': inputs - len({s.example_id for s in kept}),
    'mean_reward': sum(s.reward for s in kept) / len(kept),
  }


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
  samples: Sequence[types.Trajectory],
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
  for s in samples:
    of_example[s.example_id].append(s)
  kept = []
  for group in of_example.values():
    group = sorted(group, key=lambda s: s.j)
    least = threshold
    if rule == 'best':
      least = max(floor, max(s.reward for s in group))
    good = [s for s in group if s.reward >= least]
    if distinct:
      good = list({s.text: s for s in reversed(good)}.values())[::-1]
    kept += good[:limit]
  return kept


def least(cfg: config.Select) -> float:
  """The reward below which nothing is kept."""
  return cfg.floor if cfg.rule == 'best' else cfg.threshold


def check(cfg: config.Select) -> None:
  if cfg.rule not in ('threshold', 'best'):
    raise errors.InputError(
      f"select.rule is {cfg.rule!r}; it must be 'threshold' or 'best'"
    )
