"""Facts about restpg_jax/rewards/meteor.py, with a WordNet of two words."""

import nltk
import pytest
from nltk.translate import meteor_score

from restpg_jax import errors
from restpg_jax.rewards import meteor
from tests.rewards import nltk_data


@pytest.fixture
def dictionary(tmp_path, monkeypatch):
  nltk_data.wordnet(tmp_path)
  nltk_data.punkt(tmp_path)
  with nltk_data.only(tmp_path, monkeypatch) as reader:
    yield reader


def test_words_by_hand(dictionary):
  # F of 2 words of 2 is 1; one chunk of 2 matches: less 0.5 * (1/2) ** 3.
  assert meteor.meteor('red boats', 'Red boats') == pytest.approx(0.9375)
  # Stems match too, and so do synonyms.
  assert meteor.meteor('red boat', 'red boats') == pytest.approx(0.9375)
  assert meteor.meteor('big boats', 'grand boats') == pytest.approx(0.9375)
  # One word of 2 and 2: F = 0.5, in one chunk of one match: less its half.
  assert meteor.meteor('red boats', 'grand boats') == pytest.approx(0.25)


def test_the_number_in_the_documentation_of_nltk_and_of_evaluate(dictionary):
  written = (
    'It is a guide to action which ensures that the military always obeys '
    'the commands of the party'
  )
  gold = (
    'It is a guide to action that ensures that the military will forever heed '
    'Party commands'
  )
  assert round(meteor.meteor(written, gold), 4) == 0.6944


def test_every_score_is_nltks(dictionary):
  """As evaluate's metric calls it: words of sentences, its parameters."""
  texts = [
    'Big cats. They ran off!',
    "A grand cat didn't run. It sat",
    'cats; big, grand cats ran\nand ran',
    '...',
  ]
  for written in texts:
    for gold in texts:
      theirs = meteor_score.single_meteor_score(
        nltk.word_tokenize(gold),
        nltk.word_tokenize(written),
        wordnet=dictionary,
        alpha=0.9,
        beta=3,
        gamma=0.5,
      )
      assert meteor.meteor(written, gold) == theirs


def test_characters_are_words_where_no_blanks_part_them(dictionary):
  # 3 of 4 characters, in one chunk: F = 0.75, less 0.5 * (1/3) ** 3 of it.
  score = meteor.meteor('新茶壶好', '新茶壶坏')
  assert score == pytest.approx(0.75 * (1 - 0.5 / 27))


@pytest.mark.parametrize('written', ['', ' ', 'xyz'])
def test_nothing_in_common_is_zero(dictionary, written):
  assert meteor.meteor(written, 'red boats') == 0.0


def test_the_dictionarys_version(dictionary):
  meteor.check_wordnet()
  assert meteor.dictionary() == '3.0'


@pytest.mark.parametrize('there', ['nothing', 'wordnet', 'punkt'])
def test_without_its_data_it_is_refused_in_a_line(tmp_path, monkeypatch, there):
  if there != 'nothing':
    getattr(nltk_data, there)(tmp_path)
  with (
    nltk_data.only(tmp_path, monkeypatch),
    pytest.raises(errors.InputError) as error,
  ):
    meteor.check_wordnet()
  message = str(error.value)
  assert 'python -m nltk.downloader wordnet punkt_tab' in message
  assert '\n' not in message
