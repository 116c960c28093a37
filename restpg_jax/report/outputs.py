"""Test answers of each iteration: their lengths, and what rewards mean."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from restpg_jax.report import answers, lengths, moments

MEASURES = 'true_score', 'rougeL'  # what a reward is held against, if known


def numbers(
  evaluations: Sequence[answers.Evaluation], limits: Mapping[str, int]
) -> list[dict[str, Any]]:
  """Returns a row for each evaluation: {'method', 't', lengths, 'calibration'}.

  `limits` are the most tokens of an output, by label.
  """
  return [
    {
      'method': evaluation.method,
      't': evaluation.t,
      **_lengths(evaluation, limits[evaluation.method]),
      'calibration': calibration(evaluation.answers),
    }
    for evaluation in evaluations
  ]


def calibration(
  rewarded: Sequence[answers.Answer],
) -> dict[str, list[list[Any]]]:
  """Returns what answers of one reward are worth by other measures.

  {'true_score': [[reward, to the nearest tenth, answers, mean true score, its
  standard error], ..], 'rougeL': ..}, those that every answer has.
  """
  tables = {}
  for name in MEASURES:
    values = [(a.reward, _value(a, name)) for a in rewarded]
    by_reward = collections.defaultdict(moments.Moments)
    for reward, value in values:
      if value is not None:
        by_reward[round(reward, 1)].add(value)
    if values and sum(sums.n for sums in by_reward.values()) == len(values):
      tables[name] = [
        [reward, sums.n, *sums.pair()]
        for reward, sums in sorted(by_reward.items())
      ]
  return tables


def _value(answer: answers.Answer, name: str) -> float | None:
  if name == 'true_score':
    return answer.true_score
  return answers.answer_metrics(answer).get(name)


def _lengths(evaluation: answers.Evaluation, limit: int) -> dict[str, Any]:
  tally = lengths.Lengths(limit)
  for answer in evaluation.answers:
    tally.add(
      tokens=answer.tokens,
      ended=answer.ended,
      reasoning=answer.reasoning,
      answer=answer.text,
      reward=answer.reward,
    )
  return tally.numbers()
