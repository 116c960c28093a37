"""Rewards by name: what judges the answers to queries."""

import collections
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from restpg_jax import assets, config, errors, types
from restpg_jax.engines import (
  embedder,
  generator,
  label_scorer,
  prompting,
  turn_files,
)
from restpg_jax.io import code, encoders
from restpg_jax.parallel import layout as layouts
from restpg_jax.rewards import judge, mixture, rouge
from restpg_jax.sampling import candidates
from restpg_jax.text import prompts, templates

# Answers that begin unlike any other, and unlike each other: the tokens around
# an answer's first character may depend on it.
STAND_INS = '\x02', 'a'


@dataclasses.dataclass(frozen=True)
class RewardQuery:
  """All that a reward depends on."""

  instruction: str
  reference: str
  answer: str


class Judgement(NamedTuple):
  """The reward of a query."""

  # Of the query, among those that were given.
  index: int  # pyright: ignore  # nobody looks for a value by tuple.index
  reward: float  # from 0 to 1
  tokens: int = 0  # that a model read for it, shown as speed
  truncated: bool = False  # its prompt was over the limit of that model


# A reward yields lists of Judgements: one of each query, in any order and any
# number of lists; a list is kept as soon as it comes. Plain pairs (index,
# reward) will do as well. The shortest one:
#   lambda queries: ([(n, my_reward(q))] for n, q in enumerate(queries))
Reward = Callable[
  [Sequence[RewardQuery]],
  Iterable[Sequence[Judgement] | Sequence[tuple[int, float]]],
]


def judgements(
  reward: Reward, queries: Sequence[RewardQuery], name: str
) -> Iterator[list[Judgement]]:
  """Yields what a reward says of distinct queries, list by list.

  Raises InputError unless it judges each of them once, from 0 to 1.
  """
  left = set(range(len(queries)))
  for pairs in reward(queries):
    judged = [
      pair if isinstance(pair, Judgement) else Judgement(*pair)
      for pair in pairs
    ]
    for n, r, *_ in judged:
      if not 0 <= r <= 1:
        raise errors.InputError(
          f'reward.name={name}: the reward of question {n} is {r}; it must be '
          'from 0 to 1'
        )
      if n not in left:
        raise errors.InputError(
          f'reward.name={name}: it answered question {n} of {len(queries)} '
          'twice, or there is none such; a reward yields lists of (index of '
          'the question, reward)'
        )
      left.remove(n)
    # Rewards of somebody else may be of NumPy, which JSON does not write.
    yield [
      Judgement(int(n), float(r), int(tokens), bool(truncated))
      for n, r, tokens, truncated in judged
    ]
  if left:
    raise errors.InputError(
      f'reward.name={name}: {len(left)} of {len(queries)} questions have no '
      f'reward, the first is number {min(left)}'
    )


def check_reward(settings: config.Reward) -> None:
  """Raises InputError for a reward that is not known or lacks what it reads."""
  for name in mixture.shares(settings):
    check_reward_name(name)
  if mixture.asks(settings, 'cosine'):
    encoders.load_encoder(cosine_encoder(settings))


def cosine_encoder(settings: config.Reward) -> epath.Path:
  """Returns the folder of the encoder; raises InputError where none is set."""
  if not settings.encoder:
    raise errors.InputError(
      f'reward.name={settings.name} has cosine: give the folder of an encoder '
      'as reward.encoder'
    )
  return assets.path(settings.encoder)


def check_reward_name(name: str) -> None:
  """Raises InputError for a name that is not known or not installed."""
  if name in REWARDS:
    return
  if not name.partition(':')[2]:
    raise errors.InputError(
      f'reward.name is {name!r}; known are {", ".join(REWARDS)}, or '
      'package.module:function'
    )
  try:
    code.module_content(name)
  except errors.InputError as error:
    raise errors.InputError(f'reward.name={error}') from error


def build_reward(settings: config.Reward, layout: layouts.Layout) -> Reward:
  """Builds a reward of REWARDS, or that of an outsider's 'module:function'.

  Raises InputError for a name that is not known or cannot be imported.
  """
  check_reward_name(settings.name)
  if settings.name in REWARDS:
    return REWARDS[settings.name](settings, layout)
  build = code.function('reward.name', settings.name)
  try:
    return build(settings, layout)
  except (ImportError, AttributeError) as e:
    raise errors.InputError(f'reward.name={settings.name}: {e}') from e


class Judge:
  """A language model as the judge of answers (rewards/judge.py).

  The answers to one input share their prompts up to where the answer begins.
  """

  def __init__(self, settings: config.Reward, layout: layouts.Layout):
    judge.check_rule(settings.rule)
    self._rule = settings.rule
    self._template = prompting.load_template(settings.template)
    self._model = generator.load_named(
      settings.model, layout, dtype=settings.dtype
    )
    self._turns = turn_files.read_turns(settings.model, self._model.tokenizer)
    self._limit = settings.max_input

  def __call__(
    self, queries: Sequence[RewardQuery]
  ) -> Iterator[list[Judgement]]:
    """Yields judgements as they are known: input by input, not in order."""
    by_input = collections.defaultdict(list)
    for n, query in enumerate(queries):
      by_input[query.instruction, query.reference].append(n)
    # Of the prompts that were made so far, in the order of their candidates:
    # the index of the query, the number of tokens, whether the prompt was cut.
    read: list[tuple[int, int, bool]] = []

    def judged() -> Iterator[candidates.Candidate]:
      for indices in by_input.values():
        prefix = self._shared_prefix(queries[indices[0]])
        for n in indices:
          prompt = self._prompt(queries[n])
          read.append((n, len(prompt.ids), bool(prompt.cut)))
          yield candidates.parted(prompt.ids, prefix)

    labels = [str(label) for label in judge.LABELS]
    for scored in label_scorer.label_logp(
      self._model, judged(), labels, limit=self._limit
    ):
      positions, logp = zip(*scored, strict=True)
      values = judge.rewards(np.stack(logp), self._rule)
      yield [
        Judgement(n, reward, tokens, truncated)
        for (n, tokens, truncated), reward in zip(
          (read[position] for position in positions), values, strict=True
        )
      ]

  def _shared_prefix(self, query: RewardQuery) -> Sequence[int]:
    """Returns the tokens that the prompts of all answers to an input share.

    They are those of two stand-ins, so that a prompt is parted alike whatever
    else is judged.
    """
    first, second = (
      self._prompt(dataclasses.replace(query, answer=answer)).ids
      for answer in STAND_INS
    )
    return candidates.parted(first, second).prefix

  def _prompt(self, query: RewardQuery) -> prompts.EncodedPrompt:
    return prompts.judge(
      self._template,
      self._model.tokenizer,
      instruction=query.instruction,
      reference=query.reference,
      answer=query.answer,
      turns=self._turns,
      limit=self._limit,
    )


def rouge_reward(settings: config.Reward, layout: layouts.Layout) -> Reward:
  """Returns the overlap of words, for runs without a judge."""
  del settings, layout
  return lambda queries: (
    [Judgement(n, rouge.mean_rouge(query.answer, query.reference))]
    for n, query in enumerate(queries)
  )


class Cosine:
  """How near answer and gold text are by an encoder; below 0 it is 0.

  Any Sentence-Transformers folder that retrieval reads will do.
  """

  def __init__(self, settings: config.Reward, layout: layouts.Layout):
    self._encoder = cosine_encoder(settings)
    self._layout = layout

  def __call__(
    self, queries: Sequence[RewardQuery]
  ) -> Iterator[list[Judgement]]:
    """Yields all judgements at once; each gold text is embedded once."""
    with tempfile.TemporaryDirectory() as folder:  # rewards are kept, not these
      encode = embedder.Embedder(
        self._encoder, self._layout, epath.Path(folder)
      )
      cosines = embedder.cosines(
        encode,
        [query.answer for query in queries],
        [query.reference for query in queries],
      )
    yield [Judgement(n, max(0.0, cosine)) for n, cosine in enumerate(cosines)]


class Mixture:
  """The weighted mean of other rewards, `reward.mix` (rewards/mixture.py)."""

  def __init__(self, settings: config.Reward, layout: layouts.Layout):
    self._parts = [
      (name, share, REWARDS[name](settings, layout))
      for name, share in mixture.shares(settings).items()
    ]

  def __call__(
    self, queries: Sequence[RewardQuery]
  ) -> Iterator[list[Judgement]]:
    """Yields judgements as the last reward, the slowest one, gives its own."""
    means = [Judgement(n, 0.0) for n in range(len(queries))]
    for name, share, reward in self._parts:
      for part in judgements(reward, queries, name):
        for judged in part:
          mean = means[judged.index]
          means[judged.index] = Judgement(
            judged.index,
            # Shares that are rounded may add up to more than 1.
            min(1.0, mean.reward + share * judged.reward),
            mean.tokens + judged.tokens,
            mean.truncated or judged.truncated,
          )
        if name == self._parts[-1][0]:
          yield [means[judged.index] for judged in part]


REWARDS: dict[str, Callable[[config.Reward, layouts.Layout], Reward]] = {
  'judge': Judge,
  'rouge': rouge_reward,
  'cosine': Cosine,
  'mix': Mixture,
}


def reward_query(
  example: types.Example, answer: str | None
) -> RewardQuery | None:
  """Returns what the reward of an answer depends on; None without an answer."""
  if not answer:
    return None
  return RewardQuery(example.input, example.output, answer)


def answer_reader(
  prompt: config.Prompt, *, reasoning: bool
) -> Callable[[str], str | None]:
  """Returns answer_of(text): the part of an output that is rewarded, if any."""
  output = templates.Output.of(prompting.load_template(prompt.template))

  def answer_of(text: str) -> str | None:
    return output.split(text)[1] if reasoning else text.strip()

  return answer_of
