"""Line 3 of Algorithm 1: a larger model explains why the user wrote y."""

import dataclasses

import jax

from restpg_jax import config, errors, types
from restpg_jax.io import progress, records, shards
from restpg_jax.stages import language
from restpg_jax.text import prompts, templates

VERSION = 2  # 1 drew by Gumbel noise, a number for every word


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides the reasoning data."""

  reason: config.Reason
  prompt: config.Prompt
  seed: int


def reason(examples, *, out, cfg: Settings, layout) -> dict:
  """trajectories.jsonl: reasoning and gold answer, each with reward 1.

  Reasoning that is empty or holds the answer marker is drawn again; after
  `tries` draws the example is dropped and counted.
  """
  settings = cfg.reason
  output = templates.Output.of(language.load_template(cfg.prompt.template))
  writer = language.load_named(settings.model, layout, dtype=settings.dtype)
  examples = list(records.read(examples / 'examples.jsonl', types.Example))
  template = language.load_template(settings.template)

  def prompt(example):
    return prompts.reasoner(
      template, writer.tokenizer, example, limit=settings.max_input
    )

  extent = prompts.Extent.of(map(prompt, examples))
  log = shards.Shards(out / 'drawn', types.Trajectory, host=jax.process_index())
  good, tried = {}, set()
  for t in log:
    tried.add((t.example_id, t.j))
    if usable(t.text, output):
      good.setdefault(t.example_id, t)
  with (
    log,
    progress.bar(
      len(examples), 'examples', 'reason', len(good), log=out / 'metrics.jsonl'
    ) as shown,
  ):
    for j in range(settings.tries):
      left = [
        e for e in examples if e.id not in good and (e.id, j) not in tried
      ]
      for harvest in language.sample(
        writer,
        (language.Wanted(e.id, prompt(e).ids, (j,)) for e in left),
        inputs=len(examples),
        prompt_length=extent.longest,
        m=1,
        max_output=settings.max_output,
        stop=(writer.tokenizer.end_of_turn, writer.tokenizer.eos),
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=cfg.seed,
        purpose='reason',
      ):
        drawn = harvest.trajectories()
        log.append(drawn)
        tried |= {(t.example_id, t.j) for t in drawn}
        new = [t for t in drawn if usable(t.text, output)]
        good |= {t.example_id: t for t in new}
        shown.update(len(new), **harvest.counts)
  kept = [e for e in examples if e.id in good]
  dropped = sum(  # not whoever was never drawn
    e.id not in good and all((e.id, j) in tried for j in range(settings.tries))
    for e in examples
  )
  if not kept:
    raise errors.InputError(
      f'reason: none of {len(examples)} reasonings was usable after '
      f'{settings.tries} tries (empty, or holding the line '
      f'{output.marker!r}); try another reason.model'
    )
  made = records.write(
    out / 'trajectories.jsonl',
    (demonstration(e, good[e.id], output) for e in kept),
  )
  return {
    'expected': len(examples),
    'made': made + dropped,
    'dropped': dropped,
    'cut_prompts': extent.cut,
    'tokens': sum(t.tokens for t in good.values()),
  } | shown.totals()


def copy_targets(examples, *, out, cfg: None, layout) -> dict:
  """Training targets without reasoning: the gold texts, with reward 1."""
  del cfg, layout
  examples = list(records.read(examples / 'examples.jsonl', types.Example))
  made = records.write(
    out / 'trajectories.jsonl',
    (types.Trajectory(e.id, 0, e.output, reward=1.0) for e in examples),
  )
  return {'expected': len(examples), 'made': made}


def usable(text: str, output: templates.Output) -> bool:
  return bool(text.strip()) and not output.has_marker(text)


def demonstration(
  example: types.Example, drawn: types.Trajectory, output: templates.Output
) -> types.Trajectory:
  """Reasoning and gold answer as the policy should have written them."""
  text = output.join(drawn.text.strip(), example.output)
  return types.Trajectory(example.id, 0, text, reward=1.0)
