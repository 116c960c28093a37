"""Documents by chance: what retrieval is worth beside none."""

import zlib

import numpy as np

from restpg_jax.retrieval import question


def rank_at_random(asked: question.RetrievalQuery, *, seed: int) -> list[int]:
  """Indices in an order that depends on the seed and the example alone."""
  rng = np.random.default_rng([seed, zlib.crc32(asked.id.encode())])
  return rng.permutation(len(asked.keys)).tolist()
