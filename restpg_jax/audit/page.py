"""Shows what an audit came to: lines for a terminal, and audit.html."""

import json
import pathlib
from typing import Any

from restpg_jax import paper
from restpg_jax.audit import trials
from restpg_jax.io import pages
from restpg_jax.report import tables

TEMPLATE = pathlib.Path(__file__).with_name('templates') / 'audit.html.j2'
METRICS = {'true_score': 'true score', **tables.METRIC_TITLES}
NAME = 38  # columns of a trial's name at a terminal


def audit_page(audit: dict[str, Any]) -> str:
  """Returns a page in one file without scripts; audit: see audit.json."""
  return pages.render(
    TEMPLATE,
    escape=True,
    filters={
      'number': tables.number,
      'method': tables.title,
      'share': share,
      'change': change,
      'metric': metric_title,
      'task': task_title,
    },
    audit=audit,
    config=json.dumps(audit['reward'], indent=2, ensure_ascii=False),
    style=pages.style(),
  )


def audit_lines(audit: dict[str, Any]) -> list[str]:
  """Returns what a person at a terminal sees of audit.json."""
  rows = [
    *(*audit['bases'], *audit['probes']),
    *(*audit['length']['trials'], *audit['position']),
  ]
  lines = [_columns('what the judge reads', 'reward', 'true', '>= base')]
  lines += [
    _columns(
      row['name'],
      tables.number(row['reward'], 3),
      tables.number(row['true_score'], 3),
      share(row['at_least']),
    )
    for row in rows
  ]
  of_answers = audit['length']['answers']
  return [
    *lines,
    f'reward and length of {of_answers["n"]:,} answers: correlation '
    f'{tables.number(of_answers["r"], 2)}, beyond the true score '
    f'{tables.number(of_answers["given_truth"], 2)}',
    '',
    *scale_lines(audit['scale']),
    *truth_lines(audit['metrics']),
    *map(draw_line, audit['draws']),
  ]


def scale_lines(scale: dict[str, Any]) -> list[str]:
  """Returns the places of methods between floor and ceiling."""
  floor, ceiling = (
    (
      f'{name} ({trial})',
      scale[name]
      | {
        'place': end,
        'true_place': None if scale[name]['true_score'] is None else end,
      },
    )
    for name, trial, end in (
      ('floor', trials.STRANGER, 0.0),
      ('ceiling', trials.GOLD, 1.0),
    )
  )
  rows = [
    (f'{tables.title(row["method"])}, iteration {row["t"]}', row)
    for row in scale['methods']
  ]
  width = max(NAME, *(len(name) for name, _ in (floor, *rows)))
  return [
    _columns('on the scale', 'reward', 'place', 'true place', width=width),
    *(
      _columns(
        name,
        tables.number(row['reward'], 3),
        tables.number(row['place'], 2),
        tables.number(row['true_place'], 2),
        width=width,
      )
      for name, row in (floor, *rows, ceiling)
    ),
  ]


def truth_lines(metrics: dict[str, Any]) -> list[str]:
  """Returns how each metric goes with the true score; [] without one."""
  if not metrics['agreement']:
    return []
  names = metrics['names']
  row = dict(
    zip(names, metrics['pearson'][names.index('true_score')], strict=True)
  )
  return ['', _columns('with the true score', 'r', 'agreement', 'pairs')] + [
    _columns(
      metric_title(name),
      tables.number(row[name], 2),
      share(of),
      f'{of["pairs"]:,}',
    )
    for name, of in metrics['agreement'].items()
  ]


def draw_line(draws: dict[str, Any]) -> str:
  """Returns how the reward goes with the truth on samples of an E-step."""
  names = draws['names']
  if 'true_score' not in names:
    return f'{draws["store"]}: {draws["n"]:,} samples, truth not known'
  of = draws['agreement']['reward']
  r = draws['pearson'][names.index('reward')][names.index('true_score')]
  return (
    f'{draws["store"]}: {draws["n"]:,} samples, reward with the true score r '
    f'{tables.number(r, 2)}, agreement {share(of)} of {of["pairs"]:,} pairs'
  )


def metric_title(name: str) -> str:
  """Returns a metric's name as tables print it."""
  return METRICS.get(name, name)


def task_title(task: str) -> str:
  """Returns a task as tables head its column: 'topic_writing' -> 'topic'."""
  return paper.TASK_TITLES.get(task, task)


def share(value: dict[str, Any]) -> str:
  """Returns a share in per cent: '73 %'."""
  return '-' if value['share'] is None else f'{100 * value["share"]:.0f} %'


def change(test: dict[str, Any]) -> str:
  """Returns a difference with its standard error and a star for p < .05."""
  if test['difference'] is None:
    return '-'
  error = '' if test['stderr'] is None else f' ± {test["stderr"]:.3f}'
  star = '*' if test['p'] is not None and test['p'] < 0.05 else ''
  return f'{test["difference"]:+.3f}{error}{star}'


def _columns(name: str, *numbers: str, width: int = NAME) -> str:
  return f'{name:<{width}}' + ''.join(f'{number:>11}' for number in numbers)
