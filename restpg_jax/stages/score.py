"""Rewards of samples: R(x, y, y_hat) reads the final answer only."""

import collections
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.io import progress, records
from restpg_jax.rewards import judge, rouge
from restpg_jax.sampling import candidates
from restpg_jax.stages import language, samples
from restpg_jax.text import prompts, templates

# Answers that begin unlike any other, and unlike each other: the tokens around
# an answer's first character may depend on it.
STAND_INS = '\x02', 'a'


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


# Pairs (place in the questions, reward), each question once, in any order and
# any number of pieces; a piece is kept as soon as it comes. The shortest one:
#   lambda asked: ([(n, my_reward(q))] for n, q in enumerate(asked))
Reward = Callable[[Sequence[Question]], Iterator[Sequence[tuple[int, float]]]]


def score(examples, trajectories, *, out, cfg: Settings, layout) -> dict:
  """scored.jsonl: the same trajectories, each with its reward.

  An output without the answer marker gets 0 and is counted; equal questions
  are asked once. A later round may have drawn nothing.
  """
  examples = records.read(examples / 'examples.jsonl', types.Example)
  by_id = {e.id: e for e in examples}
  drawn = list(samples.read(trajectories / 'trajectories.jsonl', cfg.m))
  asked = questions(drawn, by_id, cfg)
  found = rewards_of(
    asked, out=out, cfg=cfg.reward, layout=layout, accept=cfg.accept
  )
  scored = [
    dataclasses.replace(s, reward=found.known[q] if q else 0.0)
    for s, q in zip(drawn, asked, strict=True)
  ]
  made = records.write(out / 'scored.jsonl', scored)
  return {
    'expected': len(drawn),
    'made': made,
    'distinct': len(set(asked) - {None}),
    'without_answer': asked.count(None),
    'cut_prompts': found.cut,
    'mean_reward': mean([s.reward for s in scored]),
    'accepted': share(scored, cfg.accept),
  } | found.totals


@dataclasses.dataclass(frozen=True)
class Rewards:
  """Of distinct questions, and how they were found."""

  known: dict[Question, float]
  cut: int  # prompts that were over the judge's limit, by this process
  totals: dict[str, float]  # rates, for a summary


def rewards_of(
  asked: Sequence[Question | None],
  *,
  out: epath.Path,
  cfg: config.Reward,
  layout,
  accept: float | None = None,
) -> Rewards:
  """Asks what rewards/ does not hold yet, each distinct question once."""
  log = records.Shards(out / 'rewards', Scored, host=jax.process_index())
  known = {s.question: s.reward for s in reversed(log.done)}
  times = collections.Counter(q for q in asked if q)
  old = [q for q in times if q in known]
  new = [q for q in times if q not in known]
  reward = build(cfg, layout)

  def rewards(questions):
    return [r for q in questions for r in [known[q]] * times[q]]

  with progress.bar(
    len(times),
    'answers',
    'score',
    len(old),
    accept=accept,
    log=out / 'metrics.jsonl',
  ) as shown:
    shown.update(0, rewards=rewards(old))
    read = 0
    for found in answered(reward, new, cfg.name):
      log.append([Scored(q, r) for q, r in found.items()])
      known |= found
      tokens = getattr(reward, 'tokens', read) - read
      read += tokens
      shown.update(len(found), tokens=tokens or None, rewards=rewards(found))
  return Rewards(known, getattr(reward, 'cut', 0), shown.totals())


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


def answered(
  reward: Reward, asked: Sequence[Question], name: str
) -> Iterator[dict[Question, float]]:
  """What the reward says of distinct questions, piece by piece.

  Raises InputError unless it answers each of them once.
  """
  left = set(range(len(asked)))
  for found in reward(asked):
    for n, r in found:
      if not 0 <= r <= 1:
        raise errors.InputError(
          f'reward.name={name}: the reward of question {n} is {r}; it must be '
          'from 0 to 1'
        )
      if n not in left:
        raise errors.InputError(
          f'reward.name={name}: it answered question {n} of {len(asked)} '
          'twice, or there is none such; a reward yields lists of (place of '
          'the question, reward)'
        )
      left.remove(n)
    yield {asked[n]: float(r) for n, r in found}
  if left:
    raise errors.InputError(
      f'reward.name={name}: {len(left)} of {len(asked)} questions have no '
      f'reward, the first is number {min(left)}'
    )


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
  """What a language model thinks of an answer (rewards/judge.py).

  The answers to one input share their prompts up to where the answer begins.
  """

  def __init__(self, cfg: config.Reward, layout):
    judge.check(cfg.rule)
    self._rule = cfg.rule
    self._template = language.load_template(cfg.template)
    self._model = language.load_named(cfg.model, layout, dtype=cfg.dtype)
    self._limit = cfg.max_input
    self.cut = 0  # prompts that were over the limit, so far
    self.tokens = 0  # of all prompts that were read, so far

  def __call__(
    self, asked: Sequence[Question]
  ) -> Iterator[list[tuple[int, float]]]:
    of_input = collections.defaultdict(list)
    for n, question in enumerate(asked):
      of_input[question.instruction, question.reference].append(n)
    order = [n for places in of_input.values() for n in places]
    lengths = []

    def judged():
      for places in of_input.values():
        for candidate in self._candidates([asked[n] for n in places]):
          lengths.append(len(candidate.prefix) + len(candidate.rest))
          yield candidate

    labels = [str(label) for label in judge.LABELS]
    for found in language.label_logp(self._model, judged(), labels):
      places, logp = zip(*found, strict=True)
      self.tokens += sum(lengths[n] for n in places)
      values = judge.rewards(np.stack(logp), self._rule)
      yield [(order[n], r) for n, r in zip(places, values, strict=True)]

  def _candidates(
    self, of_input: Sequence[Question]
  ) -> Iterator[candidates.Candidate]:
    """Prompts of answers to one input, each parted where it leaves those of
    stand-ins: so its parts are the same whatever else is judged."""
    first, second = (
      self._prompt(dataclasses.replace(of_input[0], answer=answer)).ids
      for answer in STAND_INS
    )
    shared = candidates.parted(first, second).prefix
    for question in of_input:
      turn = self._prompt(question)
      self.cut += bool(turn.cut)
      yield candidates.parted(turn.ids, shared)

  def _prompt(self, question: Question) -> prompts.Prompt:
    return prompts.judge(
      self._template,
      self._model.tokenizer,
      **vars(question),
      limit=self._limit,
    )


def by_rouge(cfg: config.Reward, layout) -> Reward:
  """Overlap of words, for runs without a judge (rewards/rouge.py)."""
  del cfg, layout
  return lambda asked: (
    [(n, rouge.reward(q.answer, q.reference))] for n, q in enumerate(asked)
  )


REWARDS = {'judge': Judge, 'rouge': by_rouge}
