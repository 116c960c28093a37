"""Documents by the dot product of vectors (Contriever, arXiv 2112.09118)."""

from collections.abc import Callable, Sequence

import numpy as np

from restpg_jax.retrieval import question


def rank_by_vectors(
  queries: Sequence[question.RetrievalQuery],
  embed: Callable[[Sequence[str]], np.ndarray],
) -> list[list[int]]:
  """Returns indices of each query's documents, best first.

  Ties are in the profile's order. embed: distinct texts -> vectors [N, D].
  """
  texts = dict.fromkeys(
    text for query in queries for text in (query.query, *query.keys)
  )
  row = {text: n for n, text in enumerate(texts)}
  vectors_ND = embed(list(texts))
  orders = []
  for query in queries:
    keys_KD = vectors_ND[[row[key] for key in query.keys]]
    # Not `@`: its sums run in another order for the last rows than for the
    # first, and equal documents would not tie.
    scores_K = np.einsum('kd,d->k', keys_KD, vectors_ND[row[query.query]])
    orders.append(np.argsort(-scores_K, kind='stable').tolist())
  return orders
