"""Samples of the policy: the E-step's m outputs, and evaluation's answers."""

import dataclasses
import functools

import jax

from restpg_jax import config, types
from restpg_jax.engines import generator
from restpg_jax.io import append_log, artifacts, progress, records, samples
from restpg_jax.rewards import selection
from restpg_jax.text import prompts

VERSION = 2  # 1 drew by Gumbel noise, a number for every word
PIECE = 4096  # samples that are put in order together


@dataclasses.dataclass(frozen=True)
class DrawSettings(generator.SamplingSettings):
  """What decides the samples of a stage."""

  select: config.Select | None = None  # what will be kept; for rounds only


@artifacts.stage('restpg_jax.stages.draw.draw', version=VERSION)
def draw(policy, examples, *scored, out, cfg: DrawSettings, layout) -> dict:
  """trajectories.jsonl: the outputs of each example, by example and j.

  Finished samples stand in drawn/; a run that was killed, or made fewer, goes
  on behind them. With `scored`, the rounds before this one, only inputs whose
  kept outputs can still change are drawn, and the samples saved are counted.
  """
  words = cfg.tokenizer.tokenizer
  writer = generator.load(policy / 'model', words, layout, dtype=cfg.dtype)
  read = functools.partial(
    records.read, examples / 'examples.jsonl', types.Example
  )
  extent = prompts.PromptStats.of(
    generator.policy_prompts(read(), writer.tokenizer, cfg)
  )
  drawn = append_log.IndexedLog(
    out / 'drawn', types.Trajectory, host=jax.process_index(), key=samples.key
  )
  full = settled(scored, cfg)
  ids = [e.id for e in read() if e.id not in full]
  keys = [(id, j) for id in ids for j in generator.indices(cfg)]
  with (
    drawn,
    progress.bar(
      len(keys),
      'samples',
      f'{cfg.purpose}{cfg.iteration}',
      sum(key in drawn for key in keys),
      log=out / 'metrics.jsonl',
    ) as shown,
  ):
    for harvest in generator.generate_missing(
      writer, read(), cfg, extent=extent, done=drawn, full=full
    ):
      new = harvest.trajectories()
      drawn.append(new)
      shown.update(len(new), **harvest.counts)
  tokens = cut = 0

  def in_order():
    nonlocal tokens, cut
    for start in range(0, len(keys), PIECE):
      for sample in drawn.get(keys[start : start + PIECE]):
        tokens += sample.tokens
        cut += not sample.ended
        yield sample

  made = records.write(out / 'trajectories.jsonl', in_order())
  return (
    {
      'expected': len(keys),
      'made': made,
      'tokens': tokens,
      'cut_prompts': extent.cut,
      'cut_outputs': cut,
    }
    | saved(cfg, len(full))
    | shown.totals()
  )


def settled(scored, cfg: DrawSettings) -> frozenset[str]:
  """Examples of which the rounds before this one hold all that is kept."""
  return frozenset(
    id
    for found in samples.by_example(scored, cfg.before)
    for id in selection.settled_examples(found, cfg.select)
  )


def saved(cfg: DrawSettings, full: int) -> dict[str, int]:
  """Samples that a later round left out."""
  return {'saved': full * len(generator.indices(cfg))} if cfg.before else {}
