"""Samples the policy: m outputs in the E-step, the answers of evaluation."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from restpg_jax import config, storage, types
from restpg_jax.engines import generator, prompting
from restpg_jax.io import (
  append_log,
  artifacts,
  progress,
  records,
  samples,
  speed,
)
from restpg_jax.parallel import layout as layouts
from restpg_jax.rewards import selection
from restpg_jax.text import prompts

VERSION = 2  # 1 sampled by Gumbel noise, a number for each vocabulary entry
BYTES_OF_TOKEN = 4  # of text, about
PIECE = 4096  # samples that are read from drawn/ at once, to bound the memory


@dataclasses.dataclass(frozen=True)
class DrawSettings(generator.SamplingSettings):
  """The settings that decide the samples of a stage."""

  select: config.Select | None = None  # what will be kept; for rounds only


@artifacts.stage(
  'restpg_jax.stages.draw.draw', version=VERSION, hosts=artifacts.SHARES
)
def draw(
  policy: epath.Path,
  examples: epath.Path,
  *scored: epath.Path,
  out: epath.Path,
  cfg: DrawSettings,
  layout: layouts.Layout,
) -> dict[str, Any]:
  """Writes trajectories.jsonl, the outputs of each example, by example and j.

  Finished samples stand in drawn/; a run that was killed, or made fewer, goes
  on behind them. With `scored`, the rounds before this one, only inputs whose
  kept outputs can still change are drawn, and the samples saved are counted.
  """
  model = generator.load(
    policy / 'model', cfg.tokenizer.tokenizer, layout, dtype=cfg.dtype
  )
  # Examples are read several times rather than held in memory.
  read = functools.partial(
    records.read, examples / 'examples.jsonl', types.Example
  )
  stats = prompts.PromptStats.of(
    prompting.policy_prompts(read(), model.tokenizer, cfg)
  )
  hosts = layout.hosts
  finished = append_log.IndexedLog(
    out / 'drawn', types.Trajectory, host=hosts.index, key=samples.key
  )
  settled = settled_so_far(scored, cfg)
  ids = [e.id for e in read() if e.id not in settled]
  keys = [(id, j) for id in ids for j in generator.indices(cfg)]
  own = [(id, j) for id, j in keys if hosts.owns(id)]
  missing = sum(key not in finished for key in own)
  # In drawn/ and in trajectories.jsonl, half as long as they may be.
  size = 2 * BYTES_OF_TOKEN * cfg.prompt.max_output // 2
  storage.check_room(out, missing * size, f'{missing:,} samples')
  with (
    finished,
    progress.bar(
      len(own),
      'samples',
      f'{cfg.purpose}{cfg.iteration}',
      len(own) - missing,
      log=progress.log_of(out, hosts),
    ) as shown,
  ):
    for batch in generator.generate_missing(
      model,
      (e for e in read() if hosts.owns(e.id)),
      cfg,
      stats=stats,
      done=finished,
      full=settled,
    ):
      new = batch.trajectories()
      finished.append(new)
      shown.update(len(new), samples=new, **batch.counts)
  shares = hosts.gather(rates=shown.totals())
  if not shares:
    return {}
  finished.await_all(keys, hosts)
  tally = DrawTally()
  num_samples = records.write(
    out / 'trajectories.jsonl', tally.counted(in_order(finished, keys))
  )
  return (
    {
      'expected': len(keys),
      'made': num_samples,
      'tokens': tally.tokens,
      'cut_prompts': stats.cut,
      'cut_outputs': tally.cut,
    }
    | saved(cfg, len(settled))
    | speed.of_all(shares)
  )


@dataclasses.dataclass
class DrawTally:
  """Counts over samples that pass by once."""

  tokens: int = 0
  cut: int = 0  # outputs that never ended

  def counted(
    self, trajectories: Iterable[types.Trajectory]
  ) -> Iterator[types.Trajectory]:
    """Yields what it is given, and counts it."""
    for sample in trajectories:
      self.tokens += sample.tokens
      self.cut += not sample.ended
      yield sample


def in_order(
  finished: append_log.IndexedLog[types.Trajectory],
  keys: Sequence[tuple[str, int]],
) -> Iterator[types.Trajectory]:
  """Yields the samples of these keys, a piece of them in memory at a time."""
  for start in range(0, len(keys), PIECE):
    yield from finished.get(keys[start : start + PIECE])


def settled_so_far(
  scored: Sequence[epath.Path], cfg: DrawSettings
) -> frozenset[str]:
  """Returns examples of which earlier rounds hold all that will be kept."""
  if cfg.select is None:  # the first round
    return frozenset()
  return frozenset(
    id
    for group in samples.by_example(scored, cfg.before)
    for id in selection.settled_examples(group, cfg.select)
  )


def saved(cfg: DrawSettings, num_settled: int) -> dict[str, int]:
  """Counts the samples that a later round leaves out, for its summary."""
  return (
    {'saved': num_settled * len(generator.indices(cfg))} if cfg.before else {}
  )
