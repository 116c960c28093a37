"""BM25 over one user's documents, by the rank-bm25 library."""

from collections.abc import Sequence

import numpy as np
import rank_bm25

from restpg_jax.text import words


def rank_by_bm25(query: str, keys: Sequence[str]) -> list[int]:
  """Returns indices of the documents, best first; ties in the profile's order.

  BM25Plus for its idf, log((n + 1) / df): Okapi's is zero or less for a word
  that half of the documents have, which of a few documents any word is.
  """
  terms = [words.terms(key) for key in keys]
  if not any(terms):  # the library divides by the mean length
    return list(range(len(keys)))
  scores = rank_bm25.BM25Plus(terms).get_scores(words.terms(query))
  scores = scores.round(9)  # equal up to the order of a sum is a tie
  return [int(n) for n in np.argsort(-scores, kind='stable')]
