"""Documents by chance: a baseline that shows what retrieval is worth."""

import zlib

import numpy as np

from restpg_jax.retrieval import question


def rank_at_random(query: question.RetrievalQuery, *, seed: int) -> list[int]:
  """Returns the documents' indices in an order by seed and example alone."""
  # Not hash(), which differs from process to process.
  rng = np.random.default_rng([seed, zlib.crc32(query.id.encode())])
  return rng.permutation(len(query.keys)).tolist()
