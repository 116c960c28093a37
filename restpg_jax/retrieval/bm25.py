"""BM25 over one user's documents, by the rank-bm25 library."""

import re
from collections.abc import Sequence

import numpy as np
import rank_bm25


def rank(query: str, keys: Sequence[str]) -> list[int]:
  """Indices of the documents, best first; ties in the profile's order."""
  words = [_words(key) for key in keys]
  if not any(words):  # the library divides by the mean length
    return list(range(len(keys)))
  scores = rank_bm25.BM25Okapi(words).get_scores(_words(query))
  return [int(n) for n in np.argsort(-scores, kind='stable')]


def _words(text: str) -> list[str]:
  return re.findall(r'\w+', text.lower())
