"""ROUGE F-measures, for the report and as a reward without a judge."""

import functools

from rouge_score import rouge_scorer

# No stemming, as in the benchmark's own numbers (the default of `evaluate`).
# The library's tokenizer lowers the case and keeps only a-z and 0-9: a text
# in another script has no words and scores 0.
STEM = False


def scores(prediction: str, reference: str) -> dict[str, float]:
  """ROUGE-1 and ROUGE-L F-measure, each in [0, 1]; nothing written is 0.

  'the cat sat' against 'the cat ran off': 2 of 3 and 2 of 4 words,
  F = 2 * 2/3 * 2/4 / (2/3 + 2/4) = 4/7 for both.
  """
  found = _scorer().score(reference, prediction)
  return {name: float(score.fmeasure) for name, score in found.items()}


def reward(prediction: str, reference: str) -> float:
  """The mean of ROUGE-1 and ROUGE-L F, in [0, 1]."""
  found = scores(prediction, reference)
  return (found['rouge1'] + found['rougeL']) / 2


@functools.cache
def _scorer():
  return rouge_scorer.RougeScorer(['rouge1', 'rougeL'], use_stemmer=STEM)
