"""Draws examples as long as LongLaMP's, or so many times shorter."""

import numpy as np

from restpg_jax import config
from restpg_jax.preflight import workload
from restpg_jax.training import packing

LONGEST = 5120 + 1536  # tokens of an example
PAPER = config.Config(
  retrieval=config.Retrieval('bm25', k=5),
  prompt=config.Prompt(max_input=5120, max_output=1536),
)
FIRST_WORD = 4  # the tokens before it are control tokens


def longlamp(count: int) -> list[packing.Length]:
  """Returns lengths as preflight assumes them, from Table 2 of the paper."""
  return workload.lengths(PAPER, count, reasoning=False)


def shrunk(
  rng: np.random.Generator, size: packing.Length, *, by: int, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a random prompt and target, `by` times shorter than `size`."""
  tokens = max(2, size.tokens // by)
  targets = min(max(1, size.targets // by), tokens - 1)
  ids = rng.integers(FIRST_WORD, vocab_size, tokens, np.int32)
  return ids[:-targets], ids[-targets:]
