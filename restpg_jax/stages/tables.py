"""The numbers of results.json as rows and lines, for text, md and html."""

import textwrap

from restpg_jax import types
from restpg_jax.io import speed
from restpg_jax.rewards import significance

TITLES = {
  'sft': 'SFT',
  'sft_reasoning': 'SFT with reasoning',
  'rest_em': 'ReST-EM',
  'rest_pg': 'REST-PG',
}
TASK_TITLES = dict(
  zip(types.TASKS, ('email', 'abstract', 'review', 'topic'), strict=True)
)
MEASURE_TITLES = {
  'rouge1': 'ROUGE-1',
  'rougeL': 'ROUGE-L',
  'true_score': 'true',
}


def text(results: dict) -> str:
  """The main table as lines of plain text, with what it measures."""
  grid = [
    [f'{r["letter"]} {r["method"]}', *map(_plain, r['cells'])]
    for r in rows(results)
  ]
  grid.insert(0, ['  method', *columns(results)])
  widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
  lines = [
    '  '.join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
    for row in grid
  ]
  lines += ['', *gains(results)] if gains(results) else []
  said = [*results['about'], *results['notes']]
  return '\n'.join([*lines, '', *(textwrap.fill(t, 80) for t in said)])


def rows(results: dict) -> list[dict]:
  """A row a method: letter, names, cells {value, stderr, marks}.

  marks: the letters of the methods that this one beats with p < 0.05.
  """
  letters = {m: chr(ord('a') + i) for i, m in enumerate(results['methods'])}
  found = []
  for method, numbers in results['methods'].items():
    cells = [
      {
        'value': numbers['tasks'].get(task, {}).get('reward'),
        'stderr': numbers['tasks'].get(task, {}).get('reward_stderr'),
        'marks': _beaten(results, method, task, letters),
      }
      for task in _tasks(results)
    ]
    cells.append(
      {
        'value': numbers['macro']['reward'],
        'stderr': numbers['macro']['reward_stderr'],
        'marks': _beaten(results, method, 'macro', letters),
      }
    )
    cells += [
      {'value': numbers['macro'][m], 'stderr': None, 'marks': ''}
      for m in _measures(results)
    ]
    found.append(
      {
        'letter': letters[method],
        'method': method,
        'title': TITLES.get(method, method),
        't': numbers['iterations'][-1]['t'],
        'cells': cells,
      }
    )
  return found


def columns(results: dict) -> list[str]:
  """Headings of the cells in `rows`."""
  tasks = [TASK_TITLES[task] for task in _tasks(results)]
  return [*tasks, 'macro', *(MEASURE_TITLES[m] for m in _measures(results))]


SPEED = {  # columns of `speeds` and how a number in them is written
  'items': lambda row: f'{row["items"]:,}',
  'time': lambda row: seconds(row['seconds']),
  'items/s': lambda row: rate(row['items_per_s']),
  'tokens/s': lambda row: rate(row['tokens_per_s']),
  'slots busy': lambda row: percent(row['occupancy']),
  'accepted': lambda row: percent(row['accepted']),
  'saved': lambda row: '-' if row['saved'] is None else f'{row["saved"]:,}',
}


def speeds(results: dict) -> dict:
  """columns, and rows {method: title or '', stage, cells}; a column in which
  no row has a number is left out, a method's title stands in its first row."""
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
        'method': TITLES.get(method, method),
        'stage': row['stage'],
        'cells': [column[n] for column in cells.values()],
      }
    )
  return {'columns': list(cells), 'rows': rows, 'said': _bars(results['speed'])}


def _bars(rows: list[dict]) -> str:
  """What `accepted` means in these rows; '' where nobody says so."""
  bars = sorted({r['accept'] for r in rows if r['accepted'] is not None})
  if not bars:
    return ''
  return (
    'Accepted: share of samples with a reward of at least '
    f'{" or ".join(f"{bar:g}" for bar in bars)}, as the E-step asks for.'
  )


def gains(results: dict) -> list[str]:
  """Last iteration against iteration 0: a line a method and measure."""
  found = []
  for gain in results['significance']['iterations']:
    for measure in ('reward', 'true_score'):
      if gain[measure]:
        found.append(_gain(gain, measure, gain[measure]['macro']))
  return found


def _gain(gain: dict, measure: str, macro: dict) -> str:
  line = (
    f'{gain["method"]}, {measure.replace("_", " ")}, iteration '
    f'{gain["from"]} -> {gain["to"]}: {macro["difference"]:+.3f}'
  )
  if macro['p'] is None:
    return f'{line} (paired difference, n={macro["n"]}; no test possible)'
  return (
    f'{line} +- {macro["stderr"]:.3f} (paired difference and its standard '
    f'error, n={macro["n"]}, {p_value(macro["p"])})'
  )


def p_value(p: float | None) -> str:
  """p=0.031, p<0.0001, or a dash where no test was possible."""
  if p is None:
    return '-'
  return 'p<0.0001' if p < 1e-4 else f'p={p:.2g}'


def _tasks(results: dict) -> list[str]:
  found = {t for m in results['methods'].values() for t in m['tasks']}
  return [task for task in types.TASKS if task in found]


def _measures(results: dict) -> list[str]:
  """The columns right of the macro reward; only what some method has."""
  return [
    m
    for m in MEASURE_TITLES
    if any(n['macro'][m] is not None for n in results['methods'].values())
  ]


def _beaten(results: dict, method: str, column: str, letters: dict) -> str:
  marks = ''
  for pair in results['significance']['methods']:
    test = (pair['reward'] or {}).get(column)
    if not test or test['p'] is None or test['p'] >= significance.ALPHA:
      continue
    better, worse = pair['a'], pair['b']
    if test['difference'] < 0:
      better, worse = worse, better
    if better == method:
      marks += letters[worse]
  return ''.join(sorted(marks))


def _plain(cell: dict) -> str:
  return number(cell['value'], 3) + cell['marks']


def number(value: float | None, digits: int = 4) -> str:
  """A fixed number of digits; a dash for what is not known."""
  return '-' if value is None else f'{value:.{digits}f}'


def rate(value: float | None) -> str:
  """0.123, 8, 12,346; a dash for what is not known."""
  return '-' if value is None else speed.short(value)


def percent(value: float | None) -> str:
  """0.314 -> '31%'; a dash for what is not known."""
  return '-' if value is None else f'{value:.0%}'


def seconds(value: float | None) -> str:
  """12.3 s, 4 min 05 s, 2 h 03 min."""
  if value is None:
    return '-'
  if value < 60:
    return f'{value:.1f} s'
  minutes = round(value) // 60
  if minutes < 60:
    return f'{minutes} min {round(value) % 60:02d} s'
  return f'{minutes // 60} h {minutes % 60:02d} min'
