"""Says whether longer answers get higher rewards, and whether they earn it."""

from collections.abc import Sequence
from typing import Any

from restpg_jax.report import answers
from restpg_jax.rewards import correlation, significance
from restpg_jax.text import words


def length_numbers(
  evaluations: Sequence[answers.Evaluation],
) -> dict[str, Any]:
  """Correlates the rewards of answers with their numbers of words.

  Within each task, for tasks differ in both; then the mean over tasks. Returns
  {'n': answers, 'tasks': {task: {'n', 'words', 'r', 'given_truth'}}, 'r',
  'given_truth'}, where `given_truth` is the correlation that true scores do not
  explain: None where they are not known.
  """
  by_task: dict[str, list[answers.Answer]] = {}
  for e in evaluations:
    for a in e.answers:
      if a.text:
        by_task.setdefault(a.example.task, []).append(a)
  tasks = {task: _of_task(group) for task, group in by_task.items()}
  return {
    'n': sum(len(group) for group in by_task.values()),
    'tasks': tasks,
    **{name: _mean(tasks, name) for name in ('r', 'given_truth')},
  }


def num_words(text: str) -> float:
  """Returns the number of words, as all metrics here count them."""
  return float(len(words.words(text)))


def _of_task(group: Sequence[answers.Answer]) -> dict[str, Any]:
  rewards = [a.reward for a in group]
  lengths = [num_words(a.text or '') for a in group]
  known = [a.true_score for a in group if a.true_score is not None]
  return {
    'n': len(group),
    'words': significance.mean(lengths),
    'r': correlation.pearson(rewards, lengths).r,
    'given_truth': correlation.partial(rewards, lengths, known)
    if len(known) == len(group)
    else None,
  }


def _mean(tasks: dict[str, dict[str, Any]], name: str) -> float | None:
  """Returns the mean over the tasks in which the number is defined."""
  values = [t[name] for t in tasks.values() if t[name] is not None]
  return significance.mean(values)
