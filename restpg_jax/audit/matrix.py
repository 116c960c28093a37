"""Correlates all metrics with each other and, where it is known, the truth."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from restpg_jax.audit import cases, lengths
from restpg_jax.report import answers
from restpg_jax.rewards import correlation, significance

REWARD, TRUTH, LENGTH = 'reward', 'true_score', 'words'
Row = dict[str, float]  # of an answer: metric -> value
SAME = 1e-9


def matrix_numbers(
  evaluations: Sequence[answers.Evaluation],
) -> dict[str, Any]:
  """Returns correlations of the metrics that all answers have.

  Within each task, then the mean over those tasks in which they are defined:
  {'n': answers, 'names': [..], 'pearson', 'spearman': [[.. or None]],
  'agreement': what `agreements` gives}. An answer that is missing counts as
  the metrics count it, 0.
  """
  rows = [(a.example, _row(a)) for e in evaluations for a in e.answers]
  names = [n for n in rows[0][1] if all(n in row for _, row in rows)]
  by_task: dict[str, list[Row]] = {}
  for example, row in rows:
    by_task.setdefault(example.task, []).append(row)
  columns = [
    {name: [row[name] for row in group] for name in names}
    for group in by_task.values()
  ]
  groups: dict[tuple[str, str, str], list[Row]] = {}
  for example, row in rows:
    groups.setdefault(cases.example_key(example), []).append(row)
  return {
    'n': len(rows),
    'names': names,
    'pearson': _matrix(names, columns, correlation.pearson),
    'spearman': _matrix(names, columns, correlation.spearman),
    'agreement': agreements([*groups.values()], names),
  }


def agreements(
  groups: Sequence[Sequence[Row]], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
  """Returns how often a metric orders two answers to one input as truth does.

  Of pairs whose true scores differ; a tie of the metric counts a half.
  {'reward': {'pairs': 12, 'share': .8, 'ties': .1}}; {} without true scores.
  """
  if TRUTH not in names:
    return {}
  pairs = [
    (a, b) if a[TRUTH] > b[TRUTH] else (b, a)
    for group in groups
    for a, b in itertools.combinations(group, 2)
    if abs(a[TRUTH] - b[TRUTH]) > SAME
  ]
  return {
    name: _agreement([a[name] - b[name] for a, b in pairs])
    for name in names
    if name != TRUTH
  }


def _agreement(apart: Sequence[float]) -> dict[str, Any]:
  ties = sum(abs(d) <= SAME for d in apart)
  right = sum(d > SAME for d in apart)
  count = len(apart)
  return {
    'pairs': count,
    'share': (right + ties / 2) / count if count else None,
    'ties': ties / count if count else None,
  }


def _matrix(
  names: Sequence[str],
  columns: Sequence[dict[str, list[float]]],
  correlate: Callable[
    [Sequence[float], Sequence[float]], correlation.Correlation
  ],
) -> list[list[float | None]]:
  """Returns the symmetric matrix of mean correlations over tasks."""
  cells: dict[tuple[str, str], float | None] = {}
  for a, b in itertools.combinations(names, 2):
    values = [correlate(task[a], task[b]).r for task in columns]
    known = [r for r in values if r is not None]
    cells[a, b] = cells[b, a] = significance.mean(known)
  return [[cells.get((a, b), 1.0) for b in names] for a in names]


def _row(answer: answers.Answer) -> Row:
  row = {REWARD: answer.reward}
  if answer.true_score is not None:
    row[TRUTH] = answer.true_score
  row |= answers.answer_metrics(answer)
  return row | {LENGTH: lengths.num_words(answer.text or '')}
