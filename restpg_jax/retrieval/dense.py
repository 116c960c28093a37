"""Documents by the dot product of vectors (Contriever, arXiv 2112.09118)."""

from collections.abc import Callable, Sequence

import numpy as np

from restpg_jax.retrieval import question


def ranked(
  questions: Sequence[question.RetrievalQuery],
  embed: Callable[[Sequence[str]], np.ndarray],
) -> list[list[int]]:
  """Indices of each question's documents, best first; ties by their place.

  embed: distinct texts -> a vector each, [N, D].
  """
  texts = dict.fromkeys(
    text for asked in questions for text in (asked.query, *asked.keys)
  )
  place = {text: n for n, text in enumerate(texts)}
  vectors_ND = embed(list(texts))
  orders = []
  for asked in questions:
    keys_KD = vectors_ND[[place[key] for key in asked.keys]]
    # Not `@`: its sums run in another order for the last rows than for the
    # first, and equal documents would not tie.
    scores_K = np.einsum('kd,d->k', keys_KD, vectors_ND[place[asked.query]])
    orders.append(np.argsort(-scores_K, kind='stable').tolist())
  return orders
