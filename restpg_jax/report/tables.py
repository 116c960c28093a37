"""The numbers of results.json as rows and lines, for text, md and html."""

import string
import textwrap

from restpg_jax import paper, types
from restpg_jax.io import speed
from restpg_jax.rewards import significance

LETTERS = string.ascii_letters  # of the methods
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
  """'rest_pg (seed 1)' -> 'REST-PG (seed 1)'."""
  name, space, own = label.partition(' ')
  return f'{paper.TITLES.get(name, name)}{space}{own}'


def text_tables(results: dict) -> str:
  """The tables as lines of plain text, with what they measure."""
  lines = _grid(
    ['  method', *columns(results)],
    [
      [f'{r["letter"]} {r["method"]}', *map(_plain, r['cells'])]
      for r in method_rows(results)
    ],
  )
  texts = metrics(results, macros(results))
  if texts['rows']:
    lines += [
      '',
      *_grid(
        ['  method', 'over', *texts['columns']],
        [
          [f'{r["letter"]} {r["method"]}', r['over'], *map(_plain, r['cells'])]
          for r in texts['rows']
        ],
      ),
    ]
  lines += ['', *gains(results)] if gains(results) else []
  said = [*results['about'], *results['notes']]
  return '\n'.join([*lines, '', *(textwrap.fill(t, 80) for t in said)])


def method_rows(results: dict) -> list[dict]:
  """A row a method: letter, names, cells {value, stderr, marks}.

  marks: the letters of the methods that this one beats with p < 0.05.
  """
  found = []
  for method, numbers in results['methods'].items():
    cells = [
      _cell(numbers, place, 'reward')
      | {'marks': _beaten(results, method, place)}
      for place in places(results)
    ]
    if has_truth(results):
      cells.append(_cell(numbers, 'macro', 'true_score'))
    found.append(_row(results, method) | {'cells': cells})
  return found


def columns(results: dict) -> list[str]:
  """Headings of the cells in `rows`."""
  return [*places(results).values(), *['true'] * has_truth(results)]


def places(results: dict) -> dict[str, str]:
  """Where there are numbers, and how that is called: each task, and macros.

  {'topic_writing': 'topic', .., 'macro': 'macro 4', 'macro_public': 'macro 3'}
  """
  return titles_of(results) | macros(results)


def macros(results: dict) -> dict[str, str]:
  """Over all tasks that some method has, and over all but e-mail."""
  tasks = tasks_of(results)
  found = {'macro': f'macro {len(tasks)}'}
  if types.EMAIL in tasks and len(tasks) > 1:
    found['macro_public'] = f'macro {len(tasks) - 1}'
  return found


def metrics(results: dict, over: dict[str, str]) -> dict:
  """Text metrics at the last iterations: columns, and a row for each method
  and each of the places `over`; no rows where nothing was measured."""
  names = metrics_of(results)
  rows = [
    _row(results, method)
    | {
      'over': title,
      'cells': [_cell(numbers, place, name) for name in names],
    }
    for method, numbers in results['methods'].items()
    for place, title in over.items()
  ]
  return {
    'columns': [METRIC_TITLES[name] for name in names],
    'rows': rows if names else [],
  }


def iterations(results: dict) -> dict:
  """The macros of every iteration, with reward and true score."""
  names = ['reward', *['true_score'] * has_truth(results)]
  names += metrics_of(results)
  titles = {'reward': 'reward', 'true_score': 'true', **METRIC_TITLES}
  rows = [
    _row(results, method)
    | {
      't': numbers['t'],
      'over': title,
      'cells': [_cell(numbers, place, name) for name in names],
    }
    for method, of_method in results['methods'].items()
    for numbers in of_method['iterations']
    for place, title in macros(results).items()
  ]
  return {'columns': [titles[name] for name in names], 'rows': rows}


def _row(results: dict, method: str) -> dict:
  """How a method's row begins."""
  return {
    'letter': letters(results)[method],
    'method': method,
    'title': title(method),
    't': results['methods'][method]['iterations'][-1]['t'],
  }


def _cell(numbers: dict, place: str, name: str) -> dict:
  """Of a method's numbers; None for what it lacks."""
  here = numbers['tasks'].get(place) or numbers.get(place) or {}
  return {
    'value': here.get(name),
    'stderr': here.get(f'{name}_stderr'),
    'marks': '',
  }


SPEED = {  # columns of `speeds` and how a number in them is written
  'items': lambda row: f'{row["items"]:,}',
  'time': lambda row: seconds(row['seconds']),
  'items/s': lambda row: rate(row['items_per_s']),
  'tokens/s': lambda row: rate(row['tokens_per_s']),
  'slots busy': lambda row: percent(row['occupancy']),
  'accepted': lambda row: percent(row['accepted']),
  'saved': lambda row: '-' if row['saved'] is None else f'{row["saved"]:,}',
}


def speed_rows(results: dict) -> dict:
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
        'method': title(method),
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
  """p=0.031, p<0.0001, or a dash where no test was possible."""
  if p is None:
    return '-'
  return 'p<0.0001' if p < 1e-4 else f'p={p:.2g}'


def tasks_of(results: dict) -> list[str]:
  """Those that some method has."""
  found = {t for m in results['methods'].values() for t in m['tasks']}
  return [task for task in types.EVERY_TASK if task in found]


def titles_of(results: dict) -> dict[str, str]:
  """What those are called."""
  return {task: paper.TASK_TITLES.get(task, task) for task in tasks_of(results)}


def metrics_of(results: dict) -> list[str]:
  """Those that were measured of some method's answers."""
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


def has_truth(results: dict) -> bool:
  return any(
    numbers['macro']['true_score'] is not None
    for numbers in results['methods'].values()
  )


def letters(results: dict) -> dict[str, str]:
  """a to z, A to Z, and numbers in brackets for more methods than that."""
  return {
    m: LETTERS[i] if i < len(LETTERS) else f'({i + 1})'
    for i, m in enumerate(results['methods'])
  }


def _beaten(results: dict, method: str, column: str) -> str:
  beaten = set()
  for pair in results['significance']['methods']:
    test = (pair['reward'] or {}).get(column)
    if not test or test['p'] is None or test['p'] >= significance.ALPHA:
      continue
    better, worse = pair['a'], pair['b']
    if test['difference'] < 0:
      better, worse = worse, better
    if better == method:
      beaten.add(worse)
  return ''.join(c for m, c in letters(results).items() if m in beaten)


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
  """Lines with columns of one width each."""
  widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
  return [
    '  '.join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
    for row in (head, *rows)
  ]


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
