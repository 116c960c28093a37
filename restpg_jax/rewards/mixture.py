"""Which rewards a run asks, and the share that each has in the whole."""

import math

from restpg_jax import config, errors

MIX = 'mix'
PARTS = 'rouge', 'cosine', 'judge'  # the judge is slow: it is asked last


def shares(settings: config.Reward) -> dict[str, float]:
  """Returns the share of each reward in their weighted mean; they add up to 1.

  name='rouge'                              ->  {'rouge': 1.0}
  name='mix', mix=('judge:3', 'rouge:1')    ->  {'rouge': 0.25, 'judge': 0.75}

  Raises InputError for a mixture that cannot be read.
  """
  if settings.name != MIX:
    return {settings.name: 1.0}
  weights = dict(map(_part, settings.mix))
  if len(weights) < len(settings.mix):
    raise _error(settings.mix, 'names a reward twice')
  if not weights:
    raise _error(settings.mix, 'is empty')
  total = sum(weights.values())
  return {name: weights[name] / total for name in PARTS if name in weights}


def check(settings: config.Reward) -> None:
  """Raises InputError for a mixture that cannot be read."""
  shares(settings)


def asks(settings: config.Reward, name: str) -> bool:
  """Returns whether this reward is the run's, or has a share in it."""
  if settings.name != MIX:
    return settings.name == name
  return any(part.startswith(f'{name}:') for part in settings.mix)


def _part(text: str) -> tuple[str, float]:
  """'judge:0.5' -> ('judge', 0.5)."""
  name, _, number = text.partition(':')
  if name not in PARTS:
    raise _error(text, f'names no reward of {", ".join(sorted(PARTS))}')
  try:
    weight = float(number)
  except ValueError:
    raise _error(text, 'has no weight') from None
  if not 0 < weight < math.inf:
    raise _error(text, 'has a weight that is not above 0')
  return name, weight


def _error(value: object, fault: str) -> errors.InputError:
  return errors.InputError(
    f"reward.mix: {value!r} {fault}; write NAME:WEIGHT, as in ('judge:0.7', "
    "'rouge:0.3'), beside reward.name='mix'"
  )
