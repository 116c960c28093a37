"""Rewards of samples: R(x, y, y_hat) reads the final answer only."""

import collections
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator

from restpg_jax import config, errors, types
from restpg_jax.engines import rewards
from restpg_jax.io import artifacts, records, samples

VERSION = 2  # 1 kept whole questions in rewards/


@dataclasses.dataclass(frozen=True)
class ScoreSettings:
  """What decides a reward."""

  reward: config.Reward
  prompt: config.Prompt  # says where the answer begins
  reasoning: bool
  m: int = config.extendable()  # samples of an example: j < m
  accept: float | None = config.local_field(
    None
  )  # shown: who reaches this reward
  shards: int = config.local_field(
    0
  )  # devices that share a judge; 0: as all do


@artifacts.stage('restpg_jax.stages.score.score', version=VERSION)
def score(examples, trajectories, *, out, cfg: ScoreSettings, layout) -> dict:
  """scored.jsonl: the same trajectories, each with its reward.

  An output without the answer marker gets 0 and is counted; equal questions
  are asked once. A later round may have drawn nothing. The files are read
  several times: of what is in them only rewards are held in memory.
  """

  def drawn():
    return sample_queries(
      records.read(examples / 'examples.jsonl', types.Example),
      samples.read_samples(trajectories / 'trajectories.jsonl', cfg.m),
      rewards.answer_reader(cfg.prompt, reasoning=cfg.reasoning),
    )

  found = rewards.rewards_of(
    lambda: (question for _, question in drawn()),
    out=out,
    cfg=cfg.reward,
    layout=layout.context_parallel_copies(cfg.shards) if cfg.shards else layout,
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
  held = samples.read_samples(trajectories / 'trajectories.jsonl', cfg.m)
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


def warn_if_all_zero(examples, trajectories, *, out, cfg: ScoreSettings) -> str:
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


def warn_if_all_equal(found: rewards.QueryRewards, cfg: config.Reward) -> None:
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


def sample_queries(
  examples: Iterable[types.Example],
  drawn: Iterable[types.Trajectory],
  answer_of: Callable[[str], str | None],
) -> Iterator[tuple[types.Trajectory, rewards.RewardQuery | None]]:
  """Each sample, with what its reward depends on; None without an answer.

  Samples are in the order of their examples, of which some may have none.
  """
  examples = iter(examples)
  example = None
  for sample in drawn:
    while example is None or example.id != sample.example_id:
      example = next(examples)
    yield sample, rewards.reward_query(example, answer_of(sample.text))
