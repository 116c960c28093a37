"""METEOR by NLTK, with WordNet's synonyms, as `evaluate` computes it.

NLTK brings no data: WordNet and the tokenizer's model are the user's to
install, once. Nothing is fetched here. Importing NLTK takes seconds, which a
run without this metric is spared.
"""

from restpg_jax import errors
from restpg_jax.text import words

DATA = 'wordnet', 'punkt_tab'
REMEDY = f'python -m nltk.downloader {" ".join(DATA)}'


def check_wordnet() -> None:
  """Raises InputError where NLTK's data is not on this machine."""
  import nltk
  from nltk.corpus import wordnet

  try:
    wordnet.ensure_loaded()
    nltk.word_tokenize('a')  # reads punkt_tab, if it is there
  except LookupError as error:
    raise errors.InputError(
      f"meteor needs NLTK's data {' and '.join(DATA)}, and not all of it is on "
      f'this machine: get it by `{REMEDY}`, or leave meteor out of '
      'evaluate.metrics'
    ) from error


def meteor(prediction: str, reference: str) -> float:
  """Returns METEOR, in [0, 1]; that of an empty prediction is 0."""
  import nltk
  from nltk.corpus import wordnet
  from nltk.translate import meteor_score

  return meteor_score.single_meteor_score(
    nltk.word_tokenize(words.spaced(reference)),
    nltk.word_tokenize(words.spaced(prediction)),
    wordnet=wordnet,
  )


def dictionary() -> str:
  """Returns the version of the WordNet in use, '3.0'."""
  from nltk.corpus import wordnet

  return wordnet.get_version() or 'unknown'
