"""BLEU by sacrebleu: of one answer, and of all answers to a task."""

import functools
from collections.abc import Iterable, Sequence

from sacrebleu.metrics import bleu

from restpg_jax.text import words


def sentence(prediction: str, reference: str) -> float:
  """Returns sacrebleu's sentence BLEU, over 100: in [0, 1].

  It is smoothed, and counts the lengths of n-grams that the answer has. Words
  are those of '13a'; characters of scripts without spaces are words.
  """
  return _score(prediction, reference).score / 100


def counts(prediction: str, reference: str) -> list[int]:
  """Returns what `corpus` needs of an answer, ten numbers.

  The number of words of prediction and reference, then that of n-grams in
  common and that of n-grams of the prediction, each for n = 1 to 4.
  """
  score = _score(prediction, reference)
  return [score.sys_len, score.ref_len, *score.counts, *score.totals]


def corpus(counted: Iterable[Sequence[int]]) -> float:
  """Returns sacrebleu's corpus BLEU, over 100, of answers by their `counts`."""
  written, gold, *ngrams = map(sum, zip(*counted, strict=True))
  score = bleu.BLEU.compute_bleu(
    ngrams[:4], ngrams[4:], written, gold, smooth_method='exp'
  )
  return score.score / 100


@functools.lru_cache(1)  # `sentence` and `counts` ask for the same in turn
def _score(prediction: str, reference: str) -> bleu.BLEUScore:
  texts = words.spaced(prediction), words.spaced(reference)
  return _scorer().sentence_score(texts[0], [texts[1]])


@functools.cache
def _scorer() -> bleu.BLEU:
  return bleu.BLEU(effective_order=True)
