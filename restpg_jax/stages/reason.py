"""Line 3 of Algorithm 1: a larger model explains why the user wrote y."""

import dataclasses
import warnings
from collections.abc import Callable, Iterator

import jax

from restpg_jax import config, errors, types
from restpg_jax.engines import generator, tokenizer_files
from restpg_jax.io import append_log, artifacts, fingerprints, progress, records
from restpg_jax.text import prompts, templates
from restpg_jax.text import tokenizer as tokenizers

VERSION = 2  # 1 drew by Gumbel noise, a number for every word
CUT_OFF = 'drop', 'keep'  # reasoning that reached its limit


@dataclasses.dataclass(frozen=True)
class ReasonSettings:
  """What decides the reasoning data."""

  reason: config.Reason
  prompt: config.Prompt
  seed: int
  # The policy's; None: it is the reasoner's own, as in runs before this was.
  tokenizer: config.Model | None = config.omitted_at_default(None)

  @classmethod
  def of(
    cls, reason: config.Reason, *, tokenizer: config.Model, **rest
  ) -> 'ReasonSettings':
    """`tokenizer` is the policy's, left out where the reasoner has the same."""
    same = _same_file(tokenizer.tokenizer, reason.model.tokenizer)
    return cls(reason, tokenizer=None if same else tokenizer, **rest)


@artifacts.stage('restpg_jax.stages.reason.reason', version=VERSION)
def reason(examples, *, out, cfg: ReasonSettings, layout) -> dict:
  """trajectories.jsonl: reasoning and gold answer, each with reward 1.

  Reasoning that is empty, holds the answer marker or was cut off at its limit
  is drawn again; after `tries` draws the example is dropped and counted.
  """
  settings = cfg.reason
  output = templates.Output.of(generator.load_template(cfg.prompt.template))
  writer = generator.load_named(settings.model, layout, dtype=settings.dtype)
  examples = list(records.read(examples / 'examples.jsonl', types.Example))
  prompt = prompter(cfg, writer.tokenizer)
  extent = prompts.PromptStats.of(map(prompt, examples))
  log = append_log.AppendLog(
    out / 'drawn', types.Trajectory, host=jax.process_index()
  )
  good, tried, cut = {}, set(), set()

  def note(drawn):
    tried.update((t.example_id, t.j) for t in drawn)
    cut.update((t.example_id, t.j) for t in drawn if not t.ended)
    for t in drawn:
      if usable(t, output, settings.cut_off):
        good.setdefault(t.example_id, t)

  note(log)
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
      for harvest in generator.generate_samples(
        writer,
        (generator.SampleRequest(e.id, prompt(e).ids, (j,)) for e in left),
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
        before = len(good)
        note(drawn)
        shown.update(len(good) - before, **harvest.counts)
  kept = [e for e in examples if e.id in good]
  dropped = sum(  # not whoever was never drawn
    e.id not in good and all((e.id, j) in tried for j in range(settings.tries))
    for e in examples
  )
  if not kept:
    raise errors.InputError(
      f'reason: none of {len(examples)} reasonings was usable after '
      f'{settings.tries} tries (empty, holding the line {output.marker!r}, or '
      f'cut off: {len(cut)}); raise reason.max_output, it is '
      f'{settings.max_output}, or try another reason.model'
    )
  made = records.write(
    out / 'trajectories.jsonl',
    (demonstration(e, good[e.id], output) for e in kept),
  )
  return {
    'expected': len(examples),
    'made': made + dropped,
    'dropped': dropped,
    'cut_off': len(cut),
    'cut_prompts': extent.cut,
    'tokens': sum(t.tokens for t in good.values()),
  } | shown.totals()


@artifacts.stage('restpg_jax.stages.reason.copy_targets', version=VERSION)
def copy_targets(examples, *, out, cfg: None, layout) -> dict:
  """Training targets without reasoning: the gold texts, with reward 1."""
  del cfg, layout
  examples = list(records.read(examples / 'examples.jsonl', types.Example))
  made = records.write(
    out / 'trajectories.jsonl',
    (types.Trajectory(e.id, 0, e.output, reward=1.0) for e in examples),
  )
  return {'expected': len(examples), 'made': made}


def prompter(
  cfg: ReasonSettings, tokenizer: tokenizers.Tokenizer
) -> Callable[[types.Example], prompts.EncodedPrompt]:
  """prompt(example): asks about the documents that the policy will read, cut
  as its own limit cuts them; `tokenizer` is the reasoner's."""
  template = generator.load_template(cfg.reason.template)
  as_policy = policy_prompter(cfg)

  def prompt(example):
    context = as_policy(example).context
    return prompts.reasoner(
      template,
      tokenizer,
      dataclasses.replace(example, context=context),
      limit=cfg.reason.max_input,
    )

  return prompt


def policy_prompter(
  cfg: ReasonSettings,
) -> Callable[[types.Example], prompts.EncodedPrompt]:
  """prompt(example): what the policy will read."""
  template = generator.load_template(cfg.prompt.template)
  model = cfg.tokenizer or cfg.reason.model
  tokenizer = tokenizer_files.read_tokenizer(model.tokenizer)

  def prompt(example):
    limit = cfg.prompt.max_input
    return prompts.policy(
      template, tokenizer, example, reasoning=True, limit=limit
    )

  return prompt


def usable(
  drawn: types.Trajectory, output: templates.Output, cut_off: str
) -> bool:
  whole = drawn.ended or cut_off == 'keep'
  return (
    whole and bool(drawn.text.strip()) and not output.has_marker(drawn.text)
  )


def warn_if_older(examples, *, out, cfg: ReasonSettings) -> str:
  """Warns of targets made before reasoning that was cut off was dropped, and
  documents that the policy does not read were left out.

  Their fingerprint is today's, so nothing else tells them from today's.
  """
  if 'cut_off' in records.read_json(out / artifacts.DONE)['summary']:
    return ''
  output = templates.Output.of(generator.load_template(cfg.prompt.template))
  used = {}
  for t in append_log.AppendLog(out / 'drawn', types.Trajectory, host=0):
    if usable(t, output, 'keep'):
      used.setdefault(t.example_id, t)
  faults = {
    f'cut off at reason.max_output={cfg.reason.max_output}': sum(
      not t.ended for t in used.values()
    ),
    'made of documents that prompt.max_input keeps from the policy': sum(
      e.id in used for e in over_limit(examples, cfg)
    ),
  }
  found = [f'{count:,} {how}' for how, count in faults.items() if count]
  if found:
    warnings.warn(
      f'{out}: of {len(used):,} reasonings that are trained on '
      f'{" and ".join(found)}; remove this folder, and they are drawn again',
      errors.DataWarning,
      stacklevel=2,
    )
  return ''


def over_limit(examples, cfg: ReasonSettings) -> Iterator[types.Example]:
  """Examples of which the policy's limit cuts a document."""
  prompt = policy_prompter(cfg)
  for example in records.read(examples / 'examples.jsonl', types.Example):
    if any(name.startswith('document') for name in prompt(example).cut):
      yield example


def check_reason(cfg: config.Reason) -> None:
  """Raises InputError for a word that is none of CUT_OFF."""
  if cfg.cut_off not in CUT_OFF:
    raise errors.InputError(
      f'reason.cut_off is {cfg.cut_off!r}; it must be '
      f'{" or ".join(map(repr, CUT_OFF))}'
    )


def _same_file(*tokenizers: str) -> bool:
  """Whether two settings name the same tokenizer, wherever it lies."""
  if len({*tokenizers}) == 1:
    return True
  try:
    files = [tokenizer_files.tokenizer_file(name) for name in tokenizers]
  except errors.InputError:  # preflight needs none of them
    return False
  return len({fingerprints.content(file) for file in files}) == 1


def demonstration(
  example: types.Example, drawn: types.Trajectory, output: templates.Output
) -> types.Trajectory:
  """Reasoning and gold answer as the policy should have written them."""
  text = output.join(drawn.text.strip(), example.output)
  return types.Trajectory(example.id, 0, text, reward=1.0)
