"""Renders what a person opens: report.md and the page index.html."""

import base64
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from restpg_jax import paper
from restpg_jax.io import pages
from restpg_jax.report import (
  costs,
  data_table,
  goodput,
  ledger,
  samples,
  stat_tables,
  tables,
)

# The sample browser's, in the order in which a browser reads them.
SCRIPTS = 'texts.js', 'marks.js', 'list.js', 'browser.js'
# Sections of the page by id, those that it has.
SECTIONS = {
  'results': 'Table 1',
  'figures': 'Figures',
  'seeds': 'Seeds',
  'validation': 'Table 3',
  'e_steps': 'E-steps',
  'browser': 'Samples',
  'metrics': 'Text metrics',
  'outputs': 'Outputs',
  'training': 'Training',
  'cost': 'Cost',
  'speed': 'Speed',
  'goodput': 'Goodput',
  'data': 'Table 2',
  'notes': 'Notes',
  'ledger': 'Reading the paper',
  'details': 'Details',
}
# Headings of the paper's numbers.
PAPER_COLUMNS = {
  **paper.TASK_TITLES,
  'macro': 'macro 4',
  'macro_public': 'macro 3',
}
FOLDER = pathlib.Path(__file__).with_name('templates')


def markdown(results: dict[str, Any]) -> str:
  """Returns report.md."""
  return _render('report.md.j2', results, escape=False)


def report_page(
  results: dict[str, Any],
  shown: samples.Packed,
  drawn: Sequence[dict[str, Any]] = (),
) -> str:
  """Returns index.html: one file, nothing loaded from elsewhere.

  `drawn` is what figures.write returns.

  Texts of users and models enter inside script elements that no browser
  executes, as JSON and as base64, and reach the page as textContent only.
  """
  script = ''.join((FOLDER / name).read_text('utf-8') for name in SCRIPTS)
  style = (FOLDER / 'browser.css').read_text('utf-8')
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
  sections = _by_section(drawn)
  return _render(
    'index.html.j2',
    results,
    escape=True,
    sections=[*_titles(results, sections)],
    style=pages.style() + pages.trusted(style),
    script=pages.trusted(script),
    script_hash=digest.decode(),
    samples=pages.trusted(script_json(shown.index)),
    texts=shown.blocks,
    views={view['key']: view for view in shown.index['views']},
    figures=sections,
    characters=samples.CHARACTERS,
  )


def script_json(value: Any) -> str:
  """Returns strict ASCII JSON that cannot end its script element."""
  text = json.dumps(value, ensure_ascii=True, allow_nan=False)
  for character in '<>&':
    text = text.replace(character, f'\\u{ord(character):04x}')
  return text


def _titles(
  results: dict[str, Any], figures: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
  """Yields the id and the title of each section that the page has."""
  lacks = {
    'figures': 'experiments' not in figures,
    'seeds': not results['seeds']['groups'],
    'validation': not stat_tables.validation(results)['rows'],
    'e_steps': 'e_steps' not in figures,
    'metrics': not tables.metrics_of(results),
    'outputs': 'outputs' not in figures,
    'training': 'training' not in figures,
    'speed': not results['speed'],
    'data': not results['data']['tasks'],
  }
  for name, title in SECTIONS.items():
    if not lacks.get(name):
      yield name, title


def _by_section(
  drawn: Sequence[dict[str, Any]],
) -> dict[str, list[dict[str, Any]]]:
  """Returns the figures of each section, their SVG as trusted markup."""
  sections: dict[str, list[dict[str, Any]]] = {}
  for figure in drawn:
    own = figure | {'svg': pages.trusted(figure['svg'])}
    sections.setdefault(figure['section'], []).append(own)
  return sections


def _render(
  name: str, results: dict[str, Any], *, escape: bool, **more: Any
) -> str:
  return pages.render(
    FOLDER / name,
    escape=escape,
    filters={
      'number': tables.number,
      'seconds': tables.seconds,
      'p_value': tables.p_value,
      'difference': stat_tables.difference,
      'interval': stat_tables.interval,
      'method': tables.title,
    },
    results=results,
    rows=tables.method_rows(results),
    columns=tables.columns(results),
    metrics=tables.metrics(results, tables.macros(results)),
    metrics_by_task=tables.metrics(results, tables.titles_of(results)),
    iterations=tables.iterations(results),
    gains=tables.gains(results),
    validation=stat_tables.validation(results),
    pairs=stat_tables.pairs(results),
    seeds=stat_tables.seeds(results),
    speed=tables.speed_rows(results),
    goodput=goodput.table(results),
    cost=costs.tables_of(results),
    inconsistent=paper.INCONSISTENT.values(),
    data=data_table.table(results['data']),
    ledger=ledger.rows(results['config'].values()),
    titles=paper.TITLES,
    beside=functools.partial(tables.beside, results),
    column_titles=tables.column_titles(results),
    macro=tables.macros(results)['macro'],
    paper_columns=PAPER_COLUMNS,
    config=json.dumps(results['config'], indent=2, ensure_ascii=False),
    **more,
  )
