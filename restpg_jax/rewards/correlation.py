"""Computes correlations and shares with their intervals; pure numbers."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from restpg_jax.rewards import significance


@dataclasses.dataclass(frozen=True)
class Correlation:
  """A correlation of n pairs; None where the numbers do not define it."""

  n: int
  r: float | None
  low: float | None = None  # an interval at LEVEL, by Fisher's transformation
  high: float | None = None


@dataclasses.dataclass(frozen=True)
class Share:
  """A share of n trials; None of no trial."""

  n: int
  share: float | None
  low: float | None = None  # an interval at LEVEL, Wilson's
  high: float | None = None


def pearson(a: Sequence[float], b: Sequence[float]) -> Correlation:
  """Returns Pearson's r, without an interval for fewer than four pairs."""
  if not (_varies(a) and _varies(b)):
    return Correlation(len(a), None)
  result = stats.pearsonr(a, b)
  r = float(np.asarray(result)[0])
  if len(a) < 4:
    return Correlation(len(a), r)
  low, high = result.confidence_interval(significance.LEVEL)
  return Correlation(len(a), r, float(low), float(high))


def spearman(a: Sequence[float], b: Sequence[float]) -> Correlation:
  """Returns Pearson's r of the ranks; equal values share their mean rank."""
  return pearson(stats.rankdata(a).tolist(), stats.rankdata(b).tolist())


def partial(
  a: Sequence[float], b: Sequence[float], given: Sequence[float]
) -> float | None:
  """Returns the correlation of a and b that `given` does not explain.

  (r_ab - r_ag r_bg) / sqrt((1 - r_ag^2) (1 - r_bg^2)); None where one of the
  three is constant, or `given` explains one of the others wholly.
  """
  r_ab, r_ag, r_bg = (pearson(*p).r for p in ((a, b), (a, given), (b, given)))
  if r_ab is None or r_ag is None or r_bg is None:
    return None
  left = (1 - r_ag**2) * (1 - r_bg**2)
  return (r_ab - r_ag * r_bg) / math.sqrt(left) if left > 1e-12 else None


def of_choices(differences: Sequence[float], choices: Sequence[int]) -> float:
  """Returns the correlation of score differences with choices, +1 or -1.

  Each pair counts both ways round, so that it does not matter which text stood
  first: r = sum(d c) / sqrt(sum(d^2) sum(c^2)). Where all differences are of
  one size that is 2 * agreement - 1.

  0.6 0.6 0.6 -0.6, +1 +1 +1 +1  ->  0.5
  """
  d, c = np.asarray(differences), np.asarray(choices)
  return float(d @ c / math.sqrt((d @ d) * (c @ c)))


def share(hits: int, n: int) -> Share:
  """Returns hits / n with Wilson's interval: 73 of 100, .636 to .807."""
  if not n:
    return Share(0, None)
  low, high = stats.binomtest(hits, n).proportion_ci(
    significance.LEVEL, method='wilson'
  )
  return Share(n, hits / n, float(low), float(high))


def _varies(values: Sequence[float]) -> bool:
  """Returns whether there are two values that differ by more than rounding."""
  return len(values) > 1 and max(values) - min(values) > 1e-12
