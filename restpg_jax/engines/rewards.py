"""Rewards by name: who answers questions about answers, and how."""

import collections
import dataclasses
import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np
from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.engines import generator, label_scorer
from restpg_jax.io import append_log, code, progress
from restpg_jax.rewards import judge, rouge
from restpg_jax.sampling import candidates
from restpg_jax.text import prompts, templates

# Answers that begin unlike any other, and unlike each other: the tokens around
# an answer's first character may depend on it.
STAND_INS = '\x02', 'a'
PIECE = 32_768  # questions that a reward is asked together


@dataclasses.dataclass(frozen=True)
class RewardQuery:
  """What a reward looks at."""

  instruction: str
  reference: str
  answer: str


# Pairs (place in the questions, reward), each question once, in any order and
# any number of pieces; a piece is kept as soon as it comes. The shortest one:
#   lambda asked: ([(n, my_reward(q))] for n, q in enumerate(asked))
Reward = Callable[
  [Sequence[RewardQuery]], Iterator[Sequence[tuple[int, float]]]
]


def check_rewards(
  reward: Reward, asked: Sequence[RewardQuery], name: str
) -> Iterator[list[tuple[int, float]]]:
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
    yield [(n, float(r)) for n, r in found]
  if left:
    raise errors.InputError(
      f'reward.name={name}: {len(left)} of {len(asked)} questions have no '
      f'reward, the first is number {min(left)}'
    )


def check_reward_name(cfg: config.Reward) -> None:
  """Raises InputError for a name that is not known or not installed."""
  if cfg.name in REWARDS:
    return
  if not cfg.name.partition(':')[2]:
    raise errors.InputError(
      f'reward.name is {cfg.name!r}; known are {", ".join(REWARDS)}, or '
      'package.module:function'
    )
  try:
    code.module_content(cfg.name)
  except errors.InputError as error:
    raise errors.InputError(f'reward.name={error}') from error


def build_reward(cfg: config.Reward, layout) -> Reward:
  """By name from REWARDS, or 'package.module:function' of somebody else."""
  check_reward_name(cfg)
  if cfg.name in REWARDS:
    return REWARDS[cfg.name](cfg, layout)
  module, _, function = cfg.name.partition(':')
  try:
    return getattr(importlib.import_module(module), function)(cfg, layout)
  except (ImportError, AttributeError) as e:
    raise errors.InputError(f'reward.name={cfg.name}: {e}') from e


class Judge:
  """What a language model thinks of an answer (rewards/judge.py).

  The answers to one input share their prompts up to where the answer begins.
  """

  def __init__(self, cfg: config.Reward, layout):
    judge.check_rule(cfg.rule)
    self._rule = cfg.rule
    self._template = generator.load_template(cfg.template)
    self._model = generator.load_named(cfg.model, layout, dtype=cfg.dtype)
    self._limit = cfg.max_input
    self.cut = set()  # places in the questions, of prompts over the limit
    self.tokens = 0  # of all prompts that were read, so far

  def __call__(
    self, asked: Sequence[RewardQuery]
  ) -> Iterator[list[tuple[int, float]]]:
    self.cut.clear()
    of_input = collections.defaultdict(list)
    for n, question in enumerate(asked):
      of_input[question.instruction, question.reference].append(n)
    order = [n for places in of_input.values() for n in places]
    lengths = []

    def judged():
      for places in of_input.values():
        for candidate in self._candidates(asked, places):
          lengths.append(len(candidate.prefix) + len(candidate.rest))
          yield candidate

    labels = [str(label) for label in judge.LABELS]
    for found in label_scorer.label_logp(self._model, judged(), labels):
      places, logp = zip(*found, strict=True)
      self.tokens += sum(lengths[n] for n in places)
      values = judge.rewards(np.stack(logp), self._rule)
      yield [(order[n], r) for n, r in zip(places, values, strict=True)]

  def _candidates(
    self, asked: Sequence[RewardQuery], places: Sequence[int]
  ) -> Iterator[candidates.Candidate]:
    """Prompts of answers to one input, each parted where it leaves those of
    stand-ins: so its parts are the same whatever else is judged."""
    first, second = (
      self._prompt(dataclasses.replace(asked[places[0]], answer=answer)).ids
      for answer in STAND_INS
    )
    shared = candidates.parted(first, second).prefix
    for n in places:
      turn = self._prompt(asked[n])
      if turn.cut:
        self.cut.add(n)
      yield candidates.parted(turn.ids, shared)

  def _prompt(self, question: RewardQuery) -> prompts.EncodedPrompt:
    return prompts.judge(
      self._template,
      self._model.tokenizer,
      **vars(question),
      limit=self._limit,
    )


def rouge_reward(cfg: config.Reward, layout) -> Reward:
  """Overlap of words, for runs without a judge (rewards/rouge.py)."""
  del cfg, layout
  return lambda asked: (
    [(n, rouge.mean_rouge(q.answer, q.reference))] for n, q in enumerate(asked)
  )


REWARDS = {'judge': Judge, 'rouge': rouge_reward}


@dataclasses.dataclass(frozen=True)
class ScoredQuery:
  """A line of rewards/: a question that has its reward."""

  name: str  # of the question
  reward: float
  cut: bool = False  # the judge's prompt was over its limit


@dataclasses.dataclass(frozen=True)
class QueryRewards:
  """Of distinct questions, by name, and how they were found."""

  known: dict[str, float]
  distinct: int
  cut: int  # prompts of these that were over the judge's limit
  totals: dict[str, float]  # rates, for a summary

  def of(self, question: RewardQuery | None) -> float:
    """0 where there is no answer."""
    return self.known[query_key(question)] if question else 0.0


def reward_query(
  example: types.Example, answer: str | None
) -> RewardQuery | None:
  if not answer:
    return None
  return RewardQuery(example.input, example.output, answer)


def answer_reader(
  prompt: config.Prompt, *, reasoning: bool
) -> Callable[[str], str | None]:
  """answer_of(text): the part of an output that is rewarded, if any."""
  output = templates.Output.of(generator.load_template(prompt.template))

  def answer_of(text):
    return output.split(text)[1] if reasoning else text.strip()

  return answer_of


def rewards_of(
  questions: Callable[[], Iterable[RewardQuery | None]],
  *,
  out: epath.Path,
  cfg: config.Reward,
  layout,
  accept: float | None = None,
) -> QueryRewards:
  """Asks what rewards/ does not hold yet, each distinct question once.

  questions() gives all of them, and gives them again.
  """
  log = append_log.AppendLog(
    out / 'rewards', ScoredQuery, host=jax.process_index()
  )
  times = collections.Counter(query_key(q) for q in questions() if q)
  known, cut = {}, set()

  def note(found: Iterable[ScoredQuery]):
    for scored in found:
      known.setdefault(scored.name, scored.reward)
      if scored.cut and scored.name in times:
        cut.add(scored.name)

  note(log)
  old = [q for q in times if q in known]
  ask = build_reward(cfg, layout)

  def rewards(names):
    return [r for q in names for r in [known[q]] * times[q]]

  with (
    log,
    progress.bar(
      len(times),
      'answers',
      'score',
      len(old),
      accept=accept,
      log=out / 'metrics.jsonl',
      compiles=cfg.name == 'judge',
    ) as shown,
  ):
    shown.update(0, rewards=rewards(old))
    read = 0
    for piece in query_pieces(questions(), known):
      names = [query_key(q) for q in piece]
      for found in check_rewards(ask, piece, cfg.name):
        marks = getattr(ask, 'cut', ())
        new = [ScoredQuery(names[n], r, n in marks) for n, r in found]
        log.append(new)
        note(new)
        tokens = getattr(ask, 'tokens', read) - read
        read += tokens
        shown.update(
          len(new), tokens=tokens or None, rewards=rewards(s.name for s in new)
        )
  return QueryRewards(known, len(times), len(cut), shown.totals())


def query_pieces(
  questions: Iterable[RewardQuery | None], known: dict[str, float]
) -> Iterator[list[RewardQuery]]:
  """Those not known when their turn comes, each once, PIECE at a time."""
  piece = {}
  for q in questions:
    if q and query_key(q) not in known:
      piece[query_key(q)] = q
      if len(piece) == PIECE:
        yield list(piece.values())
        piece = {}
  if piece:
    yield list(piece.values())


def query_key(question: RewardQuery) -> str:
  """What a question's reward is found by."""
  texts = json.dumps(dataclasses.astuple(question)).encode()
  return hashlib.blake2b(texts, digest_size=16).hexdigest()
