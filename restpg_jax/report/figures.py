"""Computes the report's charts, as coordinates that its template draws."""

import math
from typing import Any

from restpg_jax.report import tables


def chart(
  results: dict[str, Any], measure: str, title: str
) -> dict[str, Any] | None:
  """Returns macro `measure` by iteration, as points of a 520 x 240 box.

  Returns None where there is nothing to draw: no iterations, or a measure that
  no method has.
  """
  series = {
    m: [
      (i['t'], i['macro'][measure], i['macro'].get(f'{measure}_stderr'))
      for i in numbers['iterations']
      if i['macro'][measure] is not None
    ]
    for m, numbers in results['methods'].items()
  }
  series = {m: points for m, points in series.items() if points}
  end = max((t for points in series.values() for t, *_ in points), default=0)
  if not end:
    return None
  ends = [
    v + sign * (error or 0)
    for points in series.values()
    for _, v, error in points
    for sign in (-1, 1)
  ]
  ticks = _ticks(min(ends), max(ends))
  digits = 2 if ticks[1] - ticks[0] > 0.009 else 3

  # Within the box: 46 units at the left hold the labels of y, 34 at the bottom
  # those of x.
  def x(t: float) -> float:
    return round(46 + 454 * t / end, 1)

  def y(value: float) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return round(206 - 190 * share, 1)

  order = list(results['methods'])
  return {
    'title': title,
    'xs': [{'x': x(t), 'label': str(t)} for t in range(end + 1)],
    'ys': [{'y': y(v), 'label': tables.number(v, digits)} for v in ticks],
    'lines': [
      {
        'title': tables.title(m),
        'kind': order.index(m) % 4,
        'dash': 3 * (order.index(m) // 4),  # kinds come again, dashed
        'level': len(points) == 1,
        'points': [
          {
            'x': x(t),
            'y': y(v),
            'low': y(v - (error or 0)),
            'high': y(v + (error or 0)),
            'label': f'{tables.title(m)}, iteration {t}: {v:.4f}',
          }
          for t, v, error in points
        ],
      }
      for m, points in series.items()
    ],
  }


def _ticks(low: float, high: float) -> list[float]:
  """Returns round values that enclose [low, high], at most seven."""
  spread = max(high - low, 0.02)  # equal values are drawn as a level line
  step = next(
    s
    for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 10, 100, 1e9)
    if spread <= 5 * s
  )
  first, last = math.floor(low / step), math.ceil(high / step)
  return [i * step for i in range(first, max(last, first + 1) + 1)]
