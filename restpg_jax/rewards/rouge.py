"""ROUGE F-measures, for the report and as a reward without a judge."""

import functools

from rouge_score import rouge_scorer, tokenizers

from restpg_jax.text import words

NAMES = 'rouge1', 'rouge2', 'rougeL', 'rougeLsum'


class Words(tokenizers.Tokenizer):
  """Words in any script; of an ASCII text what the library's own tokenizer
  gives without stemming, as in the benchmark's own numbers.

  The library keeps a-z and 0-9 alone: a text in another script scores 0.
  """

  def tokenize(self, text: str) -> list[str]:
    return words.words(text.replace('_', ' '))


def rouge(name: str, prediction: str, reference: str) -> float:
  """One of NAMES, in [0, 1], as rouge_score gives it; nothing written is 0.

  'the cat sat' against 'the cat ran off': 2 of 3 and 2 of 4 words,
  F = 2 * 2/3 * 2/4 / (2/3 + 2/4) = 4/7 for rouge1 and rougeL. rougeLsum takes
  each line for a sentence; of texts of one line it is rougeL.
  """
  return float(_scorer(name).score(reference, prediction)[name].fmeasure)


def mean_rouge(prediction: str, reference: str) -> float:
  """The mean of ROUGE-1 and ROUGE-L F, in [0, 1]."""
  one, longest = (
    rouge(name, prediction, reference) for name in ('rouge1', 'rougeL')
  )
  return (one + longest) / 2


@functools.cache
def _scorer(name: str):
  return rouge_scorer.RougeScorer([name], tokenizer=Words())
