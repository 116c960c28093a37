"""Rewards of samples: R(x, y, y_hat) reads the final answer only."""

import collections
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence

import jax

from restpg_jax import config, errors, types
from restpg_jax.io import progress, records
from restpg_jax.rewards import judge, rouge
from restpg_jax.stages import language, samples
from restpg_jax.text import prompts, templates


@dataclasses.dataclass(frozen=True)
class Question:
  """What a reward looks at."""

  instruction: str
  reference: str
  answer: str


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides a reward."""

  reward: config.Reward
  prompt: config.Prompt  # says where the answer begins
  reasoning: bool
  m: int = config.extent()  # samples of an example: j < m
  accept: float | None = config.local(None)  # shown: who reaches this reward


# Rewards of questions, in order, in any number of pieces.
Reward = Callable[[Sequence[Question]], Iterator[Sequence[float]]]


def score(examples, trajectories, *, out, cfg: Settings, layout) -> dict:
  """scored.jsonl: the same trajectories, each with its reward.

  An output without the answer marker gets 0 and is counted; equal questions
  are asked once. A later round may have drawn nothing.
  """
  examples = records.read(examples / 'examples.jsonl', types.Example)
  by_id = {e.id: e for e in examples}
  drawn = list(samples.read(trajectories / 'trajectories.jsonl', cfg.m))
  asked = questions(drawn, by_id, cfg)
  log = records.Shards(out / 'rewards', Scored, host=jax.process_index())
  known = {s.question: s.reward for s in reversed(log.done)}
  times = collections.Counter(q for q in asked if q)
  old = [q for q in times if q in known]
  new = [q for q in times if q not in known]
  reward = build(cfg.reward, layout)

  def rewards(questions):
    return [r for q in questions for r in [known[q]] * times[q]]

  with progress.bar(
    len(times),
    'answers',
    'score',
    len(old),
    accept=cfg.accept,
    log=out / 'metrics.jsonl',
  ) as shown:
    shown.update(0, rewards=rewards(old))
    place = read = 0
    for values in reward(new):
      part = new[place : place + len(values)]
      log.append([Scored(q, r) for q, r in zip(part, values, strict=True)])
      known |= zip(part, values, strict=True)
      place += len(part)
      tokens = getattr(reward, 'tokens', read) - read
      read += tokens
      shown.update(len(part), tokens=tokens or None, rewards=rewards(part))
  scored = [
    dataclasses.replace(s, reward=known[q] if q else 0.0)
    for s, q in zip(drawn, asked, strict=True)
  ]
  made = records.write(out / 'scored.jsonl', scored)
  return {
    'expected': len(drawn),
    'made': made,
    'distinct': len(set(asked) - {None}),
    'without_answer': asked.count(None),
    'cut_prompts': getattr(reward, 'cut', 0),
    'mean_reward': mean([s.reward for s in scored]),
    'accepted': share(scored, cfg.accept),
  } | shown.totals()


def share(
  scored: Sequence[types.Trajectory], accept: float | None
) -> float | None:
  """Of the samples that reach the reward `accept`; None where it is None."""
  if accept is None:
    return None
  return mean([s.reward >= accept for s in scored])


def mean(rewards: Sequence[float]) -> float | None:
  return sum(rewards) / len(rewards) if rewards else None


@dataclasses.dataclass(frozen=True)
class Scored:
  """A question that has its reward."""

  question: Question
  reward: float


def questions(
  drawn: Sequence[types.Trajectory],
  examples: dict[str, types.Example],
  cfg: Settings,
) -> list[Question | None]:
  """What each sample's reward depends on; None where there is no answer."""
  output = templates.Output.of(language.load_template(cfg.prompt.template))
  found = []
  for sample in drawn:
    example = examples[sample.example_id]
    answer = sample.text.strip()
    if cfg.reasoning:
      _, answer = output.split(sample.text)
    found.append(
      Question(example.input, example.output, answer) if answer else None
    )
  return found


def build(cfg: config.Reward, layout) -> Reward:
  """By name from REWARDS, or 'package.module:function' of somebody else."""
  if cfg.name in REWARDS:
    return REWARDS[cfg.name](cfg, layout)
  module, _, function = cfg.name.partition(':')
  if not function:
    raise errors.InputError(
      f'reward.name is {cfg.name!r}; known are {", ".join(REWARDS)}, or '
      'package.module:function'
    )
  try:
    return getattr(importlib.import_module(module), function)(cfg, layout)
  except (ImportError, AttributeError) as e:
    raise errors.InputError(f'reward.name={cfg.name}: {e}') from e


class Judge:
  """The label that a language model finds likeliest (rewards/judge.py)."""

  def __init__(self, cfg: config.Reward, layout):
    self._template = language.load_template(cfg.template)
    self._model = language.load_named(cfg.model, layout)
    self._limit = cfg.max_input
    self.cut = 0  # prompts that were over the limit, so far
    self.tokens = 0  # of all prompts that were read, so far

  def __call__(self, asked: Sequence[Question]) -> Iterator[list[float]]:
    turns = [
      prompts.judge(
        self._template, self._model.tokenizer, **vars(q), limit=self._limit
      )
      for q in asked
    ]
    self.cut += sum(bool(turn.cut) for turn in turns)
    labels = [str(label) for label in judge.LABELS]
    left = iter(turns)
    for logp in language.label_logp(
      self._model,
      [turn.ids for turn in turns],
      labels,
      prompt_length=max((len(turn.ids) for turn in turns), default=1),
    ):
      self.tokens += sum(len(next(left).ids) for _ in logp)
      yield judge.rewards(logp)


def by_rouge(cfg: config.Reward, layout) -> Reward:
  """Overlap of words, for runs without a judge (rewards/rouge.py)."""
  del cfg, layout
  return lambda asked: ([rouge.reward(q.answer, q.reference)] for q in asked)


REWARDS = {'judge': Judge, 'rouge': by_rouge}
