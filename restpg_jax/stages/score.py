"""Rewards of samples: R(x, y, y_hat) reads the final answer only."""

import collections
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator

import jax
from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.io import artifacts, progress, records, shards
from restpg_jax.stages import language, reward, samples
from restpg_jax.text import templates

VERSION = 2  # 1 kept whole questions in rewards/
PIECE = 32_768  # questions that a reward is asked together


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides a reward."""

  reward: config.Reward
  prompt: config.Prompt  # says where the answer begins
  reasoning: bool
  m: int = config.extent()  # samples of an example: j < m
  accept: float | None = config.local(None)  # shown: who reaches this reward
  shards: int = config.local(0)  # devices that share a judge; 0: as all do


@dataclasses.dataclass(frozen=True)
class Scored:
  """A line of rewards/: a question that has its reward."""

  name: str  # of the question
  reward: float
  cut: bool = False  # the judge's prompt was over its limit


@dataclasses.dataclass(frozen=True)
class Rewards:
  """Of distinct questions, by name, and how they were found."""

  known: dict[str, float]
  distinct: int
  cut: int  # prompts of these that were over the judge's limit
  totals: dict[str, float]  # rates, for a summary

  def of(self, question: reward.Question | None) -> float:
    """0 where there is no answer."""
    return self.known[name(question)] if question else 0.0


@artifacts.stage('restpg_jax.stages.score.score', version=VERSION)
def score(examples, trajectories, *, out, cfg: Settings, layout) -> dict:
  """scored.jsonl: the same trajectories, each with its reward.

  An output without the answer marker gets 0 and is counted; equal questions
  are asked once. A later round may have drawn nothing. The files are read
  several times: of what is in them only rewards are held in memory.
  """

  def drawn():
    return asked(
      records.read(examples / 'examples.jsonl', types.Example),
      samples.read(trajectories / 'trajectories.jsonl', cfg.m),
      reader(cfg.prompt, reasoning=cfg.reasoning),
    )

  found = rewards_of(
    lambda: (question for _, question in drawn()),
    out=out,
    cfg=cfg.reward,
    layout=layout.sharing_copies(cfg.shards) if cfg.shards else layout,
    accept=cfg.accept,
  )
  if cfg.accept is not None:
    warn_if_all_equal(found, cfg.reward)
  count = collections.Counter()
  total = 0.0

  def scored():
    nonlocal total
    for sample, question in drawn():
      value = found.of(question)
      total += value
      count['without_answer'] += question is None
      count['accepted'] += cfg.accept is not None and value >= cfg.accept
      yield dataclasses.replace(sample, reward=value)

  made = records.write(out / 'scored.jsonl', scored())
  held = samples.read(trajectories / 'trajectories.jsonl', cfg.m)
  return {
    'expected': sum(1 for _ in held),  # whatever became of them since
    'made': made,
    'distinct': found.distinct,
    'without_answer': count['without_answer'],
    'cut_prompts': found.cut,
    'mean_reward': total / made if made else None,
    'accepted': None
    if cfg.accept is None or not made
    else count['accepted'] / made,
  } | found.totals


def warn(examples, trajectories, *, out, cfg: Settings) -> str:
  """Warns where every reward is 0, when it is made and when it is kept: from
  such rewards nothing can be learned."""
  del examples, trajectories
  summary = records.read_json(out / artifacts.DONE)['summary']
  if summary['mean_reward'] != 0:
    return ''
  count, without = summary['made'], summary['without_answer']
  remedy = (
    'train longer before it is sampled, or raise prompt.max_output'
    if without == count
    else f'read some in {out / "scored.jsonl"} beside their gold texts, and '
    'see whether reward.name fits them'
  )
  warnings.warn(
    f'{out}: the reward ({cfg.reward.name}) of all {count:,} outputs is 0, '
    f'{without:,} of them without an answer: {remedy}',
    errors.DataWarning,
    stacklevel=2,
  )
  return ''


def warn_if_all_equal(found: Rewards, cfg: config.Reward) -> None:
  """Warns of a reward that tells no output from another: nothing is learnt."""
  values = set(found.known.values())
  if found.distinct < 2 or len(values) > 1:
    return
  warnings.warn(
    f'reward.name={cfg.name}: all {found.distinct:,} distinct outputs have the '
    f'same reward, {values.pop():g}, so none is told from another; look at '
    'reward.model and reward.template',
    errors.DataWarning,
    stacklevel=3,
  )


def asked(
  examples: Iterable[types.Example],
  drawn: Iterable[types.Trajectory],
  answer_of: Callable[[str], str | None],
) -> Iterator[tuple[types.Trajectory, reward.Question | None]]:
  """Each sample, with what its reward depends on; None without an answer.

  Samples are in the order of their examples, of which some may have none.
  """
  examples = iter(examples)
  example = None
  for sample in drawn:
    while example is None or example.id != sample.example_id:
      example = next(examples)
    yield sample, question(example, answer_of(sample.text))


def question(
  example: types.Example, answer: str | None
) -> reward.Question | None:
  if not answer:
    return None
  return reward.Question(example.input, example.output, answer)


def reader(
  prompt: config.Prompt, *, reasoning: bool
) -> Callable[[str], str | None]:
  """answer_of(text): the part of an output that is rewarded, if any."""
  output = templates.Output.of(language.load_template(prompt.template))

  def answer_of(text):
    return output.split(text)[1] if reasoning else text.strip()

  return answer_of


def rewards_of(
  questions: Callable[[], Iterable[reward.Question | None]],
  *,
  out: epath.Path,
  cfg: config.Reward,
  layout,
  accept: float | None = None,
) -> Rewards:
  """Asks what rewards/ does not hold yet, each distinct question once.

  questions() gives all of them, and gives them again.
  """
  log = shards.Shards(out / 'rewards', Scored, host=jax.process_index())
  times = collections.Counter(name(q) for q in questions() if q)
  known, cut = {}, set()

  def note(found: Iterable[Scored]):
    for scored in found:
      known.setdefault(scored.name, scored.reward)
      if scored.cut and scored.name in times:
        cut.add(scored.name)

  note(log)
  old = [q for q in times if q in known]
  ask = reward.build(cfg, layout)

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
    for piece in pieces(questions(), known):
      names = [name(q) for q in piece]
      for found in reward.answered(ask, piece, cfg.name):
        marks = getattr(ask, 'cut', ())
        new = [Scored(names[n], r, n in marks) for n, r in found]
        log.append(new)
        note(new)
        tokens = getattr(ask, 'tokens', read) - read
        read += tokens
        shown.update(
          len(new), tokens=tokens or None, rewards=rewards(s.name for s in new)
        )
  return Rewards(known, len(times), len(cut), shown.totals())


def pieces(
  questions: Iterable[reward.Question | None], known: dict[str, float]
) -> Iterator[list[reward.Question]]:
  """Those not known when their turn comes, each once, PIECE at a time."""
  piece = {}
  for q in questions:
    if q and name(q) not in known:
      piece[name(q)] = q
      if len(piece) == PIECE:
        yield list(piece.values())
        piece = {}
  if piece:
    yield list(piece.values())


def name(question: reward.Question) -> str:
  """What a question's reward is found by."""
  texts = json.dumps(dataclasses.astuple(question)).encode()
  return hashlib.blake2b(texts, digest_size=16).hexdigest()
