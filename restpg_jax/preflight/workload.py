"""Estimates how much a run reads and writes, before its data is at hand."""

import dataclasses
from collections.abc import Callable

import numpy as np

from restpg_jax import config, paper
from restpg_jax.training import packing

# Assumptions, printed with every figure that follows from them (`assumed`).
TOKENS = 1.35  # tokens a word
TEMPLATE = 120  # tokens of a prompt that are neither input nor document
REASONING = 250  # tokens of the reasoning before an answer


@dataclasses.dataclass(frozen=True)
class TextLengths:
  """Holds mean numbers of tokens over the training examples."""

  input: float
  gold: float
  prompt: float  # of the policy: input and k documents as long as outputs are
  reasoning: float

  def written(self, reasoning: bool, limit: int) -> float:
    """Returns the mean tokens that the policy writes for an input."""
    return min(limit, self.gold + reasoning * self.reasoning)


def examples(cfg: config.Config, split: str, *, limit: int = 0) -> int:
  """Returns the number of examples of a split, all tasks together.

  limit: at most so many of each task; 0: all.
  """
  if cfg.data.path:
    counts = [
      row.examples[paper.SPLITS.index(split)] for row in paper.LONGLAMP.values()
    ]
  else:
    total, tasks = getattr(cfg.data.world, split), len(paper.LONGLAMP)
    counts = [total // tasks + (n < total % tasks) for n in range(tasks)]
  limits = [n for n in (limit, cfg.data.limit) if n]
  return sum(min([count, *limits]) for count in counts)


def text_lengths(cfg: config.Config) -> TextLengths:
  """Returns LongLaMP's lengths; synthetic users' texts are at most as long."""
  total = sum(row.examples[0] for row in paper.LONGLAMP.values())

  def mean(length: Callable[[float, float], float]) -> float:
    """Averages length(input, gold), both in tokens, over all tasks."""
    return sum(
      row.examples[0]
      / total
      * length(TOKENS * row.input[0], TOKENS * row.output[0])
      for row in paper.LONGLAMP.values()
    )

  k, limit = _num_documents(cfg), cfg.prompt.max_input
  return TextLengths(
    input=mean(lambda input, gold: input),
    gold=min(cfg.prompt.max_output, mean(lambda input, gold: gold)),
    prompt=mean(lambda input, gold: min(limit, TEMPLATE + input + k * gold)),
    reasoning=min(REASONING, cfg.reason.max_output),
  )


def lengths(
  cfg: config.Config, count: int, *, reasoning: bool
) -> list[packing.Length]:
  """Returns lengths of `count` training examples, the same at every call.

  Numbers of words are drawn from log-normal distributions with the means and
  deviations of Table 2.
  """
  rng = np.random.default_rng(0)
  rows = list(paper.LONGLAMP.values())
  share = np.array([row.examples[0] for row in rows], float)
  chosen = rng.choice(len(rows), count, p=share / share.sum())
  return [_length(rng, rows[n], cfg, reasoning) for n in chosen]


def _length(
  rng: np.random.Generator,
  row: paper.DatasetStats,
  cfg: config.Config,
  reasoning: bool,
) -> packing.Length:
  """Draws the tokens of an example and of its target."""
  num_words = draw_words(rng, row.output, 1 + _num_documents(cfg))
  prompt = TEMPLATE + TOKENS * (
    draw_words(rng, row.input)[0] + sum(num_words[1:])
  )
  target = 1 + TOKENS * num_words[0]
  if reasoning:
    target += min(REASONING, cfg.reason.max_output)
  target = min(int(target), cfg.prompt.max_output)
  return packing.Length(min(int(prompt), cfg.prompt.max_input) + target, target)


def draw_words(
  rng: np.random.Generator, stats: tuple[float, float], count: int = 1
) -> np.ndarray:
  """Draws [count] from the log-normal with this mean and deviation."""
  mean, deviation = stats
  variance = np.log1p((deviation / mean) ** 2)
  return rng.lognormal(np.log(mean) - variance / 2, variance**0.5, count)


def _num_documents(cfg: config.Config) -> int:
  """Returns the number of documents in a prompt."""
  return cfg.retrieval.k if cfg.retrieval.name != 'none' else 0


def documents_per_user() -> float:
  """Returns the mean number of documents of a user."""
  counted = [
    (row.examples[0], row.profile[0]) for row in paper.LONGLAMP.values()
  ]
  return sum(n * mean for n, mean in counted) / sum(n for n, _ in counted)


def assumed(cfg: config.Config) -> str:
  """Says what the figures assume, for whoever reads them."""
  known = text_lengths(cfg)
  data = 'LongLaMP (Table 2)' if cfg.data.path else 'synthetic users'
  return (
    f'{data}: {examples(cfg, "train"):,} training, {examples(cfg, "val"):,} '
    f'validation and {examples(cfg, "test"):,} test inputs; assumed {TOKENS} '
    f'tokens a word, documents as long as outputs: prompts of '
    f'{known.prompt:,.0f}, golds of {known.gold:,.0f} and reasoning of '
    f'{known.reasoning:,.0f} tokens in the mean'
  )
