"""Which outputs are good enough to learn from (section 3.2)."""

import collections
import math
from collections.abc import Sequence

from restpg_jax import config, errors, types

HIGHEST = 1.0  # of all rewards, see types.Trajectory


def keep_best(
  scored: Sequence[types.Trajectory],
  *,
  rule: str,
  threshold: float,
  floor: float,
  limit: int,
  distinct: bool,
) -> list[types.Trajectory]:
  """Returns the first `limit` good samples of each example by sample index.

  rewards of j = 0..3: .4 .9 1. .9, rule 'threshold', threshold .9, limit 2
    -> j = 1, 2
  the same, rule 'best' (the input's best reward, if at least `floor`)
    -> j = 2
  """
  by_example = collections.defaultdict(list)
  for s in scored:
    by_example[s.example_id].append(s)
  kept = []
  for group in by_example.values():
    group = sorted(group, key=lambda s: s.j)
    bar = threshold
    if rule == 'best':
      bar = max(floor, max(s.reward for s in group))
    good = [s for s in group if s.reward >= bar]
    if distinct:
      good = first_of_each_text(good)
    # Samples are i.i.d.: the first are distributed as any others, and are known
    # before all are drawn (settled_examples).
    kept += good[:limit]
  return kept


def settled_examples(
  scored: Sequence[types.Trajectory], settings: config.Select
) -> frozenset[str]:
  """Returns the examples of which later samples cannot change what is kept.

  They have `limit` outputs that will stay: good ones by 'threshold'; by 'best'
  only those of the highest reward there is, as a better one raises the bar.

  rewards of j = 0..2: .4 1. .9, limit 2  ->  by 'threshold' .9, not by 'best'
  and a j = 3 with 1.                     ->  by either
  """
  kept = keep_best(
    scored,
    rule='threshold',
    threshold=HIGHEST if settings.rule == 'best' else settings.threshold,
    floor=settings.floor,
    limit=settings.limit,
    distinct=settings.distinct,
  )
  count = collections.Counter(s.example_id for s in kept)
  return frozenset(e for e, n in count.items() if n == settings.limit)


def first_of_each_text(
  samples: Sequence[types.Trajectory],
) -> list[types.Trajectory]:
  """Returns the first sample of each text, in their order: a b a  ->  a b."""
  by_text = {}
  for s in samples:
    by_text.setdefault(s.text, s)
  return list(by_text.values())


def lowest_kept(settings: config.Select) -> float:
  """Returns the reward below which nothing is kept."""
  return settings.floor if settings.rule == 'best' else settings.threshold


def check_select(settings: config.Select) -> None:
  """Raises InputError for settings by which nothing could ever be kept."""
  if settings.rule not in ('threshold', 'best'):
    raise errors.InputError(
      f"select.rule is {settings.rule!r}; it must be 'threshold' or 'best'"
    )
  if settings.rule == 'threshold' and not settings.threshold <= HIGHEST:
    raise errors.InputError(
      f'select.threshold is {settings.threshold:g}; '
      f'no reward is above {HIGHEST:g}'
    )
  if math.isnan(settings.floor):
    raise errors.InputError('select.floor is nan; it must be a number')
