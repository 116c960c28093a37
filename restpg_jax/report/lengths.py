"""Measures how long outputs are, and how reward goes with length."""

from typing import Any

from restpg_jax.report import moments
from restpg_jax.text import words

BINS = 12  # of lengths in tokens, up to prompt.max_output


class Lengths:
  """Lengths of outputs that come one by one."""

  def __init__(self, max_output: int):
    self._width = max(1, -(-max_output // BINS))
    self._tokens = moments.Moments()
    self._clipped = moments.Moments()
    self._reasoning, self._answer = moments.Moments(), moments.Moments()
    self._rewards: dict[int, moments.Moments] = {}
    self._without = 0

  def add(
    self,
    *,
    tokens: int,
    ended: bool,
    reasoning: str,
    answer: str | None,
    reward: float,
  ) -> None:
    """Counts an output; `answer` is None where it never reached one."""
    self._tokens.add(tokens)
    self._clipped.add(not ended)
    if answer is None:
      self._without += 1
    else:
      self._reasoning.add(len(words.words(reasoning)))
      self._answer.add(len(words.words(answer)))
    bin_ = max(0, tokens - 1) // self._width
    self._rewards.setdefault(bin_, moments.Moments()).add(reward)

  def numbers(self) -> dict[str, Any]:
    """Returns what results.json holds, by TRL's names where it has one.

    `reward_by_length`: [tokens, in the middle of a bin, outputs, mean reward,
    its standard error].
    """
    return {
      'completions/mean_length': self._tokens.pair(),
      'completions/clipped_ratio': self._clipped.pair(),
      'reasoning_words': self._reasoning.pair(),
      'answer_words': self._answer.pair(),
      'without_answer': self._without,
      'reward_by_length': [
        [(bin_ + 0.5) * self._width, sums.n, *sums.pair()]
        for bin_, sums in sorted(self._rewards.items())
      ],
    }
