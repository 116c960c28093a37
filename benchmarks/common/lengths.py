"""Examples as long as those of LongLaMP, or so many times shorter."""

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
  """As preflight assumes them, from Table 2 of the paper."""
  return workload.lengths(PAPER, count, reasoning=False)


def shrunk(
  rng, size: packing.Length, *, by: int, words: int
) -> tuple[np.ndarray, np.ndarray]:
  """Prompt and target of random tokens, as many as the lengths say."""
  tokens = max(2, size.tokens // by)
  targets = min(max(1, size.targets // by), tokens - 1)
  drawn = rng.integers(FIRST_WORD, words, tokens, np.int32)
  return drawn[:-targets], drawn[-targets:]
