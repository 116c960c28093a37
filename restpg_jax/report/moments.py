"""Adds up values one by one: their mean and its standard error."""

import math

from restpg_jax.report import charts


class Moments:
  """The mean of a stream of values, none of which is kept.

  By Welford's update, which loses nothing where the spread is small.
  """

  def __init__(self):
    self.n, self._mean, self._squares = 0, 0.0, 0.0

  def add(self, value: float) -> None:
    self.n += 1
    apart = value - self._mean
    self._mean += apart / self.n
    self._squares += apart * (value - self._mean)

  @property
  def mean(self) -> float | None:
    return self._mean if self.n else None

  @property
  def stderr(self) -> float | None:
    """0, 0, 1, 1 -> 0.2887; None of fewer than two values."""
    if self.n < 2:
      return None
    return math.sqrt(self._squares / (self.n - 1) / self.n)

  def pair(self) -> list[float | None]:
    """Returns [mean, standard error], as results.json holds them."""
    return [self.mean, self.stderr]


def value_of(pair: list[float | None] | None) -> charts.Value | None:
  """Returns such a pair as a chart takes it; None where there is no mean."""
  if pair is None or pair[0] is None:
    return None
  return charts.Value(pair[0], pair[1])
