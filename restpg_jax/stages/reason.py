"""Line 3 of Algorithm 1: a larger model explains why the user wrote y.

Section 3.1 of the paper.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.engines import (
  generator,
  prompting,
  tokenizer_files,
  turn_files,
)
from restpg_jax.io import (
  append_log,
  artifacts,
  fingerprints,
  progress,
  records,
  speed,
  weight_folders,
)
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layouts
from restpg_jax.text import prompts, templates
from restpg_jax.text import tokenizer as tokenizers
from restpg_jax.text import turns as turns_lib

VERSION = 2  # 1 sampled by Gumbel noise, a number for each vocabulary entry
CUT_OFF = 'drop', 'keep'  # reasoning that reached its limit
Prompter = Callable[[types.Example], prompts.EncodedPrompt]


@dataclasses.dataclass(frozen=True)
class ReasonSettings:
  """The settings that decide the reasoning data."""

  reason: config.Reason
  prompt: config.Prompt
  seed: int
  # The policy's; None: it is the reasoner's own, as in runs before this was.
  tokenizer: config.Model | None = config.omitted_at_default(None)

  @classmethod
  def of(
    cls,
    reason: config.Reason,
    *,
    tokenizer: config.Model,
    prompt: config.Prompt,
    seed: int,
  ) -> 'ReasonSettings':
    """`tokenizer` is the policy's, left out where the reasoner has the same."""
    same = _same_file(tokenizer.tokenizer, reason.model.tokenizer)
    return cls(reason, prompt, seed, None if same else tokenizer)


@artifacts.stage(
  'restpg_jax.stages.reason.reason', version=VERSION, hosts=artifacts.SHARES
)
def reason(
  examples: epath.Path,
  *,
  out: epath.Path,
  cfg: ReasonSettings,
  layout: layouts.Layout,
) -> dict[str, Any]:
  """Writes trajectories.jsonl, reasoning and gold answer, each with reward 1.

  Reasoning that is empty, holds the answer marker or was cut off at its limit
  is drawn again; after `tries` draws the example is dropped and counted.
  """
  settings = cfg.reason
  output = templates.Output.of(prompting.load_template(cfg.prompt.template))
  reasoner = generator.load_named(settings.model, layout, dtype=settings.dtype)
  tokenizer = reasoner.tokenizer
  train_set = list(records.read(examples / 'examples.jsonl', types.Example))
  turns = turn_files.read_turns(settings.model, tokenizer)
  prompt = reasoner_prompter(cfg, tokenizer, turns)
  stats = prompts.PromptStats.of(map(prompt, train_set))
  hosts = layout.hosts
  log = append_log.AppendLog(out / 'drawn', types.Trajectory, host=hosts.index)
  tally = ReasonTally(output, settings.cut_off)
  tally.add(log)
  own = [e for e in train_set if hosts.owns(e.id)]
  with (
    log,
    progress.bar(
      len(own),
      'examples',
      'reason',
      sum(e.id in tally.usable for e in own),
      log=progress.log_of(out, hosts),
    ) as shown,
  ):
    for j in range(settings.tries):
      missing = [e for e in own if tally.lacks(e.id, j)]
      for finished in generator.generate_samples(
        reasoner,
        (generator.SampleRequest(e.id, prompt(e).ids, (j,)) for e in missing),
        inputs=len(train_set),
        prompt_length=stats.longest,
        m=1,
        max_output=settings.max_output,
        stop=turns.stops,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=cfg.seed,
        purpose='reason',
      ):
        trajectories = finished.trajectories()
        log.append(trajectories)
        num_usable = tally.add(trajectories)
        shown.update(num_usable, samples=trajectories, **finished.counts)
  shares = hosts.gather(rates=shown.totals())
  if not shares:
    return {}
  if hosts.count > 1:
    tally = tally_of_all(train_set, out, tally, settings.tries, hosts)
  kept = [e for e in train_set if e.id in tally.usable]
  # Not those that were never drawn: they make the stage incomplete.
  dropped = sum(tally.failed(e.id, settings.tries) for e in train_set)
  if not kept:
    raise errors.InputError(
      f'reason: none of {len(train_set)} reasonings was usable after '
      f'{settings.tries} tries (empty, holding the line {output.marker!r}, or '
      f'cut off: {len(tally.cut)}); raise reason.max_output, it is '
      f'{settings.max_output}, or try another reason.model'
    )
  num_kept = records.write(
    out / 'trajectories.jsonl',
    (demonstration(e, tally.usable[e.id], output) for e in kept),
  )
  return {
    'expected': len(train_set),
    'made': num_kept + dropped,
    'dropped': dropped,
    'cut_off': len(tally.cut),
    'cut_prompts': stats.cut,
    'tokens': sum(t.tokens for t in tally.usable.values()),
  } | speed.of_all(shares)


@dataclasses.dataclass
class ReasonTally:
  """Keeps account of what has been drawn, by (example, try)."""

  output: templates.Output
  cut_off: str  # one of CUT_OFF
  # Example -> the first reasoning of it that can be used.
  usable: dict[str, types.Trajectory] = dataclasses.field(default_factory=dict)
  tried: set[tuple[str, int]] = dataclasses.field(default_factory=set)
  cut: set[tuple[str, int]] = dataclasses.field(default_factory=set)

  def add(self, trajectories: Iterable[types.Trajectory]) -> int:
    """Notes samples; returns the number of examples that they were good for."""
    before = len(self.usable)
    for t in trajectories:
      self.tried.add((t.example_id, t.j))
      if not t.ended:
        self.cut.add((t.example_id, t.j))
      if is_usable(t, self.output, self.cut_off):
        self.usable.setdefault(t.example_id, t)
    return len(self.usable) - before

  def lacks(self, example_id: str, j: int) -> bool:
    """Returns whether try j of an example is still to be drawn."""
    return example_id not in self.usable and (example_id, j) not in self.tried

  def failed(self, example_id: str, tries: int) -> bool:
    """Returns whether all tries were in vain."""
    return example_id not in self.usable and all(
      (example_id, j) in self.tried for j in range(tries)
    )


def tally_of_all(
  train_set: Iterable[types.Example],
  out: epath.Path,
  own: ReasonTally,
  tries: int,
  hosts: hosts_lib.Hosts,
) -> ReasonTally:
  """Returns the account of what all hosts have drawn, once it can be read."""
  tally = own

  def is_whole() -> bool:
    nonlocal tally
    tally = ReasonTally(own.output, own.cut_off)
    log = append_log.AppendLog(
      out / 'drawn', types.Trajectory, host=hosts.index
    )
    tally.add(log)
    return all(
      e.id in tally.usable or tally.failed(e.id, tries) for e in train_set
    )

  append_log.await_hosts(is_whole, out / 'drawn', hosts)
  return tally


@artifacts.stage('restpg_jax.stages.reason.copy_targets', version=VERSION)
def copy_targets(
  examples: epath.Path, *, out: epath.Path, cfg: None, layout: layouts.Layout
) -> dict[str, Any]:
  """Writes targets without reasoning: the gold texts, with reward 1."""
  del cfg, layout
  train_set = list(records.read(examples / 'examples.jsonl', types.Example))
  num_targets = records.write(
    out / 'trajectories.jsonl',
    (types.Trajectory(e.id, 0, e.output, reward=1.0) for e in train_set),
  )
  return {'expected': len(train_set), 'made': num_targets}


def reasoner_prompter(
  cfg: ReasonSettings,
  tokenizer: tokenizers.Tokenizer,
  turns: turns_lib.Turns,
) -> Prompter:
  """Returns prompt(example), which shows the documents that the policy will
  read, cut as its own limit cuts them; tokenizer and turns are the reasoner's.
  """
  template = prompting.load_template(cfg.reason.template)
  policy_prompt = policy_prompter(cfg)

  def prompt(example: types.Example) -> prompts.EncodedPrompt:
    context = policy_prompt(example).context
    return prompts.reasoner(
      template,
      tokenizer,
      dataclasses.replace(example, context=context),
      turns=turns,
      limit=cfg.reason.max_input,
    )

  return prompt


def policy_prompter(cfg: ReasonSettings) -> Prompter:
  """Returns prompt(example), what the policy will read."""
  template = prompting.load_template(cfg.prompt.template)
  model = cfg.tokenizer or cfg.reason.model
  tokenizer = tokenizer_files.read_tokenizer(model.tokenizer)

  def prompt(example: types.Example) -> prompts.EncodedPrompt:
    limit = cfg.prompt.max_input
    return prompts.policy(
      template, tokenizer, example, reasoning=True, limit=limit
    )

  return prompt


def is_usable(
  reasoning: types.Trajectory, output: templates.Output, cut_off: str
) -> bool:
  """Returns whether reasoning can stand before the answer in a target."""
  whole = reasoning.ended or cut_off == 'keep'
  text = reasoning.text
  return whole and bool(text.strip()) and not output.has_marker(text)


def warn_if_older(
  examples: epath.Path, *, out: epath.Path, cfg: ReasonSettings
) -> str:
  """Warns of targets that an older version made.

  It kept reasoning that was cut off, and showed the reasoner documents that the
  policy does not read. Their fingerprint is today's, so nothing else tells them
  from today's.
  """
  if 'cut_off' in records.read_json(out / artifacts.DONE)['summary']:
    return ''
  output = templates.Output.of(prompting.load_template(cfg.prompt.template))
  used = {}
  for t in append_log.AppendLog(out / 'drawn', types.Trajectory, host=0):
    if is_usable(t, output, 'keep'):
      used.setdefault(t.example_id, t)
  faults = {
    f'cut off at reason.max_output={cfg.reason.max_output}': sum(
      not t.ended for t in used.values()
    ),
    'made of documents that prompt.max_input keeps from the policy': sum(
      e.id in used for e in over_limit(examples, cfg)
    ),
  }
  messages = [f'{count:,} {fault}' for fault, count in faults.items() if count]
  if messages:
    warnings.warn(
      f'{out}: of {len(used):,} reasonings that are trained on '
      f'{" and ".join(messages)}; remove this folder, and they are drawn again',
      errors.DataWarning,
      stacklevel=2,
    )
  return ''


def over_limit(
  examples: epath.Path, cfg: ReasonSettings
) -> Iterator[types.Example]:
  """Yields examples of which the policy's limit cuts a document."""
  prompt = policy_prompter(cfg)
  for example in records.read(examples / 'examples.jsonl', types.Example):
    if any(name.startswith('document') for name in prompt(example).cut):
      yield example


def check_reason(settings: config.Reason) -> None:
  """Raises InputError where reason.cut_off is none of CUT_OFF."""
  if settings.cut_off not in CUT_OFF:
    raise errors.InputError(
      f'reason.cut_off is {settings.cut_off!r}; it must be '
      f'{" or ".join(map(repr, CUT_OFF))}'
    )


def _same_file(*names: str) -> bool:
  """Returns whether settings name the same tokenizer, wherever it lies."""
  if len({*names}) == 1:
    return True
  try:
    files = [tokenizer_files.tokenizer_file(name) for name in names]
  except errors.InputError:  # preflight needs none of them
    return False
  contents = (
    fingerprints.content(file, [file, *weight_folders.tokenizer_notes(file)])
    for file in files
  )
  return len({*contents}) == 1


def demonstration(
  example: types.Example, reasoning: types.Trajectory, output: templates.Output
) -> types.Trajectory:
  """Returns reasoning and gold answer as the policy should write them."""
  text = output.join(reasoning.text.strip(), example.output)
  return types.Trajectory(example.id, 0, text, reward=1.0)
