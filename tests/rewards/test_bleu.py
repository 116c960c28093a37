"""Facts about restpg_jax/rewards/bleu.py."""

import math

import numpy as np
import pytest
import sacrebleu

from restpg_jax.rewards import bleu


def test_a_sentence_by_hand():
  # 5 words of 6: n-grams in common 5/5, 4/4, 3/3, 2/2; too short by a word.
  score = bleu.sentence('the cat sat on a', 'the cat sat on a mat')
  assert score == pytest.approx(math.exp(1 - 6 / 5))


def test_what_is_counted():
  # The words of both; 'a b' and 'c' in common; n-grams of 4 words.
  counts = bleu.counts('a b x c', 'a b c')
  assert counts == [4, 3, 3, 1, 0, 0, 4, 3, 2, 1]


def test_nothing_written_is_zero_and_its_gold_text_counts():
  assert bleu.sentence('', 'a b c d') == 0.0
  whole = bleu.counts('a b c d', 'a b c d')
  assert bleu.corpus([whole]) == pytest.approx(1.0)
  both = bleu.corpus([whole, bleu.counts('', 'a b c d')])
  assert both == pytest.approx(math.exp(1 - 8 / 4))


def test_short_texts_have_a_score():
  assert bleu.sentence('Red boats', 'Red boats') == pytest.approx(1.0)


def texts(seed: int, count: int) -> list[str]:
  rng = np.random.default_rng(seed)
  words = ['the', 'The', 'cat,', 'sat.', "didn't", '3.5', 'é', 'on', '\n']
  return [
    ' '.join(rng.choice(words, rng.integers(1, 40))) for _ in range(count)
  ]


def test_every_score_is_the_librarys():
  written, gold = texts(0, 200), texts(1, 200)
  written[3] = ''
  for a, b in zip(written, gold, strict=True):
    assert bleu.sentence(a, b) == sacrebleu.sentence_bleu(a, [b]).score / 100
  counted = [bleu.counts(a, b) for a, b in zip(written, gold, strict=True)]
  theirs = sacrebleu.corpus_bleu(written, [gold]).score / 100
  assert 0.01 < theirs < 0.5
  assert bleu.corpus(counted) == pytest.approx(theirs, rel=1e-12)


def test_texts_that_share_nothing():
  counted = [bleu.counts('a b', 'c d')] * 2
  assert bleu.corpus(counted) == 0.0
