"""What a chart of the report shows, as numbers; plots.py draws it."""

import csv
import dataclasses
import io
from collections.abc import Sequence

from restpg_jax.rewards import significance

Z = 1.96  # standard errors of a 95 % interval
# What the intervals of a chart are, for whoever reads it.
INTERVALS = (
  f'Bars: {significance.LEVEL:.0%} intervals, of one run {Z} standard errors '
  "over its examples, of several seeds Student's t over runs; cut where they "
  'leave the chart.'
)
NUMBERS = 'x', 'y', 'low', 'high'  # of a Point, columns of a CSV


@dataclasses.dataclass(frozen=True)
class Point:
  """A value with its interval, if it has one."""

  x: float
  y: float
  low: float | None = None
  high: float | None = None


@dataclasses.dataclass(frozen=True)
class Series:
  """A line, or the bars of one colour."""

  title: str
  points: tuple[Point, ...]
  style: int = 0  # colour, marker and dashes
  paper: bool = False  # the paper's own: it is drawn behind the others


@dataclasses.dataclass(frozen=True)
class Panel:
  """One pair of axes."""

  title: str
  series: tuple[Series, ...]


@dataclasses.dataclass(frozen=True)
class Chart:
  """A figure: panels with the same axes, and what must be said of it."""

  name: str  # of its files
  section: str  # of the page
  title: str
  x: str
  y: str
  panels: tuple[Panel, ...]
  note: str = ''
  bars: bool = False
  doubling: bool = False  # x is 8, 16, 32 ..
  names: tuple[str, ...] = ()  # of x = 0, 1, ..; () where x is a number


@dataclasses.dataclass(frozen=True)
class Value:
  """A run's mean, and its standard error where that is known."""

  mean: float
  stderr: float | None = None


def combine(x: float, runs: Sequence[Value | None]) -> Point | None:
  """Returns the point of one run, or of several seeds; None of no run.

  One run: mean ± 1.96 standard errors; .5, .6, .7: .6 from .352 to .848.
  """
  known = [run for run in runs if run is not None]
  if not known:
    return None
  if len(known) > 1:
    spread = significance.over_runs([run.mean for run in known])
    return Point(x, spread.mean or 0.0, spread.low, spread.high)
  (run,) = known
  if run.stderr is None:
    return Point(x, run.mean)
  half = Z * run.stderr
  return Point(x, run.mean, run.mean - half, run.mean + half)


def known(points: Sequence[Point | None]) -> tuple[Point, ...]:
  """Returns the points that there are."""
  return tuple(point for point in points if point is not None)


def table(chart: Chart) -> str:
  """Returns what a chart shows as CSV, a line a point."""
  text = io.StringIO()
  lines = csv.writer(text, lineterminator='\n')
  lines.writerow(['panel', 'series', *NUMBERS, *['name'] * bool(chart.names)])
  for panel in chart.panels:
    for series in panel.series:
      for point in series.points:
        values = [getattr(point, name) for name in NUMBERS]
        row = ['' if v is None else f'{v:.6g}' for v in values]
        title = f'{series.title} (paper)' if series.paper else series.title
        if chart.names:
          row.append(chart.names[round(point.x)])
        lines.writerow([panel.title, title, *row])
  return text.getvalue()
