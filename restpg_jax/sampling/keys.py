"""Derives the random key of a sample from what the sample means.

Never from its index in a batch: a sample is the same whatever is drawn beside
it, in any order, after any restart.
"""

import hashlib

import numpy as np


def row_key(
  *, seed: int, purpose: str, iteration: int, example_id: str, j: int
) -> np.ndarray:
  """Returns the raw threefry key, uint32 [2], of sample j of an example."""
  name = f'{seed}\0{purpose}\0{iteration}\0{example_id}\0{j}'.encode()
  return np.frombuffer(
    hashlib.blake2b(name, digest_size=8).digest(), np.dtype('<u4')
  )
