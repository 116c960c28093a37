"""Computes the numbers of Table 1: task and macro means, paired tests."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, cast

from etils import epath

from restpg_jax import errors, types, variants
from restpg_jax.report import answers
from restpg_jax.rewards import bleu, significance
from restpg_jax.stages import measure

TESTED = ('reward', 'true_score')
# Metrics of all answers to a task together, from the counts of each answer.
POOLED = {'corpus_bleu': bleu.corpus}
Group = list[answers.Answer]  # to one example, or to one task


def summarize(evaluation: answers.Evaluation) -> dict[str, Any]:
  """Returns the means of an evaluation, by task and over tasks.

  {'tasks': {task: means}, 'macro': means, 'macro_public': means or None}, of
  the tasks that the evaluation has; `macro_public` is over those that are not
  e-mail. Several answers to one example count as one, their mean: n is the
  number of examples.
  """
  by_task = {task: [] for task in types.EVERY_TASK}
  for a in evaluation.answers:
    by_task[a.example.task].append(a)
  tasks = {task: _means(group) for task, group in by_task.items() if group}
  public = [means for task, means in tasks.items() if task != types.EMAIL]
  return {
    'tasks': tasks,
    'macro': _macros([*tasks.values()]),
    'macro_public': _macros(public) if public else None,
  }


def validation(
  workdir: epath.Path, methods: list[dict[str, Any]]
) -> dict[tuple[str, int], dict[str, Any]]:
  """Returns Table 3: what `summarize` does, by label and iteration, of the
  validation answers by which each checkpoint was chosen.

  Of a choice that is older than these, only the macro reward is known.
  """
  summaries = {
    (e.method, e.t): summarize(e)
    for e in answers.read_validation(workdir, methods)
  }
  for method in methods:
    for run in method['iterations']:
      key = method['label'], run['t']
      reward = answers.validation_reward(workdir, run)
      if key not in summaries and reward is not None:
        macro = {'reward': reward, 'true_score': None}
        summaries[key] = {'tasks': {}, 'macro': macro, 'macro_public': None}
  return summaries


def between_methods(
  last: dict[str, answers.Evaluation], records: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
  """Compares every pair of methods that were tested on the same examples.

  At their last iterations; differences are a - b, where a is the later one of
  the report. `last` and `records` go by label. Different rewards are not
  compared (None).
  """
  group_of = {
    label: n for n, group in enumerate(test_sets(last)) for label in group
  }
  pairs = []
  for b, a in itertools.combinations(last, 2):
    if group_of[a] != group_of[b]:
      continue
    tested = compare(last[a], last[b])
    if not variants.same_reward(records[a], records[b]):
      tested['reward'] = None
    pairs.append({'a': a, 'b': b, **tested})
  return pairs


def test_sets(last: dict[str, answers.Evaluation]) -> list[list[str]]:
  """Returns the labels in groups, each tested on the same examples.

  Methods of two groups are not compared. [['sft', 'rest_pg'], ['rest_em']]
  """
  groups: dict[frozenset, list[str]] = {}
  for label, evaluation in last.items():
    groups.setdefault(frozenset(_by_example(evaluation)), []).append(label)
  return [*groups.values()]


def between_iterations(
  evaluations: list[answers.Evaluation],
) -> list[dict[str, Any]]:
  """Compares each method's last iteration with its iteration 0."""
  first = {e.method: e for e in evaluations if e.t == 0}
  return [
    {'method': m, 'from': 0, 'to': end.t, **compare(end, first[m])}
    for m, end in answers.last(evaluations).items()
    if end.t and m in first
  ]


def compare(a: answers.Evaluation, b: answers.Evaluation) -> dict[str, Any]:
  """Returns paired differences a - b on the examples that both answered.

  An example is the same if its id and its texts are. Returns
  {'examples': their number, 'reward': {task, 'macro' or 'macro_public' (where
  e-mail is there too): Difference}, 'true_score': the same}; None: nothing to
  compare. Raises InputError where the examples differ: such numbers say nothing
  about each other.
  """
  answers_a, answers_b = _by_example(a), _by_example(b)
  common = [key for key in answers_a if key in answers_b]
  if not len(answers_a) == len(common) == len(answers_b):
    raise errors.InputError(
      f'{a.method} and {b.method} were tested on different examples '
      f'({len(answers_a)} and {len(answers_b)}, {len(common)} in common) and '
      'are not compared; run both on the same test data'
    )
  return {
    'examples': len(common),
    **{
      name: _tests([(answers_a[key], answers_b[key]) for key in common], name)
      for name in TESTED
    },
  }


def _tests(
  pairs: list[tuple[Group, Group]], name: str
) -> dict[str, dict[str, Any]] | None:
  """Tests one score by task and over tasks; None where nobody has it."""
  sides: dict[str, tuple[list[float], list[float]]] = {
    task: ([], []) for task in types.EVERY_TASK
  }
  for pair in pairs:
    a, b = (_mean(group, name) for group in pair)
    if a is not None and b is not None:
      values_a, values_b = sides[pair[0][0].example.task]
      values_a.append(a)
      values_b.append(b)
  sides = {task: both for task, both in sides.items() if both[0]}
  if not sides:
    return None
  means = {task: [task] for task in sides} | {'macro': [*sides]}
  if types.EMAIL in sides and len(sides) > 1:
    means['macro_public'] = [task for task in sides if task != types.EMAIL]
  apart = {task: significance.differences(*s) for task, s in sides.items()}
  ends = significance.bootstrap(apart, means)
  return {
    name: dataclasses.asdict(_macro_test({task: sides[task] for task in tasks}))
    | dict(zip(('low', 'high'), ends.get(name, (None, None)), strict=True))
    for name, tasks in means.items()
  }


def _macro_test(
  sides: Mapping[str, tuple[list[float], list[float]]],
) -> significance.Difference:
  """Tests the macro mean of these tasks, of one task its mean."""
  return significance.paired_macro(
    {task: a for task, (a, _) in sides.items()},
    {task: b for task, (_, b) in sides.items()},
  )


def _by_example(
  evaluation: answers.Evaluation,
) -> dict[tuple[str, str, str], Group]:
  """Groups answers by example: id, input and gold text.

  An id alone may name rows of two data sets.
  """
  by_example: dict[tuple[str, str, str], Group] = {}
  for a in evaluation.answers:
    key = a.example.id, a.example.input, a.example.output
    by_example.setdefault(key, []).append(a)
  return by_example


def _means(group: Group) -> dict[str, Any]:
  """Returns means and standard errors of the answers to one task."""
  by_example: dict[str, Group] = {}
  for a in group:
    by_example.setdefault(a.example.id, []).append(a)
  means: dict[str, Any] = {'n': len(by_example)}
  for name in (*TESTED, *_metrics(group)):
    if name in POOLED:
      means[name] = POOLED[name](
        [cast(list[int], a.metrics[name]) for a in group]
      )
      continue
    values = [_mean(one_example, name) for one_example in by_example.values()]
    known = [value for value in values if value is not None]
    whole = len(known) == len(values)
    means[name] = significance.mean(known) if whole else None
    means[f'{name}_stderr'] = significance.stderr(known) if whole else None
  return means | {
    'no_answer': sum(a.text is None for a in group),
    'cut': sum(not a.ended for a in group),
  }


def _macros(task_means: list[dict[str, Any]]) -> dict[str, float | None]:
  """Returns means over tasks of the scores that all of them have."""
  macro = {}
  for name in (*TESTED, *measure.METRICS):
    values = [means[name] for means in task_means if name in means]
    if len(values) == len(task_means):
      macro[name] = None if None in values else significance.mean(values)
    if name in macro and name not in POOLED:
      stderrs = [means[f'{name}_stderr'] for means in task_means]
      macro[f'{name}_stderr'] = significance.macro_stderr(stderrs)
  return macro


def _metrics(group: Group) -> list[str]:
  """Returns the metrics that were measured of every answer."""
  return [m for m in measure.METRICS if all(m in a.metrics for a in group)]


def _mean(group: Group, name: str) -> float | None:
  """Returns the mean score of the answers to one example, if all have one."""
  # Only the metrics of POOLED are lists of counts; they have no mean.
  values = [
    getattr(a, name) if name in TESTED else cast(float, a.metrics[name])
    for a in group
  ]
  return None if None in values else significance.mean(values)
