"""Samples of the policy: the E-step's m outputs, and evaluation's answers."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import jax

from restpg_jax import config, types
from restpg_jax.io import artifacts, progress, records, shards
from restpg_jax.stages import language, samples, select
from restpg_jax.text import prompts

VERSION = 2  # 1 drew by Gumbel noise, a number for every word
PIECE = 4096  # samples that are put in order together


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides the samples."""

  temperature: float
  top_p: float
  top_k: int
  dtype: str
  prompt: config.Prompt
  tokenizer: config.Model  # the policy's; its weights come as an input
  reasoning: bool
  seed: int
  purpose: str  # 'draw' or 'test': no two purposes share a random key
  iteration: int
  m: int = config.extent()  # outputs of an input: j < m
  before: tuple[int, ...] = ()  # m of the rounds before this one
  select: config.Select | None = None  # what will be kept; for rounds only
  # m of all rounds, which all draw with the same compiled shapes; 0: this m
  budget: int = config.local(0)

  @classmethod
  def of(cls, sample: config.Sample, **rest) -> 'Settings':
    return cls(
      temperature=sample.temperature,
      top_p=sample.top_p,
      top_k=sample.top_k,
      dtype=sample.dtype,
      m=sample.m,
      **rest,
    )


@artifacts.stage('restpg_jax.stages.draw.draw', version=VERSION)
def draw(policy, examples, *scored, out, cfg: Settings, layout) -> dict:
  """trajectories.jsonl: the outputs of each example, by example and j.

  Finished samples stand in drawn/; a run that was killed, or made fewer, goes
  on behind them. With `scored`, the rounds before this one, only inputs whose
  kept outputs can still change are drawn, and the samples saved are counted.
  """
  words = cfg.tokenizer.tokenizer
  writer = language.load(policy / 'model', words, layout, dtype=cfg.dtype)
  read = functools.partial(
    records.read, examples / 'examples.jsonl', types.Example
  )
  extent = prompts.Extent.of(policy_prompts(read(), writer.tokenizer, cfg))
  drawn = shards.Shelf(
    out / 'drawn', types.Trajectory, host=jax.process_index(), key=name
  )
  full = settled(scored, cfg)
  ids = [e.id for e in read() if e.id not in full]
  keys = [(id, j) for id in ids for j in indices(cfg)]
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
    for harvest in missing(
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


def name(sample: types.Trajectory) -> tuple[str, int]:
  """What a sample is found by."""
  return sample.example_id, sample.j


def settled(scored, cfg: Settings) -> frozenset[str]:
  """Examples of which the rounds before this one hold all that is kept."""
  return frozenset(
    id
    for found in samples.by_example(scored, cfg.before)
    for id in select.full(found, cfg.select)
  )


def saved(cfg: Settings, full: int) -> dict[str, int]:
  """Samples that a later round left out."""
  return {'saved': full * len(indices(cfg))} if cfg.before else {}


def indices(cfg: Settings) -> range:
  """The j of this round."""
  return range(max(cfg.before, default=0), cfg.m)


def missing(
  writer: language.Language,
  examples: Iterable[types.Example],
  cfg: Settings,
  *,
  extent: prompts.Extent,
  done=(),
  full=(),
) -> Iterator[language.Harvest]:
  """The samples (example, j) not in `done`, of examples not in `full`.

  Prompts are made when there is room for them; `extent` is that of all.
  """
  template = language.load_template(cfg.prompt.template)

  def wanted():
    for e in examples:
      js = [j for j in indices(cfg) if (e.id, j) not in done]
      if js and e.id not in full:
        prompt = policy_prompt(template, e, writer.tokenizer, cfg)
        yield language.Wanted(e.id, prompt.ids, js)

  return language.sample(
    writer,
    wanted(),
    inputs=extent.count,
    prompt_length=extent.longest,
    m=cfg.budget or cfg.m,
    max_output=cfg.prompt.max_output,
    stop=(writer.tokenizer.eos,),
    temperature=cfg.temperature,
    top_p=cfg.top_p,
    top_k=cfg.top_k,
    seed=cfg.seed,
    purpose=cfg.purpose,
    iteration=cfg.iteration,
  )


def policy_prompts(examples, tokenizer, cfg) -> Iterator[prompts.Prompt]:
  """Of each example, one by one; cfg has `prompt` and `reasoning`."""
  template = language.load_template(cfg.prompt.template)
  return (policy_prompt(template, e, tokenizer, cfg) for e in examples)


def policy_prompt(template, example, tokenizer, cfg) -> prompts.Prompt:
  return prompts.policy(
    template,
    tokenizer,
    example,
    reasoning=cfg.reasoning,
    limit=cfg.prompt.max_input,
  )
