"""Turns validation, tests and seeds of results.json into rows for people."""

from typing import Any

from restpg_jax.report import tables
from restpg_jax.rewards import significance

SCORES = {'reward': 'Reward', 'true_score': 'True score'}


def validation(results: dict[str, Any]) -> dict[str, Any]:
  """Returns Table 3, {columns, rows}: each method and iteration by task.

  There are no rows where no choice of a checkpoint is left.
  """
  columns = tables.column_titles(results)
  rows = [
    tables.row(results, method)
    | {
      't': iteration['t'],
      'cells': [
        *(tables.cell(means, column, 'reward') for column in columns),
        *[tables.cell(means, 'macro', 'true_score')]
        * tables.has_truth(results),
      ],
      'known': bool(iteration['validation']),
    }
    for method, numbers in results['methods'].items()
    for iteration in numbers['iterations']
    for means in [iteration['validation'] or {'tasks': {}}]
  ]
  known = any(row['known'] for row in rows)
  return {'columns': tables.columns(results), 'rows': rows if known else []}


def pairs(results: dict[str, Any]) -> list[dict[str, Any]]:
  """Returns a table for each score: {title, rows {methods, examples, cells}}.

  A cell is a Difference with `marked`, whether p < 0.05, or None.
  """
  columns = tables.column_titles(results)
  return [
    {
      'title': title,
      'rows': [
        {
          'methods': _versus(pair),
          'examples': pair['examples'],
          'cells': [_test(pair, score, column) for column in columns],
        }
        for pair in results['significance']['methods']
      ],
    }
    for score, title in _scores(results).items()
  ]


def seeds(results: dict[str, Any]) -> dict[str, Any]:
  """Returns the tables over seeds: {columns, rows, iterations, tests}.

  rows: a group's mean after its last iteration, {number, title, t, seeds,
  cells}, and after it each of its `runs`, {seed, cells}. A cell is a Spread
  with `marks`; a cell of a run is its value.
  """
  groups = results['seeds']['groups']
  columns = tables.column_titles(results)
  keys = [('reward', column) for column in columns]
  keys += [('true_score', 'macro')] * tables.has_truth(results)
  order = list(groups)
  rows = []
  for number, (name, group) in enumerate(groups.items(), 1):
    last = group['iterations'][-1]
    cells = [_spread(last['test'], *key) for key in keys]
    for cell, (score, column) in zip(cells, keys, strict=True):
      cell['marks'] = tables.marks(
        results['seeds']['pairs'], order, name, column, score
      )
    rows.append(
      {
        'number': number,
        'method': name,
        'title': tables.title(name),
        't': last['t'],
        'seeds': len(group['runs']),
        'cells': cells,
        'runs': [
          {'seed': s, 'cells': [cell['values'].get(s) for cell in cells]}
          for s in group['runs']
        ],
      }
    )
  return {
    'columns': tables.columns(results),
    'rows': rows,
    'iterations': _by_iteration(results),
    'tests': _tests_over_seeds(results),
  }


def seed_lines(results: dict[str, Any]) -> list[str]:
  """Returns the means over seeds as lines for a terminal; [] without any."""
  table = seeds(results)
  if not table['rows']:
    return []
  return tables.grid(
    ['  over seeds', 'seeds', *table['columns']],
    [
      [
        f'{row["number"]} {row["method"]}',
        str(row['seeds']),
        *(
          tables.plain({'value': cell['mean'], 'marks': cell['marks']})
          for cell in row['cells']
        ),
      ]
      for row in table['rows']
    ],
  )


def difference(test: dict[str, Any] | None) -> str:
  """Writes a Difference: '+0.2330 ± 0.010 [+0.214, +0.253], d 0.95, p<0.0001'.

  What the numbers do not define is left out; '-' for no test at all.
  """
  if not test or test['difference'] is None:
    return '-'
  return ', '.join(
    text
    for text in (
      f'{test["difference"]:+.4f}{_error(test)}{interval(test, sign=True)}',
      '' if test['d'] is None else f'd {test["d"]:.2f}',
      '' if test['p'] is None else tables.p_value(test['p']),
    )
    if text
  )


def interval(ends: dict[str, Any], *, sign: bool = False) -> str:
  """Writes ' [0.214, 0.253]' of what has `low` and `high`, '' where unknown."""
  if ends['low'] is None:
    return ''
  plus = '+' if sign else ''
  return f' [{ends["low"]:{plus}.3f}, {ends["high"]:{plus}.3f}]'


def _by_iteration(results: dict[str, Any]) -> dict[str, Any]:
  """Returns macros of each iteration over seeds: {columns, rows}."""
  truth = tables.has_truth(results)
  keys = [('test', 'reward'), *[('test', 'true_score')] * truth]
  keys += [('validation', 'reward'), *[('validation', 'true_score')] * truth]
  return {
    'columns': [f'{SCORES[score].lower()}, {split}' for split, score in keys],
    'rows': [
      {
        'title': tables.title(name),
        't': iteration['t'],
        'cells': [
          _spread(iteration[split], score, 'macro') for split, score in keys
        ],
      }
      for name, group in results['seeds']['groups'].items()
      for iteration in group['iterations']
    ],
  }


def _tests_over_seeds(results: dict[str, Any]) -> list[dict[str, Any]]:
  """Returns a row for each comparison over seeds, of macros."""
  rows = [
    {'methods': _versus(pair), 'seeds': len(pair['seeds'])}
    | {'cells': [_over_seeds(pair, score) for score in _scores(results)]}
    for pair in results['seeds']['pairs']
  ]
  rows += [
    {
      'methods': f'{tables.title(gain["a"])}, iteration {gain["to"]} - '
      f'{gain["from"]}',
      'seeds': len(gain['seeds']),
      'cells': [_over_seeds(gain, score) for score in _scores(results)],
    }
    for gain in results['seeds']['gains']
  ]
  return rows


def _over_seeds(pair: dict[str, Any], score: str) -> str:
  """Writes the macro's difference, behind it its share of the second mean."""
  test = pair[score].get('macro')
  if not test or test['relative'] is None:
    return difference(test)
  return f'{difference(test)}, {test["relative"]:+.0%}'


def _spread(
  spreads: dict[str, dict[str, dict[str, Any]]], score: str, column: str
) -> dict[str, Any]:
  """Returns a Spread with its values; without any number where it lacks."""
  unknown = {'n': 0, 'mean': None, 'low': None, 'high': None, 'values': {}}
  return {**(spreads.get(score, {}).get(column) or unknown), 'marks': ''}


def _scores(results: dict[str, Any]) -> dict[str, str]:
  """Returns the titles of the scores that are known."""
  known = ['reward', *['true_score'] * tables.has_truth(results)]
  return {score: SCORES[score] for score in known}


def _versus(pair: dict[str, Any]) -> str:
  return f'{tables.title(pair["a"])} - {tables.title(pair["b"])}'


def _test(
  pair: dict[str, Any], score: str, column: str
) -> dict[str, Any] | None:
  test = (pair[score] or {}).get(column)
  if not test:
    return None
  p = test['p']
  return test | {'marked': p is not None and p < significance.ALPHA}


def _error(test: dict[str, Any]) -> str:
  return '' if test['stderr'] is None else f' ± {test["stderr"]:.3f}'
