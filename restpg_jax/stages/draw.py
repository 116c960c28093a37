"""Samples of the policy: the E-step's m outputs, and evaluation's answers."""

import dataclasses
from collections.abc import Iterator

from restpg_jax import config, types
from restpg_jax.io import progress, records
from restpg_jax.stages import language
from restpg_jax.text import prompts


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides the samples."""

  sample: config.Sample
  prompt: config.Prompt
  tokenizer: config.Model  # the policy's; its weights come as an input
  reasoning: bool
  seed: int
  purpose: str  # 'draw' or 'test': no two purposes share a random key
  iteration: int


def draw(policy, examples, *, out, cfg: Settings, layout) -> dict:
  """trajectories.jsonl: m outputs for each example, by example and j.

  Finished batches stand in drawn.jsonl; a run that was killed goes on behind.
  """
  writer = language.load(policy / 'model', cfg.tokenizer.tokenizer, layout)
  examples = list(records.read(examples / 'examples.jsonl', types.Example))
  asked = policy_prompts(examples, writer.tokenizer, cfg)
  log = records.Appender(out / 'drawn.jsonl', types.Trajectory)
  drawn = {(t.example_id, t.j): t for t in log.done}
  total = len(examples) * cfg.sample.m
  name = f'{cfg.purpose}{cfg.iteration}'
  with progress.bar(
    total, 'samples', name, len(drawn), log=out / 'metrics.jsonl'
  ) as shown:
    for batch in missing(writer, examples, asked, cfg, done=drawn):
      log.append(batch.samples)
      drawn |= {(t.example_id, t.j): t for t in batch.samples}
      shown.update(len(batch.samples), **batch.counts)
  in_order = [drawn[e.id, j] for e in examples for j in range(cfg.sample.m)]
  made = records.write(out / 'trajectories.jsonl', in_order)
  return {
    'expected': total,
    'made': made,
    'tokens': sum(t.tokens for t in in_order),
    'cut_prompts': sum(bool(p.cut) for p in asked),
    'cut_outputs': sum(not t.ended for t in in_order),
  } | shown.totals()


@dataclasses.dataclass(frozen=True)
class Batch:
  """Samples that ended, and what the engine counted meanwhile."""

  samples: list[types.Trajectory]
  busy: int | None = None  # slot-steps in use; None: not counted
  slots: int | None = None  # slot-steps in all

  @property
  def counts(self) -> dict[str, int | None]:
    """For progress.Shown.update."""
    tokens = sum(t.tokens for t in self.samples)
    return {'tokens': tokens, 'busy': self.busy, 'slots': self.slots}


def missing(
  writer: language.Language,
  examples: list[types.Example],
  asked: list[prompts.Prompt],
  cfg: Settings,
  *,
  done,
) -> Iterator[Batch]:
  """The samples whose (example, j) is not in `done`, batch by batch."""
  wanted = [
    language.Wanted(e.id, p.ids, js)
    for e, p in zip(examples, asked, strict=True)
    if (js := [j for j in range(cfg.sample.m) if (e.id, j) not in done])
  ]
  for batch in language.sample(
    writer,
    wanted,
    prompt_length=max(len(p.ids) for p in asked),
    m=cfg.sample.m,
    max_output=cfg.prompt.max_output,
    stop=writer.tokenizer.eos,
    temperature=cfg.sample.temperature,
    top_p=cfg.sample.top_p,
    seed=cfg.seed,
    purpose=cfg.purpose,
    iteration=cfg.iteration,
  ):
    yield Batch(
      [
        types.Trajectory(s.example_id, s.j, s.text, s.ended, s.tokens)
        for s in batch
      ]
    )


def policy_prompts(examples, tokenizer, cfg) -> list[prompts.Prompt]:
  """Of each example; cfg has `prompt` and `reasoning`."""
  template = language.load_template(cfg.prompt.template)
  return [
    prompts.policy(
      template,
      tokenizer,
      e,
      reasoning=cfg.reasoning,
      limit=cfg.prompt.max_input,
    )
    for e in examples
  ]
