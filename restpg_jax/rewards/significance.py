"""Means, standard errors and the paired t-test of Table 1; pure numbers."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from scipy import stats

ALPHA = 0.05  # Table 1's level
SAME = 1e-12  # differences closer than this have no spread to test against

# What is tested, for whoever reads the numbers.
TEST = (
  'Two-tailed paired t-test on examples that both sides answered. Macro: '
  'every example of task k weighs N / (K n_k), so that the mean is the '
  'difference of the macro means; with tasks of one size it is the plain '
  'paired t-test over all examples. Not corrected for the number of tests.'
)


@dataclasses.dataclass(frozen=True)
class Difference:
  """A paired difference; None where the numbers do not define it."""

  n: int  # pairs
  difference: float | None  # mean of a - b
  stderr: float | None  # of that mean; None for a single pair
  t: float | None
  p: float | None  # two-tailed; None for n < 2 or no spread


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
  apart = [x - y for x, y in zip(a, b, strict=True)]
  center, error = mean(apart), stderr(apart)
  if center is None or error is None:
    return Difference(len(apart), center, error, None, None)
  if max(abs(d - center) for d in apart) <= SAME:
    return Difference(len(apart), center, error, None, None)
  test = stats.ttest_rel(a, b)
  return Difference(
    len(apart), center, error, float(test.statistic), float(test.pvalue)
  )


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
