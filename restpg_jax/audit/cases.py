"""Draws the examples on which a reward is probed, with others to mix them up.

Which they are depends on the seed and the test set alone.
"""

import dataclasses
import random
from collections.abc import Sequence

from restpg_jax import types
from restpg_jax.report import answers


@dataclasses.dataclass(frozen=True)
class Case:
  """An example, the policy's answer to it, and strangers of both."""

  example: types.Example
  answer: str  # '' where there is none
  other: answers.Answer | None  # of the same task with another gold text
  foreign: answers.Answer | None  # of another task

  @property
  def key(self) -> tuple[str, str, str]:
    """Returns what tells its example from those of other data."""
    return example_key(self.example)


def example_key(example: types.Example) -> tuple[str, str, str]:
  """Returns what tells an example from those of other data: id and texts."""
  return example.id, example.input, example.output


def draw_cases(
  evaluation: answers.Evaluation, *, count: int, seed: int
) -> list[Case]:
  """Returns at most `count` cases of each task, with one answer each."""
  first = {example_key(a.example): a for a in reversed(evaluation.answers)}
  by_task: dict[str, list[answers.Answer]] = {}
  for key in sorted(first):
    by_task.setdefault(first[key].example.task, []).append(first[key])
  for task, group in by_task.items():
    random.Random(f'cases {seed} {task}').shuffle(group)
  tasks = [task for task in types.EVERY_TASK if task in by_task]
  return [
    _case(group, n, _next(by_task, tasks, task))
    for task in tasks
    for group in [by_task[task]]
    for n in range(min(count, len(group)))
  ]


def _case(
  group: Sequence[answers.Answer], n: int, foreign: Sequence[answers.Answer]
) -> Case:
  own = group[n]
  behind = [*group[n + 1 :], *group[:n]]
  gold = own.example.output.strip()
  return Case(
    example=own.example,
    answer=own.text or '',
    other=next((a for a in behind if a.example.output.strip() != gold), None),
    foreign=foreign[n % len(foreign)] if foreign else None,
  )


def _next(
  by_task: dict[str, list[answers.Answer]], tasks: list[str], task: str
) -> list[answers.Answer]:
  """Returns the answers to the next task, [] where there is but one."""
  other = tasks[(tasks.index(task) + 1) % len(tasks)]
  return by_task[other] if other != task else []
