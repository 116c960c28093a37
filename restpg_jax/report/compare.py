"""The numbers of Table 1: means by task, macro means, paired tests."""

import dataclasses
import itertools

from restpg_jax import types, variants
from restpg_jax.report import answers
from restpg_jax.rewards import bleu, significance
from restpg_jax.stages import measure

TESTED = ('reward', 'true_score')
# Numbers of all answers to a task together, from what is counted of each.
POOLED = {'corpus_bleu': bleu.corpus}


def summarize(evaluation: answers.Evaluation) -> dict:
  """{'tasks': {task: means}, 'macro': means, 'macro_public': means or None}.

  Only tasks that are there; `macro_public` is over those of them that are not
  e-mail. Several answers to one example count as one, their mean: n is
  examples.
  """
  by_task = {task: [] for task in types.EVERY_TASK}
  for a in evaluation.answers:
    by_task[a.example.task].append(a)
  tasks = {task: _means(found) for task, found in by_task.items() if found}
  public = [found for task, found in tasks.items() if task != types.EMAIL]
  return {
    'tasks': tasks,
    'macro': _macros([*tasks.values()]),
    'macro_public': _macros(public) if public else None,
  }


def between_methods(
  last: dict[str, answers.Evaluation], records: dict[str, dict]
) -> list[dict]:
  """Every pair of methods at their last iterations; a - b, the later first.

  records: by label. Different rewards are not compared (None); neither are
  methods without a common example.
  """
  found = []
  for b, a in itertools.combinations(last, 2):
    tested = compare(last[a], last[b])
    if not variants.same_reward(records[a], records[b]):
      tested['reward'] = None
    found.append({'a': a, 'b': b, **tested})
  return found


def between_iterations(evaluations: list[answers.Evaluation]) -> list[dict]:
  """Each method's last iteration against its iteration 0."""
  first = {e.method: e for e in evaluations if e.t == 0}
  return [
    {'method': m, 'from': 0, 'to': end.t, **compare(end, first[m])}
    for m, end in answers.last(evaluations).items()
    if end.t and m in first
  ]


def compare(a: answers.Evaluation, b: answers.Evaluation) -> dict:
  """Paired differences a - b on what both answered: same id, same texts.

  {'examples': in common, 'left_out': of one side only, 'reward': {task,
  'macro' or 'macro_public' (where e-mail is there too): Difference},
  'true_score': the same}; None: nothing to compare.
  """
  of_a, of_b = _by_example(a), _by_example(b)
  common = [key for key in of_a if key in of_b]
  return {
    'examples': len(common),
    'left_out': len(of_a.keys() ^ of_b.keys()),
    **{
      name: _tests([(of_a[key], of_b[key]) for key in common], name)
      for name in TESTED
    },
  }


def _tests(pairs: list[tuple], name: str) -> dict | None:
  sides = {task: ([], []) for task in types.EVERY_TASK}
  for pair in pairs:
    values = [_mean(of_one, name) for of_one in pair]
    if None not in values:
      of_a, of_b = sides[pair[0][0].example.task]
      of_a.append(values[0])
      of_b.append(values[1])
  sides = {task: both for task, both in sides.items() if both[0]}
  if not sides:
    return None
  tests = {task: significance.paired(*both) for task, both in sides.items()}
  tests['macro'] = _macro_test(sides)
  if types.EMAIL in sides and len(sides) > 1:
    del sides[types.EMAIL]
    tests['macro_public'] = _macro_test(sides)
  return {name: dataclasses.asdict(test) for name, test in tests.items()}


def _macro_test(sides: dict[str, tuple]) -> significance.Difference:
  return significance.paired_macro(
    {task: a for task, (a, _) in sides.items()},
    {task: b for task, (_, b) in sides.items()},
  )


def _by_example(evaluation: answers.Evaluation) -> dict[tuple, list]:
  """Answers by example; an id alone may name rows of two data sets."""
  found = {}
  for a in evaluation.answers:
    key = a.example.id, a.example.input, a.example.output
    found.setdefault(key, []).append(a)
  return found


def _means(of_task: list[answers.Answer]) -> dict:
  by_example = {}
  for a in of_task:
    by_example.setdefault(a.example.id, []).append(a)
  found = {'n': len(by_example)}
  for name in (*TESTED, *_metrics(of_task)):
    if name in POOLED:
      found[name] = POOLED[name]([a.metrics[name] for a in of_task])
      continue
    values = [_mean(of_one, name) for of_one in by_example.values()]
    known = None not in values
    found[name] = significance.mean(values) if known else None
    found[f'{name}_stderr'] = significance.stderr(values) if known else None
  return found | {
    'no_answer': sum(a.text is None for a in of_task),
    'cut': sum(not a.ended for a in of_task),
  }


def _macros(of_tasks: list[dict]) -> dict[str, float | None]:
  found = {}
  for name in (*TESTED, *measure.METRICS):
    values = [means[name] for means in of_tasks if name in means]
    if len(values) == len(of_tasks):
      found[name] = None if None in values else significance.mean(values)
    if name in found and name not in POOLED:
      errors = [means[f'{name}_stderr'] for means in of_tasks]
      found[f'{name}_stderr'] = significance.macro_stderr(errors)
  return found


def _metrics(of_task: list[answers.Answer]) -> list[str]:
  """What was measured of every answer."""
  return [m for m in measure.METRICS if all(m in a.metrics for a in of_task)]


def _mean(of_one: list[answers.Answer], name: str) -> float | None:
  values = [
    getattr(a, name) if name in TESTED else a.metrics[name] for a in of_one
  ]
  return None if None in values else significance.mean(values)
