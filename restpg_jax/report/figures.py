"""Writes the report's charts: report/figures/NAME.svg, .png and .csv."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from etils import epath

from restpg_jax.io import records
from restpg_jax.report import charts, plots

INDEX = 'index.json'  # of the folder: what was drawn there
ENDINGS = 'svg', 'png', 'csv'


def write(
  folder: epath.Path, shown: Sequence[charts.Chart]
) -> list[dict[str, Any]]:
  """Writes the files of all charts; returns what the page shows of each.

  {'name', 'section', 'title', 'note', 'svg': for_page's}. A chart that is
  there already is not drawn again, and one that is no longer shown is removed.
  """
  folder.mkdir(parents=True, exist_ok=True)
  index = folder / INDEX
  old = records.read_json(index) if index.exists() else {}
  new = {chart.name: _digest(chart) for chart in shown}
  index.unlink(missing_ok=True)  # a kill must not leave one that is not true
  for name in old.keys() - new.keys():
    for ending in ENDINGS:
      (folder / f'{name}.{ending}').unlink(missing_ok=True)
  figures = [
    {
      'name': chart.name,
      'section': chart.section,
      'title': chart.title,
      'note': chart.note,
      'svg': _svg(folder, chart, old.get(chart.name) == new[chart.name]),
    }
    for chart in shown
  ]
  records.write_json(index, new)
  return figures


def _svg(folder: epath.Path, chart: charts.Chart, drawn: bool) -> str:
  """Returns a chart's SVG for the page; writes its files if not `drawn`."""
  paths = [folder / f'{chart.name}.{ending}' for ending in ENDINGS]
  svg, png, table = paths
  if drawn and all(path.exists() for path in paths):
    return plots.for_page(svg.read_text(), chart.title)
  drawing = plots.draw(chart)
  svg.write_text(drawing.svg)
  png.write_bytes(drawing.png)
  table.write_text(charts.table(chart))
  return plots.for_page(drawing.svg, chart.title)


def _digest(chart: charts.Chart) -> str:
  """Returns what decides a chart's files, in a few characters."""
  meaning = repr((plots.VERSION, dataclasses.astuple(chart)))
  return hashlib.sha256(meaning.encode()).hexdigest()[:16]
