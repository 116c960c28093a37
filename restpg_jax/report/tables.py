"""Turns results.json into rows and lines, for text, Markdown and HTML."""

import textwrap
from collections.abc import Sequence
from typing import Any

from restpg_jax import paper, types
from restpg_jax.io import speed
from restpg_jax.rewards import significance

METRIC_TITLES = {
  'rouge1': 'ROUGE-1',
  'rouge2': 'ROUGE-2',
  'rougeL': 'ROUGE-L',
  'rougeLsum': 'ROUGE-Lsum',
  'bleu': 'BLEU',
  'corpus_bleu': 'BLEU/corpus',
  'meteor': 'METEOR',
  'cosine': 'cosine',
  'judge': 'judge',
}


def title(label: str) -> str:
  """Returns a label as tables print it.

  'rest_pg (seed 1)' -> 'REST-PG (seed 1)'
  """
  name, space, own = label.partition(' ')
  return f'{paper.TITLES.get(name, name)}{space}{own}'


def text_tables(results: dict[str, Any], over_seeds: Sequence[str]) -> str:
  """Returns the tables as plain text, with what they measure.

  `over_seeds` are the lines of one more (stat_tables.seed_lines).
  """
  lines = grid(
    ['  method', *columns(results)],
    [
      [f'{r["number"]} {r["method"]}', *map(plain, r['cells'])]
      for r in method_rows(results)
    ],
  )
  measured = metrics(results, macros(results))
  if measured['rows']:
    lines += [
      '',
      *grid(
        ['  method', 'over', *measured['columns']],
        [
          [f'{r["number"]} {r["method"]}', r['over'], *map(plain, r['cells'])]
          for r in measured['rows']
        ],
      ),
    ]
  lines += ['', *over_seeds] if over_seeds else []
  lines += ['', *gains(results)] if gains(results) else []
  sentences = [*results['about'], *results['notes']]
  return '\n'.join([*lines, '', *(textwrap.fill(t, 80) for t in sentences)])


def method_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
  """Returns a row a method: number, names, cells {value, stderr, marks}.

  marks: as in Table 1, the numbers of the rows that this one beats with p <
  0.05: '1,2'.
  """
  rows, order = [], list(results['methods'])
  pairs = results['significance']['methods']
  for method, numbers in results['methods'].items():
    cells = [
      cell(numbers, column, 'reward')
      | {'marks': marks(pairs, order, method, column)}
      for column in column_titles(results)
    ]
    if has_truth(results):
      beaten = marks(pairs, order, method, 'macro', 'true_score')
      cells.append(cell(numbers, 'macro', 'true_score') | {'marks': beaten})
    rows.append(row(results, method) | {'cells': cells})
  return rows


def columns(results: dict[str, Any]) -> list[str]:
  """Returns the headings of the cells in `method_rows`."""
  return [*column_titles(results).values(), *['true'] * has_truth(results)]


def column_titles(results: dict[str, Any]) -> dict[str, str]:
  """Returns the title of each column of scores: tasks, then macros.

  {'topic_writing': 'topic', .., 'macro': 'macro 4', 'macro_public': 'macro 3'}
  """
  return titles_of(results) | macros(results)


def macros(results: dict[str, Any]) -> dict[str, str]:
  """Returns titles of the means over all tasks, and over all but e-mail."""
  tasks = tasks_of(results)
  titles = {'macro': f'macro {len(tasks)}'}
  if types.EMAIL in tasks and len(tasks) > 1:
    titles['macro_public'] = f'macro {len(tasks) - 1}'
  return titles


def metrics(results: dict[str, Any], over: dict[str, str]) -> dict[str, Any]:
  """Returns the text metrics at the last iterations, {columns, rows}.

  There is a row for each method and each task or macro of `over` ({key:
  title}), and none where nothing was measured.
  """
  names = metrics_of(results)
  rows = [
    row(results, method)
    | {
      'over': title,
      'cells': [cell(numbers, column, name) for name in names],
    }
    for method, numbers in results['methods'].items()
    for column, title in over.items()
  ]
  return {
    'columns': [METRIC_TITLES[name] for name in names],
    'rows': rows if names else [],
  }


def iterations(results: dict[str, Any]) -> dict[str, Any]:
  """Returns the macros of every iteration, with reward and true score."""
  names = ['reward', *['true_score'] * has_truth(results)]
  names += metrics_of(results)
  titles = {'reward': 'reward', 'true_score': 'true', **METRIC_TITLES}
  rows = [
    row(results, method)
    | {
      't': iteration['t'],
      'over': title,
      'cells': [cell(iteration, column, name) for name in names],
    }
    for method, numbers in results['methods'].items()
    for iteration in numbers['iterations']
    for column, title in macros(results).items()
  ]
  return {'columns': [titles[name] for name in names], 'rows': rows}


def row(results: dict[str, Any], method: str) -> dict[str, Any]:
  """Returns what a method's row begins with."""
  return {
    'number': 1 + list(results['methods']).index(method),
    'method': method,
    'title': title(method),
    't': results['methods'][method]['iterations'][-1]['t'],
  }


def beside(
  results: dict[str, Any], method: str, split: str
) -> list[float | None]:
  """Returns the paper's numbers for a method's cells; None where it has none.

  `method` is a label: of 'rest_pg (seed 1)' they are REST-PG's.
  """
  name = method.partition(' ')[0]
  numbers = results['paper'][split].get(name, {})
  own = [numbers.get(column) for column in column_titles(results)]
  return own + [None] * has_truth(results)


def cell(numbers: dict[str, Any], column: str, name: str) -> dict[str, Any]:
  """Returns one score of a task or macro; None for what a method lacks."""
  means = numbers['tasks'].get(column) or numbers.get(column) or {}
  return {
    'value': means.get(name),
    'stderr': means.get(f'{name}_stderr'),
    'marks': '',
  }


SPEED = {  # columns of `speed_rows`, and how each writes its number
  'items': lambda row: f'{row["items"]:,}',
  'time': lambda row: seconds(row['seconds']),
  'items/s': lambda row: rate(row['items_per_s']),
  'tokens/s': lambda row: rate(row['tokens_per_s']),
  'slots busy': lambda row: percent(row['occupancy']),
  'accepted': lambda row: percent(row['accepted']),
  'saved': lambda row: '-' if row['saved'] is None else f'{row["saved"]:,}',
}


def speed_rows(results: dict[str, Any]) -> dict[str, Any]:
  """Returns the table of speeds: columns, rows {method, stage, cells}, a note.

  A column in which no row has a number is left out. A method's title stands in
  its first row only.
  """
  cells = {
    name: [write(row) for row in results['speed']]
    for name, write in SPEED.items()
  }
  cells = {name: column for name, column in cells.items() if {*column} - {'-'}}
  rows, last = [], None
  for n, row in enumerate(results['speed']):
    method = row['method'] if row['method'] != last else ''
    last = row['method']
    rows.append(
      {
        'method': title(method),
        'stage': row['stage'],
        'cells': [column[n] for column in cells.values()],
      }
    )
  return {'columns': list(cells), 'rows': rows, 'note': _bars(results['speed'])}


def _bars(rows: list[dict[str, Any]]) -> str:
  """Says what `accepted` means in these rows; '' where no row has it."""
  bars = sorted({r['accept'] for r in rows if r['accepted'] is not None})
  if not bars:
    return ''
  return (
    'Accepted: share of samples with a reward of at least '
    f'{" or ".join(f"{bar:g}" for bar in bars)}, as the E-step asks for.'
  )


def gains(results: dict[str, Any]) -> list[str]:
  """Compares last iteration and iteration 0: a line a method and measure."""
  lines = []
  for gain in results['significance']['iterations']:
    for measure in ('reward', 'true_score'):
      if gain[measure]:
        lines.append(_gain(gain, measure, gain[measure]['macro']))
  return lines


def _gain(gain: dict[str, Any], measure: str, macro: dict[str, Any]) -> str:
  tasks = sum(task in types.EVERY_TASK for task in gain[measure])
  line = (
    f'{gain["method"]}, {measure.replace("_", " ")}, macro {tasks}, iteration '
    f'{gain["from"]} -> {gain["to"]}: {macro["difference"]:+.3f}'
  )
  if macro['p'] is None:
    return f'{line} (paired difference, n={macro["n"]}; no test possible)'
  return (
    f'{line} +- {macro["stderr"]:.3f} (paired difference and its standard '
    f'error, n={macro["n"]}, {p_value(macro["p"])})'
  )


def p_value(p: float | None) -> str:
  """Writes p=0.031, p<0.0001, or a dash where no test was possible."""
  if p is None:
    return '-'
  return 'p<0.0001' if p < 1e-4 else f'p={p:.2g}'


def tasks_of(results: dict[str, Any]) -> list[str]:
  """Returns the tasks that some method has."""
  scored = {t for m in results['methods'].values() for t in m['tasks']}
  return [task for task in types.EVERY_TASK if task in scored]


def titles_of(results: dict[str, Any]) -> dict[str, str]:
  """Returns the titles of those tasks."""
  return {task: paper.TASK_TITLES.get(task, task) for task in tasks_of(results)}


def metrics_of(results: dict[str, Any]) -> list[str]:
  """Returns the metrics that were measured of some method's answers."""
  measured = [
    iteration['macro']
    for numbers in results['methods'].values()
    for iteration in numbers['iterations']
  ]
  return [
    name
    for name in METRIC_TITLES
    if any(macro.get(name) is not None for macro in measured)
  ]


def has_truth(results: dict[str, Any]) -> bool:
  """Says whether the true score is known: users were synthetic."""
  return any(
    numbers['macro']['true_score'] is not None
    for numbers in results['methods'].values()
  )


def marks(
  pairs: Sequence[dict[str, Any]],
  order: Sequence[str],
  method: str,
  column: str,
  score: str = 'reward',
) -> str:
  """Returns the rows, from 1, of the methods that this one beats in a column.

  pairs: {'a', 'b', score: {column: a Difference}}; order: the methods' rows.
  """
  beaten = set()
  for pair in pairs:
    test = (pair[score] or {}).get(column)
    if not test or test['p'] is None or test['p'] >= significance.ALPHA:
      continue
    better, worse = pair['a'], pair['b']
    if test['difference'] < 0:
      better, worse = worse, better
    if better == method:
      beaten.add(worse)
  return ','.join(str(n) for n, m in enumerate(order, 1) if m in beaten)


def grid(head: list[str], rows: list[list[str]]) -> list[str]:
  """Returns lines in which each column has one width."""
  widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
  return [
    '  '.join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
    for row in (head, *rows)
  ]


def plain(cell: dict[str, Any]) -> str:
  """Writes '0.812^1,2', for terminals."""
  return number(cell['value'], 3) + (
    f'^{cell["marks"]}' if cell['marks'] else ''
  )


def number(value: float | None, digits: int = 4) -> str:
  """Writes a fixed number of digits; a dash for what is not known."""
  return '-' if value is None else f'{value:.{digits}f}'


def rate(value: float | None) -> str:
  """Writes 0.123, 8 or 12,346; a dash for what is not known."""
  return '-' if value is None else speed.short(value)


def percent(value: float | None) -> str:
  """Writes 0.314 as '31%'; a dash for what is not known."""
  return '-' if value is None else f'{value:.0%}'


def seconds(value: float | None) -> str:
  """Writes 12.3 s, 4 min 05 s or 2 h 03 min."""
  if value is None:
    return '-'
  if value < 60:
    return f'{value:.1f} s'
  minutes = round(value) // 60
  if minutes < 60:
    return f'{minutes} min {round(value) % 60:02d} s'
  return f'{minutes // 60} h {minutes % 60:02d} min'
