"""BLEU by sacrebleu: of one answer, and of all answers to a task."""

import functools
from collections.abc import Iterable, Sequence

from sacrebleu import metrics

from restpg_jax.text import words


def sentence(prediction: str, reference: str) -> float:
  """sacrebleu's sentence BLEU, over 100: in [0, 1].

  It is smoothed, and counts the lengths of n-grams that the answer has. Words
  are those of '13a'; characters of scripts without spaces are words.
  """
  return _of(prediction, reference).score / 100


def counts(prediction: str, reference: str) -> list[int]:
  """What `corpus` needs of an answer: the words of both, then n-grams in
  common and n-grams written, for n = 1 to 4."""
  found = _of(prediction, reference)
  return [found.sys_len, found.ref_len, *found.counts, *found.totals]


def corpus(counted: Iterable[Sequence[int]]) -> float:
  """sacrebleu's corpus BLEU, over 100, of the answers so counted."""
  written, gold, *ngrams = map(sum, zip(*counted, strict=True))
  found = metrics.BLEU.compute_bleu(
    ngrams[:4], ngrams[4:], written, gold, smooth_method='exp'
  )
  return found.score / 100


@functools.lru_cache(1)  # `sentence` and `counts` ask for the same in turn
def _of(prediction: str, reference: str) -> metrics.bleu.BLEUScore:
  texts = words.spaced(prediction), words.spaced(reference)
  return _scorer().sentence_score(texts[0], [texts[1]])


@functools.cache
def _scorer() -> metrics.BLEU:
  return metrics.BLEU(effective_order=True)
