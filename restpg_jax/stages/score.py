"""Rewards samples: R(x, y, y_hat) reads the final answer only (section 2)."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.engines import reward_log, rewards
from restpg_jax.io import artifacts, records, samples
from restpg_jax.parallel import layout as layouts

VERSION = 2  # 1 kept whole questions in rewards/
# A sample with what its reward depends on; None where it has no answer.
SampleQuery = tuple[types.Trajectory, rewards.RewardQuery | None]


@dataclasses.dataclass(frozen=True)
class ScoreSettings:
  """The settings that decide a reward."""

  reward: config.Reward
  prompt: config.Prompt  # says where the answer begins
  reasoning: bool
  m: int = config.extendable()  # samples of an example: j < m
  # The share of outputs that reach this reward is shown.
  accept: float | None = config.local_field(None)
  # Devices that share a judge; 0: as in all stages.
  shards: int = config.local_field(0)


@artifacts.stage(
  'restpg_jax.stages.score.score', version=VERSION, hosts=artifacts.SHARES
)
def score(
  examples: epath.Path,
  trajectories: epath.Path,
  *,
  out: epath.Path,
  cfg: ScoreSettings,
  layout: layouts.Layout,
) -> dict[str, Any]:
  """Writes scored.jsonl, the same trajectories, each with its reward.

  An output without the answer marker gets 0 and is counted; equal queries are
  scored once. A later round may have drawn nothing. The files are read several
  times: only rewards are held in memory.
  """

  def pairs() -> Iterator[SampleQuery]:
    return sample_queries(
      records.read(examples / 'examples.jsonl', types.Example),
      samples.read_samples(trajectories / 'trajectories.jsonl', cfg.m),
      rewards.answer_reader(cfg.prompt, reasoning=cfg.reasoning),
    )

  query_rewards = reward_log.shared_rewards_of(
    lambda: (query for _, query in pairs()),
    out=out,
    settings=cfg.reward,
    layout=layout.context_parallel_copies(cfg.shards) if cfg.shards else layout,
    accept=cfg.accept,
  )
  if query_rewards is None:  # the first host writes the whole
    return {}
  if cfg.accept is not None:
    warn_if_all_equal(query_rewards, cfg.reward)
  tally = ScoreTally(cfg.accept)
  num_scored = records.write(
    out / 'scored.jsonl', tally.counted(pairs(), query_rewards)
  )
  # Counted anew, from the file: a sample that got lost above is missed here.
  stored = samples.read_samples(trajectories / 'trajectories.jsonl', cfg.m)
  return {
    'expected': sum(1 for _ in stored),
    'made': num_scored,
    'distinct': query_rewards.distinct,
    'without_answer': tally.without_answer,
    'cut_prompts': query_rewards.truncated,
    'mean_reward': tally.total / num_scored if num_scored else None,
    'accepted': None
    if cfg.accept is None or not num_scored
    else tally.accepted / num_scored,
  } | query_rewards.totals


@dataclasses.dataclass
class ScoreTally:
  """Counts over samples that get their rewards one by one."""

  accept: float | None  # the reward from which a sample counts as accepted
  total: float = 0.0  # of all rewards
  without_answer: int = 0
  accepted: int = 0

  def counted(
    self, pairs: Iterable[SampleQuery], query_rewards: reward_log.QueryRewards
  ) -> Iterator[types.Trajectory]:
    """Yields each sample with its reward, and counts it."""
    for sample, query in pairs:
      reward = query_rewards.of(query)
      self.total += reward
      self.without_answer += query is None
      self.accepted += self.accept is not None and reward >= self.accept
      yield dataclasses.replace(sample, reward=reward)


def warn_if_all_zero(
  examples: epath.Path,
  trajectories: epath.Path,
  *,
  out: epath.Path,
  cfg: ScoreSettings,
) -> str:
  """Warns where every reward is 0: from such nothing can be learned.

  It does so when the stage has run and again whenever it is found done.
  """
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


def warn_if_all_equal(
  query_rewards: reward_log.QueryRewards, settings: config.Reward
) -> None:
  """Warns of a reward that is the same for all outputs: nothing is learnt."""
  values = set(query_rewards.known.values())
  if query_rewards.distinct < 2 or len(values) > 1:
    return
  warnings.warn(
    f'reward.name={settings.name}: all {query_rewards.distinct:,} distinct '
    f'outputs have the same reward, {values.pop():g}, so none is told from '
    'another; look at reward.model and reward.template',
    errors.DataWarning,
    stacklevel=3,
  )


def sample_queries(
  examples: Iterable[types.Example],
  trajectories: Iterable[types.Trajectory],
  answer_of: Callable[[str], str | None],
) -> Iterator[SampleQuery]:
  """Yields each sample with its query, which is None without an answer.

  Samples are in the order of their examples, of which some may have none.
  """
  remaining = iter(examples)
  example = None
  for sample in trajectories:
    while example is None or example.id != sample.example_id:
      example = next(remaining)
    yield sample, rewards.reward_query(example, answer_of(sample.text))
