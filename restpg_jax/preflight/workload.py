"""How much there is to read and write in a run, before its data is at hand."""

import dataclasses

import numpy as np

from restpg_jax import config, paper
from restpg_jax.training import packing

# Assumed, and said with every figure that follows from them.
TOKENS = 1.35  # of a word
TEMPLATE = 120  # tokens of a prompt that are neither input nor document
REASONING = 250  # tokens


@dataclasses.dataclass(frozen=True)
class TextLengths:
  """Mean tokens, over the examples of the training set."""

  input: float
  gold: float
  prompt: float  # of the policy: input and k documents as long as outputs are
  reasoning: float

  def written(self, reasoning: bool, limit: int) -> float:
    """By the policy."""
    return min(limit, self.gold + reasoning * self.reasoning)


def examples(cfg: config.Config, split: str, *, most: int = 0) -> int:
  """Of all tasks; at most so many of each, if that is not 0."""
  if cfg.data.path:
    of_task = [
      row.examples[paper.SPLITS.index(split)] for row in paper.LONGLAMP.values()
    ]
  else:
    total, tasks = getattr(cfg.data.world, split), len(paper.LONGLAMP)
    of_task = [total // tasks + (n < total % tasks) for n in range(tasks)]
  limits = [n for n in (most, cfg.data.limit) if n]
  return sum(min([count, *limits]) for count in of_task)


def text_lengths(cfg: config.Config) -> TextLengths:
  """Of LongLaMP; the synthetic users' are at most as long."""
  total = sum(row.examples[0] for row in paper.LONGLAMP.values())

  def mean(of):
    return sum(
      row.examples[0]
      / total
      * of(TOKENS * row.input[0], TOKENS * row.output[0])
      for row in paper.LONGLAMP.values()
    )

  k, limit = _read(cfg), cfg.prompt.max_input
  return TextLengths(
    input=mean(lambda asked, gold: asked),
    gold=min(cfg.prompt.max_output, mean(lambda asked, gold: gold)),
    prompt=mean(lambda asked, gold: min(limit, TEMPLATE + asked + k * gold)),
    reasoning=min(REASONING, cfg.reason.max_output),
  )


def lengths(
  cfg: config.Config, count: int, *, reasoning: bool
) -> list[packing.Length]:
  """Of so many training examples, as if words were log-normal; always the
  same."""
  rng = np.random.default_rng(0)
  rows = list(paper.LONGLAMP.values())
  share = np.array([row.examples[0] for row in rows], float)
  chosen = rng.choice(len(rows), count, p=share / share.sum())
  return [_length(rng, rows[n], cfg, reasoning) for n in chosen]


def _length(rng, row: paper.DatasetStats, cfg: config.Config, reasoning: bool):
  said = [_words(rng, row.output) for _ in range(1 + _read(cfg))]
  prompt = TEMPLATE + TOKENS * (_words(rng, row.input) + sum(said[1:]))
  target = 1 + TOKENS * said[0]
  if reasoning:
    target += min(REASONING, cfg.reason.max_output)
  target = min(int(target), cfg.prompt.max_output)
  return packing.Length(min(int(prompt), cfg.prompt.max_input) + target, target)


def _words(rng, of: tuple[float, float]) -> float:
  """Log-normal with this mean and deviation."""
  mean, deviation = of
  variance = np.log1p((deviation / mean) ** 2)
  return rng.lognormal(np.log(mean) - variance / 2, variance**0.5)


def _read(cfg: config.Config) -> int:
  """Documents in a prompt."""
  return cfg.retrieval.k if cfg.retrieval.name != 'none' else 0


def documents() -> float:
  """Of a user, in the mean."""
  counted = [
    (row.examples[0], row.profile[0]) for row in paper.LONGLAMP.values()
  ]
  return sum(n * mean for n, mean in counted) / sum(n for n, _ in counted)


def assumed(cfg: config.Config) -> str:
  """In words, for whoever reads the figures."""
  known = text_lengths(cfg)
  data = 'LongLaMP (Table 2)' if cfg.data.path else 'synthetic users'
  return (
    f'{data}: {examples(cfg, "train"):,} training, {examples(cfg, "val"):,} '
    f'validation and {examples(cfg, "test"):,} test inputs; assumed {TOKENS} '
    f'tokens a word, documents as long as outputs: prompts of '
    f'{known.prompt:,.0f}, golds of {known.gold:,.0f} and reasoning of '
    f'{known.reasoning:,.0f} tokens in the mean'
  )
