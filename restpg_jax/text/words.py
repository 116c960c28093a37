"""The words of a text in any script: the only door to regex.

BM25, ROUGE and the search for copies count these, so that a user's language
decides nothing. The words of an ASCII text are its runs of letters, digits and
underscores in lower case, as in the libraries that know English only.
"""

import itertools
import re
import unicodedata

import regex

ASCII = re.compile(r'\w+')
# Scripts that have no spaces between words: ideographs and kana, and those
# whose lines Unicode has broken by a dictionary (Thai, Lao, Khmer, Myanmar ..).
# Such dictionaries differ; here a character, with its vowel signs, is a word.
ALPHABETIC = r'\p{Line_Break=SA}'
UNSPACED = rf"""
  [[{ALPHABETIC}\p{{Ideographic}}\p{{scx=Hiragana}}\p{{scx=Katakana}}]
   &&[\p{{L}}\p{{N}}]--\p{{DI}}]"""
LETTER = rf'[[\p{{L}}\p{{N}}_]--\p{{DI}}--{UNSPACED}]'
IGNORED = r'[\p{DI}--\u200b]'  # joiners; a space of no width parts words
SIGNS = rf'[\p{{M}}{IGNORED}]*'
CHARACTER = rf'(?={UNSPACED})\X{SIGNS}'  # \X leaves out some signs of Myanmar
SPACED = rf'(?:{LETTER}{SIGNS})+'


def _compiled(pattern: str) -> regex.Pattern[str]:
  return regex.compile(pattern, regex.VERSION1 | regex.VERBOSE)


# What is ASCII comes first for speed.
_WORD = _compiled(rf'[a-z0-9_]++(?=[\x00-\x7f]|\Z)|{CHARACTER}|{SPACED}')
_RUN = _compiled(rf'(?:{CHARACTER})+|{SPACED}')
_CHARACTER = _compiled(CHARACTER)
_ALPHABETIC = _compiled(ALPHABETIC)
_IGNORED = _compiled(IGNORED)
_HANGUL = _compiled(r'\p{Hangul}+')
_EMOJI = _compiled(r'(?=[\p{Extended_Pictographic}\p{Regional_Indicator}])\X')


def words(text: str) -> list[str]:
  """Returns the words in lower case, NFKC, with vowel signs and accents.

  "Don't!"  ->  don, t;  'Café'  ->  café;  '茶壶 Nr. 5'  ->  茶, 壶, nr, 5

  The words of a text without letters and digits are its emoji.
  """
  if text.isascii():
    return ASCII.findall(text.lower())
  matches = _WORD.findall(text.lower())
  folded = [word if word.isascii() else _folded(word) for word in matches]
  return folded or _EMOJI.findall(text)


def terms(text: str) -> list[str]:
  """Returns the words, and pairs of neighbours where characters are words.

  '茶壶 Nr. 5'  ->  茶, 壶, 茶壶, nr, 5

  One letter of Thai or kana says nothing about a subject. In Korean, which
  joins particles to the noun, pairs of syllables are terms as well, as in
  Lucene's analyzer for these languages.
  """
  if text.isascii():
    return words(text)
  terms_of_text = []
  for run in _RUN.findall(text):
    words_of_run = words(run)
    first = words_of_run[0]
    parts = first if _HANGUL.fullmatch(first) else words_of_run
    pairs = map(''.join, itertools.pairwise(parts))
    terms_of_text += words_of_run
    # A Korean word of two syllables is its own pair.
    terms_of_text += (pair for pair in pairs if pair != first)
  return terms_of_text or words(text)


def spaced(text: str) -> str:
  """Returns the text with spaces around each character that is a word.

  '茶壶很好, OK'  ->  ' 茶  壶  很  好 , OK'
  """
  return text if text.isascii() else _CHARACTER.sub(r' \g<0> ', text)


def eighths(word: str) -> int:
  """Returns how many eighths of a word in a spaced script it stands for.

  8, but less for a character that is a word: an English word takes about 1.3
  ideographs (6 eighths each) or 2.7 letters of Thai (3 eighths).
  """
  if word.isascii() or not _CHARACTER.match(word):
    return 8
  return 3 if _ALPHABETIC.match(word) else 6


def _folded(word: str) -> str:
  return _IGNORED.sub('', unicodedata.normalize('NFKC', word).casefold())
