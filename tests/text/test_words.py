"""Facts about restpg_jax/text/words.py: words in any script."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import tokenize

from restpg_jax import types
from restpg_jax.data import copies
from restpg_jax.retrieval import bm25
from restpg_jax.rewards import bleu, rouge
from restpg_jax.text import words
from tests.text import languages

ASCII = st.text(st.characters(max_codepoint=127), max_size=80)
USERS = pytest.mark.parametrize('name', languages.USERS)


@settings(max_examples=500, deadline=None)
@given(ASCII)
def test_of_an_ascii_text_nothing_is_new(text):
  before = re.findall(r'\w+', text.lower())
  assert words.words(text) == words.terms(text) == before
  assert copies.normalized_words(text) == (before or text.split())
  assert rouge.AnyScriptTokenizer().tokenize(text) == tokenize.tokenize(
    text, None
  )
  assert words.spaced(text) == text


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_has_words_that_stay_themselves(text):
  found = words.words(text)
  assert all(found) and words.terms(text)[:1] == found[:1]
  assert words.spaced(text).replace(' ', '') == text.replace(' ', '')


@pytest.mark.parametrize(
  'text, expected',
  [
    ("Don’t stop – it's “fine”…", 'don t stop it s fine'),
    ('Le Cafe\u0301, CAFÉ', 'le café café'),
    ('naïve_x Straße', 'naïve_x strasse'),
    ('１２ ｶﾞｽ', '12 ガ ス'),
    ('हिन्दी में', 'हिन्दी में'),
    ('தமிழ், உரை', 'தமிழ் உரை'),
    ('می‌خواهم', 'میخواهم'),
    ('שָׁלוֹם־עולם', 'שָׁלוֹם עולם'),
    ('ΣΊΣΥΦΟΣ Σίσυφος', 'σίσυφοσ σίσυφοσ'),
    ('한국어를', '한국어를'),
    ('iPhone手机，很好。', 'iphone 手 机 很 好'),
    ('コーヒー', 'コ ー ヒ ー'),
    ('กินข้าว', 'กิ น ข้ า ว'),
    ('မာ', 'မာ'),
    ('❤️ 👍🏽🎉', '❤️ 👍🏽 🎉'),
    ('Acme™ 👍', 'acme'),
    ('— … !', ''),
  ],
)
def test_words_in_other_scripts(text, expected):
  assert words.words(text) == expected.split()


def test_pairs_where_characters_are_words():
  assert words.terms('茶壶, 好 ok') == '茶 壶 茶壶 好 ok'.split()
  assert words.terms('차를 산 é') == '차를 산 é'.split()
  assert words.terms('찻주전자') == '찻주전자 찻주 주전 전자'.split()


@USERS
def test_the_document_that_fits_comes_first_in_any_language(name):
  user = languages.USERS[name]
  assert bm25.rank_by_bm25(user.input, [*user.others, user.right])[0] == 3


@USERS
def test_the_near_copy_is_found_in_any_language(name):
  user = languages.USERS[name]
  profile = [
    types.Document(text, text) for text in [*user.profile, user.output]
  ]
  assert list(copies.find_copies(user.output, profile).leaked) == [4, 5]


@USERS
def test_scores_of_the_same_and_of_nearly_the_same_text(name):
  user = languages.USERS[name]
  for metric in (rouge.mean_rouge, bleu.sentence):
    assert metric(user.output, user.output) == pytest.approx(1)
  assert 0.8 < rouge.mean_rouge(user.copy, user.output) < 1
  if name != 'emoji':  # sacrebleu leaves it one word
    assert 0.6 < bleu.sentence(user.copy, user.output) < 1
  assert rouge.mean_rouge(user.others[1], user.output) < 0.5
