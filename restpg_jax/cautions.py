"""Warns of what a run may do but a person should know before it begins."""

import dataclasses
import warnings
from collections.abc import Iterator

from restpg_jax import assets, config, errors, types
from restpg_jax.engines import model_size
from restpg_jax.models import catalog
from restpg_jax.rewards import judge, mixture, selection

DIGITS = max(len(str(label)) for label in judge.LABELS)  # tokens of a label


@dataclasses.dataclass(frozen=True)
class Caution:
  """A setting that is allowed, why it is doubtful, and what to do instead."""

  about: str
  message: str
  remedy: str


def warn_of_cautions(cfg: config.Config, *, reasoning: bool, em: bool) -> None:
  """Gives a DataWarning for each caution."""
  for caution in cautions_of(cfg, reasoning=reasoning, em=em):
    warnings.warn(
      f'{caution.message}; {caution.remedy}', errors.DataWarning, stacklevel=2
    )


def cautions_of(
  cfg: config.Config, *, reasoning: bool, em: bool
) -> Iterator[Caution]:
  """Yields all cautions of a run.

  reasoning, em: whether one of its methods reasons, has E-steps
  """
  yield from contexts(cfg, reasoning=reasoning)
  if em:
    yield from thresholds(cfg.select, cfg.reward)
  yield from tasks(cfg.data)


def contexts(cfg: config.Config, *, reasoning: bool) -> Iterator[Caution]:
  """Finds models that are to read and write beyond what they were trained on.

  No fault: rotary positions go on, and so did all runs so far; but nobody
  knows how well.
  """
  reaches = {
    ('policy', cfg.policy.checkpoint, cfg.policy.base): {
      'prompt.max_input': cfg.prompt.max_input,
      'prompt.max_output': cfg.prompt.max_output,
    }
  }
  if reasoning:
    reaches['reasoner', cfg.reason.model.checkpoint, cfg.reason.model.base] = {
      'reason.max_input': cfg.reason.max_input,
      'reason.max_output': cfg.reason.max_output,
    }
  judges = mixture.asks(cfg.reward, 'judge')
  if judges or 'judge' in cfg.evaluate.metrics:
    reaches['judge', cfg.reward.model.checkpoint, cfg.reward.model.base] = {
      'reward.max_input': cfg.reward.max_input,
      'a label of': DIGITS,
    }
  for (role, checkpoint, base), parts in reaches.items():
    total, context = sum(parts.values()), context_of(checkpoint, base)
    if context and total > context:
      setting, tokens = next(iter(parts.items()))  # the limit of the input
      longest = tokens - (total - context)
      yield Caution(
        f'{role}, context',
        f'{role}: {" + ".join(f"{k} {n:,}" for k, n in parts.items())} = '
        f'{total:,} tokens, but {checkpoint} was made for {context:,}',
        f'lower {setting} to {longest} or less'
        if longest > 0
        else f'lower {" and ".join(k for k in parts if "." in k)}',
      )


def context_of(checkpoint: str, base: str = '') -> int | None:
  """Returns the tokens that a model was made for; None where it is unknown."""
  try:
    return model_size.context_length(assets.path(checkpoint), base)
  except errors.InputError:  # missing or broken: other checks report that
    return catalog.CONTEXTS.get(checkpoint)


def thresholds(
  select: config.Select, reward: config.Reward
) -> Iterator[Caution]:
  """Finds a threshold of the E-step that hardly any output can reach."""
  threshold = select.threshold
  if select.rule != 'threshold' or threshold < selection.HIGHEST:
    return
  if reward.name == 'judge' and reward.rule == 'expected':
    why = (
      'reward.rule=expected is a mean of labels, which is 1 only if P(10) is'
    )
  elif reward.name == 'rouge':
    why = 'reward.name=rouge is 1 only for the words of the gold text itself'
  elif reward.name in ('cosine', mixture.MIX):
    why = f'reward.name={reward.name} is 1 only where all of it is'
  else:
    return
  yield Caution(
    'select.threshold',
    f'hardly any output can reach select.threshold={threshold:g}: {why}',
    "lower it, or take select.rule='best'",
  )


def tasks(data: config.Data) -> Iterator[Caution]:
  """Finds splits with too few synthetic users for every task."""
  for split in ('train', 'val', 'test'):
    count = getattr(data.world, split)
    if not data.path and 0 < count < len(types.TASKS):
      yield Caution(
        f'data.world.{split}',
        f'data.world.{split} is {count}: not every task has an example there, '
        'and means over tasks are of those that have',
        f'take at least {len(types.TASKS)}',
      )
