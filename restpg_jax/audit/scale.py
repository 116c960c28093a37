"""Places methods on the reward's own scale, from floor to ceiling."""

from collections.abc import Mapping, Sequence
from typing import Any

from restpg_jax.audit import cases, trials
from restpg_jax.report import answers
from restpg_jax.rewards import significance

NARROW = 1e-9  # a scale from floor to ceiling on which nothing has a place


def scale_numbers(
  evaluations: Sequence[answers.Evaluation],
  drawn: Sequence[cases.Case],
  results: trials.Outcomes,
) -> dict[str, Any]:
  """Returns where each policy stands between floor and ceiling.

  Floor: the gold text of another user; ceiling: the gold text itself; all on
  the cases that have both. Returns {'floor', 'ceiling': {'reward',
  'true_score', 'tasks'}, 'n', 'methods': [{'method', 't', the same, 'place',
  'true_place', 'task_places'}], 'left_out': methods without some case}.
  """
  floor, ceiling = results[trials.STRANGER], results[trials.GOLD]
  keys = [case.key for case in drawn if case.key in floor]
  ends = [_summary({key: end[key] for key in keys}) for end in (floor, ceiling)]
  rows, left_out = [], []
  for e in evaluations:
    by_case = _outcomes(e)
    if all(key in by_case for key in keys):
      summary = _summary({key: by_case[key] for key in keys})
      rows.append({'method': e.method, 't': e.t} | _placed(summary, *ends))
    else:
      left_out.append(e.method)
  return {
    'n': len(keys),
    'floor': ends[0],
    'ceiling': ends[1],
    'methods': rows,
    'left_out': [*dict.fromkeys(left_out)],
  }


def rescaled(
  value: float | None, floor: float | None, ceiling: float | None
) -> float | None:
  """Returns 0 at the floor and 1 at the ceiling: .4 between .2 and .7 -> .4.

  None where one is not known, or the floor is no lower than the ceiling.
  """
  if value is None or floor is None or ceiling is None:
    return None
  if ceiling - floor < NARROW:
    return None
  return (value - floor) / (ceiling - floor)


def _placed(
  summary: dict[str, Any], floor: dict[str, Any], ceiling: dict[str, Any]
) -> dict[str, Any]:
  return summary | {
    'place': rescaled(summary['reward'], floor['reward'], ceiling['reward']),
    'true_place': rescaled(
      summary['true_score'], floor['true_score'], ceiling['true_score']
    ),
    'task_places': {
      task: rescaled(value, floor['tasks'][task], ceiling['tasks'][task])
      for task, value in summary['tasks'].items()
    },
  }


def _summary(by_case: Mapping[Any, trials.Outcome]) -> dict[str, Any]:
  return {
    'reward': trials.macro(by_case),
    'true_score': trials.macro(by_case, 'true_score'),
    'tasks': trials.task_means(by_case),
  }


def _outcomes(
  evaluation: answers.Evaluation,
) -> dict[tuple[str, str, str], trials.Outcome]:
  """Returns the mean of each example's answers, as they were scored."""
  groups: dict[tuple[str, str, str], list[answers.Answer]] = {}
  for a in evaluation.answers:
    groups.setdefault(cases.example_key(a.example), []).append(a)
  return {
    key: trials.Outcome(
      group[0].example.task,
      significance.mean([a.reward for a in group]) or 0.0,
      significance.mean(
        [a.true_score for a in group if a.true_score is not None]
      ),
    )
    for key, group in groups.items()
  }
