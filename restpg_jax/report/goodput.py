"""Computes what became of the time of each stage: useful, compiling, .."""

from collections.abc import Sequence
from typing import Any

from restpg_jax.io import sittings
from restpg_jax.report import tables, timing

PARTS = ('useful', 'compiling', 'waiting', 'redone')  # together all seconds
COUNTED = ('sittings', 'programs', 'seconds', *PARTS)


def account(
  methods: list[dict[str, Any]], stages: list[dict[str, Any]]
) -> dict[str, Any]:
  """Returns a row for each stage of the methods, and one of all together.

  `methods` and `stages` are those of timing.stage_speeds, each stage with its
  `sittings`; a stage of older versions has none, and None for each number. The
  row `all` is the sum of those that have.
  """
  rows, seen = [], set()
  for method in methods:
    needed = timing.needed_stages(method, stages)
    for stage in stages:
      if stage['fingerprint'] in needed - seen:
        names = {'method': method['label'], 'stage': stage['name']}
        rows.append(names | spent(stage['sittings']))
    seen |= needed
  known = [row for row in rows if row['seconds'] is not None]
  total = {
    key: sum(row[key] for row in known) if known else None for key in COUNTED
  }
  return {'stages': rows, 'all': total}


def spent(lines: Sequence[sittings.Sitting]) -> dict[str, Any]:
  """Returns the sums over the sittings of a stage, means over its hosts.

  One host, killed after 10 s, of which 4 compiling and 3 for what was not on
  disk; then 20 s, of which 1 compiling and 2 loading again:

    seconds 30, useful 20, compiling 5, waiting 0, redone 5, sittings 2
  """
  if not lines:
    return dict.fromkeys(COUNTED)

  def mean(name: str) -> float:
    return sum(getattr(line, name) / line.hosts for line in lines)

  parts = {name: mean(name) for name in PARTS}
  return {
    'sittings': sum(line.host == 0 for line in lines),
    'programs': round(mean('programs')),
    'seconds': sum(parts.values()),
    **parts,
  }


def table(results: dict[str, Any]) -> dict[str, Any]:
  """Returns what people see of it: columns, and rows {method, stage, cells}.

  A method's title stands in its first row only.
  """
  rows, last = [], None
  for row in results['goodput']['stages']:
    method = row['method'] if row['method'] != last else ''
    last = row['method']
    rows.append(
      {
        'method': tables.title(method),
        'stage': row['stage'],
        'cells': _cells(row),
      }
    )
  total = _cells(results['goodput']['all'])
  return {
    'columns': ['sittings', 'programs', 'time', *PARTS],
    'rows': [*rows, {'method': '', 'stage': 'all', 'cells': total}],
  }


def _cells(row: dict[str, Any]) -> list[str]:
  """Writes '2', '14', '30.0 s', then '20.0 s, 67%' or '0' for each part."""
  if row['seconds'] is None:
    return ['-'] * len(COUNTED)
  return [
    f'{row["sittings"]:,}',
    f'{row["programs"]:,}',
    tables.seconds(row['seconds']),
    *(_part(row[name], row['seconds']) for name in PARTS),
  ]


def _part(seconds: float, whole: float) -> str:
  if not seconds:
    return '0'
  return f'{tables.seconds(seconds)}, {tables.percent(seconds / whole)}'
