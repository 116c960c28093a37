"""The numbers of Table 1: means by task, macro means, paired tests."""

import dataclasses
import itertools

from restpg_jax import types
from restpg_jax.rewards import significance
from restpg_jax.stages import answers

MEASURES = ('reward', 'rouge1', 'rougeL', 'true_score')
TESTED = ('reward', 'true_score')


def _by_task(*values: float) -> dict[str, float]:
  return dict(zip((*types.TASKS, 'macro'), values, strict=True))


PAPER = {
  'setup': (
    "The paper's own setup: Gemma 2B trained on LongLaMP, judged by Gemma "
    '7B. Printed for orientation; not comparable with other models, data '
    'or judges.'
  ),
  'test': {  # Table 1
    'sft': _by_task(0.2974, 0.4135, 0.6525, 0.2270, 0.3976),
    'sft_reasoning': _by_task(0.2834, 0.3829, 0.6773, 0.2184, 0.3905),
    'rest_em': _by_task(0.3032, 0.4549, 0.6656, 0.2859, 0.4274),
    'rest_pg': _by_task(0.3059, 0.4845, 0.7077, 0.3238, 0.4554),
  },
  'validation': {  # Table 3
    'sft': _by_task(0.3672, 0.4046, 0.6455, 0.2293, 0.4116),
    'sft_reasoning': _by_task(0.3426, 0.3824, 0.7181, 0.2495, 0.4231),
    'rest_em': _by_task(0.3711, 0.4550, 0.6664, 0.2853, 0.4444),
    'rest_pg': _by_task(0.3800, 0.4827, 0.7197, 0.3561, 0.4846),
  },
}


def summarize(evaluation: answers.Evaluation) -> dict:
  """{'tasks': {task: means}, 'macro': means}; only tasks that are there.

  Several answers to one example count as one, their mean: n is examples.
  """
  tasks = {
    task: _means([a for a in evaluation.answers if a.example.task == task])
    for task in types.TASKS
  }
  tasks = {task: means for task, means in tasks.items() if means['n']}
  macro = {m: _macro([t[m] for t in tasks.values()]) for m in MEASURES}
  macro['reward_stderr'] = significance.macro_stderr(
    [means['reward_stderr'] for means in tasks.values()]
  )
  return {'tasks': tasks, 'macro': macro}


def between_methods(
  last: dict[str, answers.Evaluation], rewards: dict[str, dict]
) -> list[dict]:
  """Every pair of methods at their last iterations; a - b, the later first.

  rewards: each method's reward settings. Rewards of different kinds are not
  compared (None); neither are methods without a common example.
  """
  found = []
  for b, a in itertools.combinations(last, 2):
    tested = compare(last[a], last[b])
    if rewards[a] != rewards[b]:
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

  {'examples': in common, 'left_out': of one side only, 'reward': {task or
  'macro': Difference}, 'true_score': the same}; None: nothing to compare.
  """
  of_a, of_b = _by_example(a), _by_example(b)
  common = [key for key in of_a if key in of_b]
  return {
    'examples': len(common),
    'left_out': len(of_a.keys() ^ of_b.keys()),
    **{
      measure: _tests([(of_a[key], of_b[key]) for key in common], measure)
      for measure in TESTED
    },
  }


def _tests(pairs: list[tuple], measure: str) -> dict | None:
  sides = {task: ([], []) for task in types.TASKS}
  for pair in pairs:
    values = [_mean(of_one, measure) for of_one in pair]
    if None not in values:
      of_a, of_b = sides[pair[0][0].example.task]
      of_a.append(values[0])
      of_b.append(values[1])
  sides = {task: both for task, both in sides.items() if both[0]}
  if not sides:
    return None
  tests = {task: significance.paired(*both) for task, both in sides.items()}
  tests['macro'] = significance.paired_macro(
    {task: a for task, (a, _) in sides.items()},
    {task: b for task, (_, b) in sides.items()},
  )
  return {name: dataclasses.asdict(test) for name, test in tests.items()}


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
  values = {
    m: [_mean(of_one, m) for of_one in by_example.values()] for m in MEASURES
  }
  return {
    'n': len(by_example),
    'reward': significance.mean(values['reward']),
    'reward_stderr': significance.stderr(values['reward']),
    'rouge1': _macro(values['rouge1']),
    'rougeL': _macro(values['rougeL']),
    'true_score': _macro(values['true_score']),
    'no_answer': sum(a.text is None for a in of_task),
    'cut': sum(not a.ended for a in of_task),
  }


def _mean(of_one: list[answers.Answer], measure: str) -> float | None:
  return _macro([getattr(a, measure) for a in of_one])


def _macro(values: list[float | None]) -> float | None:
  return None if None in values else significance.mean(values)
