"""ROUGE F-measures, for the report and as a reward without a judge."""

import functools
from typing import Any

from restpg_jax.text import words

NAMES = 'rouge1', 'rouge2', 'rougeL', 'rougeLsum'


class AnyScriptTokenizer:
  """Splits a text in any script into words.

  The library's own keeps a-z and 0-9 alone: a text in another script scores 0.
  Of an ASCII text both give the same without stemming, as in the numbers of the
  benchmark (LongLaMP).
  """

  def tokenize(self, text: str) -> list[str]:
    # A letter to words.words, but not to the library.
    return words.words(text.replace('_', ' '))


def rouge(name: str, prediction: str, reference: str) -> float:
  """Returns one of NAMES, in [0, 1], as rouge_score gives it.

  'the cat sat' against 'the cat ran off': 2 of 3 and 2 of 4 words,
  F = 2 * 2/3 * 2/4 / (2/3 + 2/4) = 4/7 for rouge1 and rougeL. rougeLsum takes
  each line for a sentence; of texts of one line it is rougeL. That of an empty
  prediction is 0.
  """
  return float(_scorer(name).score(reference, prediction)[name].fmeasure)


def mean_rouge(prediction: str, reference: str) -> float:
  """Returns the mean of ROUGE-1 and ROUGE-L F, in [0, 1]."""
  one, longest = (
    rouge(name, prediction, reference) for name in ('rouge1', 'rougeL')
  )
  return (one + longest) / 2


@functools.cache
def _scorer(name: str) -> Any:
  from rouge_score import rouge_scorer  # imports NLTK, which takes seconds

  return rouge_scorer.RougeScorer([name], tokenizer=AnyScriptTokenizer())
