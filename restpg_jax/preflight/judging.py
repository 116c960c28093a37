"""Says which lengths a judge is compiled for, and how much of them is padding.

Prompts have the lengths of the paper's Table 2; nothing is read.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from restpg_jax import config, paper
from restpg_jax.preflight import workload as work

# Tokens of prompts/judge.txt before the instruction and behind the answer, in
# Gemma's tokenizer.
BEFORE, BEHIND = 187, 11


@dataclasses.dataclass(frozen=True)
class JudgedLengths:
  """Holds the tokens of prompts by input N and answer A."""

  prefix_N: np.ndarray  # shared by the answers to an input
  rest_NA: np.ndarray


@dataclasses.dataclass(frozen=True)
class JudgedTokens:
  """Holds what a judge needs to read of an input, and what it computes."""

  needed: float  # tokens: the prefix once, and every answer
  prefixes: float  # computed: once for each length of its answers
  rests: float  # computed
  lengths: tuple[tuple[int, int], ...]  # that occur, of prefix and rest

  @property
  def padding(self) -> float:
    """Returns the share of computed tokens that nobody needed."""
    return 1 - self.needed / (self.prefixes + self.rests)


def judged_lengths(
  cfg: config.Config, inputs: int, answers: int
) -> JudgedLengths:
  """Returns lengths of prompts, the same at every call.

  Answers are as long as the gold outputs of their task, each by itself: those
  to one input differ as much as those to any two.
  """
  rng = np.random.default_rng(0)
  rows = list(paper.LONGLAMP.values())
  share = np.array([row.examples[0] for row in rows], float)
  chosen = rng.choice(len(rows), inputs, p=share / share.sum())
  limit = cfg.reward.max_input
  max_answer = min(cfg.prompt.max_output, limit // 2)
  prefix_N = np.zeros(inputs, int)
  rest_NA = np.zeros((inputs, answers), int)
  for task, row in enumerate(rows):
    (of_task,) = np.nonzero(chosen == task)
    n = len(of_task)
    known = sum(
      work.draw_words(rng, stats, n) for stats in (row.input, row.output)
    )
    prefix_N[of_task] = BEFORE + work.TOKENS * known
    num_words = work.draw_words(rng, row.output, n * answers)
    lengths = np.minimum(work.TOKENS * num_words, max_answer)
    rest_NA[of_task] = BEHIND + lengths.reshape(n, answers)
  longest_N = rest_NA.max(axis=1)
  return JudgedLengths(np.clip(prefix_N, 0, limit - longest_N), rest_NA)


def computed_tokens(
  judged: JudgedLengths, lengths: Sequence[tuple[int, int]]
) -> JudgedTokens:
  """Returns what is computed with these lengths, a mean over inputs.

  `lengths` are as candidates.compiled_lengths returns them.
  """
  N, A = judged.rest_NA.shape
  prefix_NA = np.broadcast_to(judged.prefix_N[:, None], (N, A))
  pair_NA = _first_fit(prefix_NA, judged.rest_NA, lengths)
  moved_NA = pair_NA < 0  # candidates.fitted: a prefix of their own
  _, behind = max(lengths)
  whole_NA = prefix_NA + judged.rest_NA
  alone_NA = _first_fit(whole_NA - behind, np.full((N, A), behind), lengths)
  S_L, R_L = np.array(lengths).T
  reads = S_L[alone_NA[moved_NA]].sum()
  for pair, S in enumerate(S_L):
    reads += S * np.any((pair_NA == pair) & ~moved_NA, axis=1).sum()
  used_NA = np.where(moved_NA, alone_NA, pair_NA)
  return JudgedTokens(
    needed=float(judged.prefix_N.sum() + judged.rest_NA.sum()) / N,
    prefixes=float(reads) / N,
    rests=float(R_L[used_NA].sum()) / N,
    lengths=tuple(lengths[n] for n in np.unique(used_NA)),
  )


def _first_fit(
  prefix_NA: np.ndarray,
  rest_NA: np.ndarray,
  lengths: Sequence[tuple[int, int]],
) -> np.ndarray:
  """Returns which of the lengths candidates.fitting would find; -1: none."""
  pair_NA = np.full(rest_NA.shape, -1)
  for n, (S, R) in reversed(list(enumerate(lengths))):
    pair_NA[(prefix_NA <= S) & (rest_NA <= R)] = n
  return pair_NA
