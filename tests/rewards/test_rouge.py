"""Facts about restpg_jax/rewards/rouge.py."""

import numpy as np
import pytest
from rouge_score import rouge_scorer

from restpg_jax.rewards import rouge


def test_counts_words_and_their_order():
  # 3 words in common of 3 and 4; in one order only 'a ... c': 2.
  assert rouge.rouge('rouge1', 'c a b', 'a b d c') == pytest.approx(6 / 7)
  assert rouge.rouge('rougeL', 'c a b', 'a b d c') == pytest.approx(4 / 7)
  assert rouge.mean_rouge('c a b', 'a b d c') == pytest.approx((6 + 4) / 7 / 2)


@pytest.mark.parametrize('name', ['rouge1', 'rougeL'])
def test_the_docstrings_example(name):
  score = rouge.rouge(name, 'the cat sat', 'The cat ran off.')
  assert score == pytest.approx(4 / 7)


def test_pairs_of_words():
  # a b, b c against a b, b d, d c: one of 2, one of 3.
  assert rouge.rouge('rouge2', 'a b c', 'a b d c') == pytest.approx(2 / 5)


def test_a_line_is_a_sentence():
  # In one text the order of the lines counts, line by line it does not.
  written, gold = 'a b\nc d', 'c d\na b'
  assert rouge.rouge('rougeL', written, gold) == 0.5
  assert rouge.rouge('rougeLsum', written, gold) == 1.0


@pytest.mark.parametrize('prediction', ['', ' \n', '...', '猫'])
def test_nothing_said_scores_zero(prediction):
  for name in rouge.NAMES:
    assert rouge.rouge(name, prediction, 'the cat') == 0.0
    assert rouge.rouge(name, prediction, '') == 0.0


def test_the_same_text_scores_one_and_is_a_plain_float():
  score = rouge.mean_rouge('Blue boats', 'blue boats!')
  assert score == 1.0 and type(score) is float


def test_words_are_not_stemmed():
  assert rouge.mean_rouge('boats', 'boat') == 0.0


def text(rng, words: int) -> str:
  """Of a few words, so that many are in common; some have lines."""
  ends = [' '] if rng.random() < 0.5 else [' ', ' ', '. ', '\n', '\n\n']
  return ''.join(
    f'{rng.choice(["A", "b", "cc", "d9", "_e", "Ff"])}{rng.choice(ends)}'
    for _ in range(words)
  )


@pytest.mark.parametrize('name', rouge.NAMES)
def test_every_score_is_the_librarys(name):
  rng = np.random.default_rng(0)
  library = rouge_scorer.RougeScorer([name], use_stemmer=False)
  for _ in range(300):
    written, gold = (text(rng, rng.integers(0, 70)) for _ in range(2))
    theirs = library.score(gold, written)[name].fmeasure
    assert rouge.rouge(name, written, gold) == theirs
