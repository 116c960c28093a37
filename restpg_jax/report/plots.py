"""Draws charts by matplotlib, as SVG and PNG: its door.

Always the same bytes for the same chart: no date, fixed salts, no state of
pyplot, and nobody's matplotlibrc.
"""

import dataclasses
import functools
import html
import io
import re
from typing import Any

from restpg_jax import assets
from restpg_jax.report import charts

VERSION = 2  # of the drawings; figures.py draws again what another one drew
WIDTH, PANEL, ROW = 4.4, 2.35, 0.165  # inches; a row of the legend
DOTS = 160  # of a PNG's inch
COLOURS = 8  # --c0 to --c7 of the style sheet
MARKERS, DASHES = 'os^DvPX*', ('-', '--', ':', '-.')
LONG = 26  # characters of a legend's entry of which two do not fit in a line


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A chart as files hold it."""

  svg: str
  png: bytes


def draw(chart: charts.Chart) -> Drawing:
  """Returns the drawing of a chart, in the colours of the light page."""
  # Takes a second to import, which only those that draw need to wait for.
  import matplotlib

  with matplotlib.rc_context():
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(_settings(chart.name))
    figure = _figure(chart)
    svg, png = io.StringIO(), io.BytesIO()
    nothing = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
    figure.savefig(svg, format='svg', metadata=nothing)
    figure.savefig(png, format='png', dpi=DOTS, metadata={'Software': None})
  return Drawing(svg.getvalue(), png.getvalue())


def for_page(svg: str, title: str) -> str:
  """Returns an SVG to stand within a page, in the colours of its style sheet.

  It takes the light page's colours and fonts for those of the page, so that it
  is dark where that is.
  """
  body = svg[svg.index('<svg') :]
  body = re.sub(r'<(metadata|style)\b.*?</\1>', '', body, flags=re.DOTALL)
  body = re.sub(r' clip-path="[^"]*"', '', body)  # nothing goes beyond the axes
  body = re.sub(r'<clipPath.*?</clipPath>', '', body, flags=re.DOTALL)
  referred = {*re.findall(r'href="#([\w-]+)"', body)}
  body = re.sub(
    r' id="([\w-]+)"', lambda m: m[0] if m[1] in referred else '', body
  )
  for name, colour in palette().items():
    body = body.replace(colour, f'var(--{name})')
  body = body.replace("'DejaVu Sans'", 'system-ui')
  box = re.search(r'viewBox="[^"]*"', body)
  head = f'<svg {box[0] if box else ""} role="img" aria-label="{{}}">'
  return head.format(html.escape(title)) + body[body.index('>') + 1 :].strip()


@functools.cache
def palette() -> dict[str, str]:
  """Returns the light page's colours: {'c0': '#77726b', 'line': ..}."""
  css = (assets.HERE / 'style.css').read_text('utf-8')
  light = css.partition('@media')[0]
  return dict(re.findall(r'--(\w+): (#[0-9a-f]{6})', light))


def _settings(salt: str) -> Any:
  """Returns matplotlib's settings: colours of the page, text as text."""
  colour = palette()
  soft, line = colour['soft'], colour['line']
  return {
    'svg.fonttype': 'none',
    'svg.hashsalt': salt,
    'font.family': 'DejaVu Sans',
    'font.size': 8.5,
    'figure.facecolor': colour['card'],
    'axes.facecolor': 'none',
    'axes.edgecolor': line,
    'axes.labelcolor': soft,
    'axes.titlecolor': soft,
    'axes.titlesize': 8.5,
    'axes.titlelocation': 'left',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'axes.unicode_minus': False,
    'grid.color': line,
    'grid.linewidth': 0.6,
    'text.color': soft,
    'xtick.color': soft,
    'ytick.color': soft,
    'xtick.major.size': 0,
    'ytick.major.size': 0,
    'legend.frameon': False,
    'legend.fontsize': 8.5,
    'lines.linewidth': 1.6,
    'lines.markersize': 4.5,
  }


def _figure(chart: charts.Chart) -> Any:
  """Returns matplotlib's figure: panels in one or two columns, a legend."""
  from matplotlib import figure

  columns = min(len(chart.panels), 2)
  rows = -(-len(chart.panels) // columns)
  entries = list(
    dict.fromkeys((s.title, s.paper) for p in chart.panels for s in p.series)
  )
  wide = any(len(title) > LONG for title, _ in entries)
  legend = 1 if wide else 2
  lines = -(-len(entries) // legend) if len(entries) > 1 else 0
  body = PANEL * (rows if columns == 1 else 0.8 * rows)
  foot = 0.42 + ROW * lines + 0.04 * bool(lines)
  drawn = figure.Figure(figsize=(WIDTH, body + foot))
  axes = drawn.subplots(
    rows, columns, squeeze=False, sharex=bool(rows > 1 and not chart.names)
  )
  top = 0.22 if len(chart.panels) > 1 else 0.1
  drawn.subplots_adjust(
    left=0.62 / WIDTH,
    right=1 - 0.1 / WIDTH,
    bottom=foot / (body + foot),
    top=1 - top / (body + foot),
    wspace=0.3,
    hspace=0.32,
  )
  handles = {}
  for panel, pair in zip(chart.panels, axes.flat, strict=False):
    _panel(pair, chart, panel, handles)
  for spare in axes.flat[len(chart.panels) :]:
    spare.set_visible(False)
  drawn.supxlabel(
    chart.x, x=0.55, y=(foot - 0.4) / (body + foot), va='bottom', size=8.5
  )
  middle = (foot + body / 2) / (body + foot)
  drawn.supylabel(chart.y, x=0.02, y=middle, size=8.5)
  if lines:
    drawn.legend(
      [handles[entry] for entry in entries],
      [f'{t}, paper' if paper else t for t, paper in entries],
      loc='lower left',
      bbox_to_anchor=(0.3 / WIDTH, 0),
      ncols=legend,
      borderaxespad=0.1,
      labelspacing=0.25,
      handlelength=2.6,
      columnspacing=1.2,
    )
  return drawn


def _panel(
  axes: Any, chart: charts.Chart, panel: charts.Panel, handles: dict
) -> None:
  """Draws a pair of axes; adds a handle for the legend of each new series."""
  if len(chart.panels) > 1:
    axes.set_title(panel.title, pad=3)
  for n, whole in enumerate(panel.series):
    series, style = _cut(whole, *_bounds(panel)), _style(whole)
    if chart.bars and not series.paper:
      handle = _bars(axes, series, n, len(panel.series), style)
    else:
      level = {'marker': '_', 'markersize': 24} if chart.bars else {}
      handle = _line(axes, series, style, level)
    handles.setdefault((series.title, series.paper), handle)
  xs = sorted({p.x for s in panel.series for p in s.points})
  if chart.doubling:
    axes.set_xscale('log', base=2)
  if chart.names:
    turned = max(map(len, chart.names)) * len(chart.names) > 42
    axes.set_xticks(
      range(len(chart.names)),
      chart.names,
      rotation=20 * turned,
      ha='right' if turned else 'center',
    )
  elif len(xs) <= 8:
    axes.set_xticks(xs, [f'{x:g}' for x in xs])
    axes.minorticks_off()
  if chart.bars:
    axes.grid(axis='x', visible=False)
  axes.margins(x=0.04)


def _bounds(panel: charts.Panel) -> tuple[float, float]:
  """Returns how far intervals are drawn, or two seeds would flatten the rest.

  Values from 0.4 to 0.6: from 0.1 to 0.9.
  """
  ys = [point.y for series in panel.series for point in series.points]
  low, high = min(ys, default=0.0), max(ys, default=0.0)
  room = 1.5 * max(high - low, 0.1 * abs(high))
  return low - room, high + room


def _cut(series: charts.Series, low: float, high: float) -> charts.Series:
  """Returns a series whose intervals end at these bounds."""
  points = tuple(
    p
    if p.low is None or p.high is None
    else dataclasses.replace(p, low=max(p.low, low), high=min(p.high, high))
    for p in series.points
  )
  return dataclasses.replace(series, points=points)


def _style(series: charts.Series) -> dict[str, Any]:
  colour = palette()[f'c{series.style % COLOURS}']
  return {
    'color': colour,
    'linestyle': DASHES[series.style // COLOURS % len(DASHES)],
    'marker': MARKERS[series.style % len(MARKERS)],
  }


def _line(
  axes: Any,
  series: charts.Series,
  style: dict[str, Any],
  level: dict[str, Any],
) -> Any:
  """Draws points, a line through them, and their intervals.

  The paper's are a broad pale line or, with `level`, marks among bars.
  """
  xs, ys = [p.x for p in series.points], [p.y for p in series.points]
  if series.paper:
    behind = {'alpha': 0.35, 'linewidth': 3.5, 'zorder': 1, 'marker': ''}
    if level:
      behind = {'linestyle': '', 'markeredgewidth': 3, 'zorder': 4, **level}
    return axes.plot(xs, ys, **{**style, **behind})[0]
  if len(xs) > 40:
    style = {**style, 'marker': '', 'linewidth': 1.1}
  known = [p for p in series.points if p.low is not None]
  axes.vlines(
    [p.x for p in known],
    [p.low for p in known],
    [p.high for p in known],
    color=style['color'],
    linewidth=1,
    alpha=0.6,
  )
  return axes.plot(xs, ys, **style, zorder=3)[0]


def _bars(
  axes: Any, series: charts.Series, n: int, count: int, style: dict[str, Any]
) -> Any:
  """Draws bars with their intervals, beside those of the other series."""
  width = 0.8 / count
  xs = [p.x - 0.4 + width * (n + 0.5) for p in series.points]
  bars = axes.bar(
    xs,
    [p.y for p in series.points],
    width=width * 0.92,
    color=style['color'],
    alpha=0.85,
    linestyle='',
  )
  known = [
    (x, p) for x, p in zip(xs, series.points, strict=True) if p.low is not None
  ]
  axes.vlines(
    [x for x, _ in known],
    [p.low for _, p in known],
    [p.high for _, p in known],
    color=palette()['soft'],
    linewidth=1,
  )
  return bars
