"""Facts about restpg_jax/rewards/rouge.py."""

import pytest

from restpg_jax.rewards import rouge


def test_counts_words_and_their_order():
  # 3 words in common of 3 and 4; in one order only 'a ... c': 2.
  found = rouge.scores('c a b', 'a b d c')
  assert found == {
    'rouge1': pytest.approx(2 * 3 / (3 + 4)),
    'rougeL': pytest.approx(2 * 2 / (3 + 4)),
  }
  assert rouge.reward('c a b', 'a b d c') == pytest.approx((6 + 4) / 7 / 2)


def test_the_docstrings_example():
  found = rouge.scores('the cat sat', 'The cat ran off.')
  assert found == pytest.approx({'rouge1': 4 / 7, 'rougeL': 4 / 7})


@pytest.mark.parametrize('prediction', ['', ' \n', '...', '猫'])
def test_nothing_said_scores_zero(prediction):
  assert rouge.reward(prediction, 'the cat') == 0.0
  assert rouge.reward(prediction, '') == 0.0


def test_the_same_text_scores_one_and_is_a_plain_float():
  score = rouge.reward('Blue boats', 'blue boats!')
  assert score == 1.0 and type(score) is float


def test_words_are_not_stemmed():
  assert rouge.reward('boats', 'boat') == 0.0
