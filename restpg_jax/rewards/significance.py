"""Means, the paired tests of Table 1, and intervals; pure numbers."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

ALPHA = 0.05  # Table 1's level
LEVEL = 1 - ALPHA  # of intervals
RESAMPLES = 1000  # of a bootstrap; as Koehn (2004), who brought it to texts
SAME = 1e-12  # differences closer than this have no spread to test against

# What is tested, for whoever reads the numbers.
TEST = (
  'Two-tailed paired t-test on examples that both sides answered. Macro: '
  'every example of task k weighs N / (K n_k), so that the mean is the '
  'difference of the macro means; with tasks of one size it is the plain '
  'paired t-test over all examples. Not corrected for the number of tests. In '
  f'brackets: the {LEVEL:.0%} interval of a paired bootstrap within each task '
  f'({RESAMPLES:,} resamples, percentiles). d: the effect size for pairs, '
  'which is the mean difference divided by the standard deviation of the '
  'differences.'
)
# The same for several seeds.
OVER_SEEDS = (
  'The unit is a run: its mean over test examples. Intervals are '
  f"{LEVEL:.0%} by Student's t over runs; the test is the two-tailed paired "
  't-test over the seeds that both methods have. A percentage is the mean '
  "difference divided by the second method's mean."
)


@dataclasses.dataclass(frozen=True)
class Difference:
  """A paired difference; None where the numbers do not define it."""

  n: int  # pairs
  difference: float | None  # mean of a - b
  stderr: float | None  # of that mean; None for a single pair
  t: float | None
  p: float | None  # two-tailed; None for n < 2 or no spread
  d: float | None  # Cohen's d of pairs; None where there is no p
  relative: float | None  # difference / mean of b
  low: float | None = None  # an interval of the difference at LEVEL
  high: float | None = None


@dataclasses.dataclass(frozen=True)
class Spread:
  """A mean of runs; None where the numbers do not define it."""

  n: int  # runs
  mean: float | None
  stderr: float | None  # None of a single run
  low: float | None  # an interval of the mean at LEVEL
  high: float | None


def mean(values: Sequence[float]) -> float | None:
  """Returns the mean, bit-identical in any order of values; None of nothing."""
  return math.fsum(values) / len(values) if values else None


def stderr(values: Sequence[float]) -> float | None:
  """Returns the mean's standard error: 0, 0, 1, 1 -> sqrt(1/3 / 4) = 0.2887.

  None of fewer than two values.
  """
  center = mean(values)
  if center is None or len(values) < 2:
    return None
  squares = math.fsum((v - center) ** 2 for v in values)
  return math.sqrt(squares / (len(values) - 1) / len(values))


def macro_stderr(stderrs: Sequence[float | None]) -> float | None:
  """Returns the standard error of the unweighted mean of independent means.

  .3, .4 -> .5 / 2 = .25; None where one of them is None.
  """
  known = [s for s in stderrs if s is not None]
  if not known or len(known) < len(stderrs):
    return None
  return math.sqrt(math.fsum(s * s for s in known)) / len(known)


def paired(a: Sequence[float], b: Sequence[float]) -> Difference:
  """Tests mean(a - b) = 0; a and b hold the same examples in one order."""
  apart = differences(a, b)
  center, error, base = mean(apart), stderr(apart), mean(b)
  relative = center / base if center is not None and base else None
  if error is None or not _spread(apart):
    return Difference(len(apart), center, error, None, None, None, relative)
  test = stats.ttest_rel(a, b)
  t = float(test.statistic)
  # d_z = t / sqrt(n): Lakens (2013); SciPy has no effect sizes.
  d = t / math.sqrt(len(apart))
  return Difference(
    len(apart), center, error, t, float(test.pvalue), d, relative
  )


def differences(a: Sequence[float], b: Sequence[float]) -> list[float]:
  """Returns a - b, pair by pair."""
  return [x - y for x, y in zip(a, b, strict=True)]


def paired_macro(
  a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]]
) -> Difference:
  """Tests as `paired` over all tasks, every task with the same total weight.

  n = 1 and 3 examples: weights 4 / (2 * 1) = 2 and 4 / (2 * 3) = 2/3.
  The spread between the tasks counts as spread, which makes the test a
  little shy where tasks differ much. Tasks without examples are left out.
  """
  tasks = [task for task in a if a[task]]
  total = sum(len(a[task]) for task in tasks)
  weight = {task: total / len(tasks) / len(a[task]) for task in tasks}
  return paired(
    *(
      [weight[task] * v for task in tasks for v in side[task]]
      for side in (a, b)
    )
  )


def bootstrap(
  apart: Mapping[str, Sequence[float]], means: Mapping[str, Sequence[str]]
) -> dict[str, tuple[float, float]]:
  """Returns intervals at LEVEL of means over tasks of mean differences.

  apart: the differences of the pairs of each task; means: the tasks of each
  mean. Examples are resampled within their tasks, so that each task keeps its
  weight. A task with fewer than two pairs has no interval, nor has a mean over
  it:

  {'x': [.1, .3, ..], 'y': [.2]}, {'x': ['x'], 'macro': ['x', 'y']}
    ->  {'x': (.15, .25)}
  """
  tasks = [task for task, values in apart.items() if len(values) > 1]
  names = [name for name, over in means.items() if {*over} <= {*tasks}]
  if not names:
    return {}

  def statistic(*samples: np.ndarray, axis: int) -> np.ndarray:
    by_task = {
      t: s.mean(axis=axis) for t, s in zip(tasks, samples, strict=True)
    }
    return np.stack([np.mean([by_task[t] for t in means[n]], 0) for n in names])

  ends = stats.bootstrap(
    [apart[task] for task in tasks],
    statistic,
    n_resamples=RESAMPLES,
    batch=50,  # bounds the memory: 50 copies of all differences
    vectorized=True,
    confidence_level=LEVEL,
    method='percentile',  # BCa's jackknife is quadratic in the examples
    rng=np.random.default_rng(0),  # the same report each time
  ).confidence_interval
  pairs = zip(ends.low.tolist(), ends.high.tolist(), strict=True)
  return dict(zip(names, pairs, strict=True))


def over_runs(values: Sequence[float]) -> Spread:
  """Returns the mean of several runs and its interval by Student's t.

  .5, .6, .7  ->  .6 +- 4.303 * .0577, from .352 to .848
  """
  return Spread(len(values), mean(values), stderr(values), *_t_interval(values))


def paired_runs(a: Sequence[float], b: Sequence[float]) -> Difference:
  """Tests as `paired`, where a pair is two runs; with an interval by t."""
  low, high = _t_interval(differences(a, b))
  return dataclasses.replace(paired(a, b), low=low, high=high)


def _t_interval(
  values: Sequence[float],
) -> tuple[float, float] | tuple[None, None]:
  """Returns the interval of a mean; (None, None) of values without spread."""
  if len(values) < 2 or not _spread(values):
    return None, None
  low, high = stats.t.interval(
    LEVEL, len(values) - 1, loc=mean(values), scale=stderr(values)
  )
  return float(low), float(high)


def _spread(values: Sequence[float]) -> bool:
  """Returns whether values differ by more than rounding."""
  center = mean(values)
  return center is not None and max(abs(v - center) for v in values) > SAME
