"""Inspects settings, data, models and prompts, and says how to get what lacks.

Weights are read whole: a run would meet a damaged file hours later.
"""

import dataclasses
import pkgutil
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from etils import epath

from restpg_jax import assets, config, errors, types
from restpg_jax.data import files, longlamp
from restpg_jax.doctor import findings
from restpg_jax.engines import (
  prompting,
  rewards,
  tokenizer_files,
  turn_files,
)
from restpg_jax.io import encoders, progress, weights
from restpg_jax.rewards import meteor, mixture
from restpg_jax.text import prompts, templates
from restpg_jax.text import tokenizer as tokenizers

LICENSED = 'email_generation'  # most runs do without it
# Its prompt shows the tokens of a template by itself.
EXAMPLE = types.Example('', '', 'asked', 'written', context=('a document',))
# Where the catalog's models are: pre-trained, instruction-tuned.
HUB = {
  'gemma_2b': ('google/gemma-2b', 'google/gemma-2b-it'),
  'gemma_7b': ('google/gemma-7b', 'google/gemma-7b-it'),
  'gemma2_2b': ('google/gemma-2-2b', 'google/gemma-2-2b-it'),
  'gemma2_9b': ('google/gemma-2-9b', 'google/gemma-2-9b-it'),
  'gemma2_27b': ('google/gemma-2-27b', 'google/gemma-2-27b-it'),
  'gemma3_270m': ('google/gemma-3-270m', 'google/gemma-3-270m-it'),
  'gemma3_1b': ('google/gemma-3-1b-pt', 'google/gemma-3-1b-it'),
  'gemma3_4b': ('google/gemma-3-4b-pt', 'google/gemma-3-4b-it'),
  'gemma3_12b': ('google/gemma-3-12b-pt', 'google/gemma-3-12b-it'),
  'gemma3_27b': ('google/gemma-3-27b-pt', 'google/gemma-3-27b-it'),
}


@dataclasses.dataclass(frozen=True)
class Role:
  """A language model of the run and the prompts it is given."""

  name: str
  setting: str  # the section of its checkpoint and tokenizer
  model: config.Model
  template: str
  # A prompt for EXAMPLE.
  prompt: Callable[
    [templates.Template, tokenizers.Tokenizer], prompts.EncodedPrompt
  ]
  chat: bool = True  # an instruction-tuned one


def roles(cfg: config.Config, *, reasoning: bool) -> list[Role]:
  """Returns the models of a run; reasoning: if one of its methods reasons."""

  def policy(
    template: templates.Template, tokenizer: tokenizers.Tokenizer
  ) -> prompts.EncodedPrompt:
    limit = cfg.prompt.max_input
    return prompts.policy(
      template, tokenizer, EXAMPLE, reasoning=reasoning, limit=limit
    )

  def reasoner(
    template: templates.Template, tokenizer: tokenizers.Tokenizer
  ) -> prompts.EncodedPrompt:
    limit = cfg.reason.max_input
    turns = turn_files.read_turns(cfg.reason.model, tokenizer)
    return prompts.reasoner(
      template, tokenizer, EXAMPLE, turns=turns, limit=limit
    )

  def judge(
    template: templates.Template, tokenizer: tokenizers.Tokenizer
  ) -> prompts.EncodedPrompt:
    texts = dict(instruction='asked', reference='written', answer='answered')
    limit = cfg.reward.max_input
    turns = turn_files.read_turns(cfg.reward.model, tokenizer)
    return prompts.judge(template, tokenizer, **texts, turns=turns, limit=limit)

  template = cfg.prompt.template
  model_roles = [
    Role('policy', 'policy', cfg.policy, template, policy, chat=False)
  ]
  if reasoning:
    model, template = cfg.reason.model, cfg.reason.template
    model_roles.append(
      Role('reasoner', 'reason.model', model, template, reasoner)
    )
  judges = mixture.asks(cfg.reward, 'judge')
  if judges or 'judge' in cfg.evaluate.metrics:
    model, template = cfg.reward.model, cfg.reward.template
    model_roles.append(Role('judge', 'reward.model', model, template, judge))
  return model_roles


def inspect_settings(
  cfg: config.Config, checks: Sequence[Callable[[config.Config], None]]
) -> Iterator[findings.Finding]:
  """Yields a finding for each check that fails, or one that all is well."""
  faults = [
    finding
    for finding in (findings.look('settings', check, cfg) for check in checks)
    if finding.state != findings.OK
  ]
  # One wrong setting can fail several checks with the same message.
  yield from dict.fromkeys(faults) or [
    findings.Finding('settings', findings.OK, 'a run can have them')
  ]


def inspect_data(settings: config.Data) -> Iterator[findings.Finding]:
  """Yields findings of each task's folder and splits; no row is read yet."""
  if not settings.path:
    message = 'synthetic users, made as they are needed'
    yield findings.Finding('data', findings.OK, message)
    return
  try:
    folders = longlamp.folders(settings.path, setting=settings.setting)
  except errors.InputError as error:
    yield findings.Finding('data', findings.BROKEN, str(error))
    return
  any_task = any(folder.is_dir() for folder in folders.values())
  for task, folder in folders.items():
    if folder.is_dir():
      yield from (_inspect_split(task, folder, split) for split in files.NAMES)
    elif task in types.TASKS:
      spared = any_task or task == LICENSED
      state = findings.NOTE if spared else findings.MISSING
      message = f'{folder}: no such folder' + spared * '; a run does without'
      yield findings.Finding(
        f'data, {task}', state, message, _where_to_get(task, folder)
      )


def inspect_models(model_roles: Sequence[Role]) -> Iterator[findings.Finding]:
  """Yields findings of weights, each checkpoint read once, and tokenizers."""
  by_checkpoint = {}
  for role in model_roles:
    name, checkpoint = f'{role.name}, weights', role.model.checkpoint
    key = checkpoint, role.model.base
    if not findings.exists(checkpoint):
      yield _missing_weights(name, role)
    elif key in by_checkpoint:
      first = by_checkpoint[key]
      message = f'those of the {first.name.split(",")[0]}'
      yield dataclasses.replace(first, name=name, said=message)
    else:
      by_checkpoint[key] = findings.look(name, _read_whole, *key)
      yield by_checkpoint[key]
    yield _inspect_role_tokenizer(role)


def inspect_template(role: Role) -> findings.Finding:
  """Returns the finding of a role's prompt, tried on an example."""

  def try_prompt() -> str:
    template = prompting.load_template(role.template)
    tokenizer = inspect_tokenizer(role.model)
    if not tokenizer:
      return f'{template.name}; not tried, without a tokenizer'
    length = len(role.prompt(template, tokenizer).ids)
    return f'{template.name}: {length} tokens by itself'

  return findings.look(f'{role.name}, prompt', try_prompt)


def inspect_tokenizer(model: config.Model) -> tokenizers.Tokenizer | None:
  """Returns a model's tokenizer, or None where it cannot be used."""
  try:
    return tokenizer_files.read_tokenizer(model.tokenizer)
  except errors.InputError:
    return None


def inspect_vectors(cfg: config.Config) -> Iterator[findings.Finding]:
  """Yields findings of the encoders of retrieval, metrics and reward."""
  encoders_of_settings = {}
  if cfg.retrieval.name == 'contriever':
    encoders_of_settings['retrieval.encoder'] = cfg.retrieval.encoder
  if 'cosine' in cfg.evaluate.metrics:
    own = 'evaluate' if cfg.evaluate.encoder else 'retrieval'
    encoders_of_settings[f'{own}.encoder'] = getattr(cfg, own).encoder
  if mixture.asks(cfg.reward, 'cosine'):
    encoders_of_settings['reward.encoder'] = cfg.reward.encoder
  for setting, name in encoders_of_settings.items():
    yield _inspect_encoder(setting, name)


def inspect_metrics(settings: config.Evaluate) -> Iterator[findings.Finding]:
  """Yields the finding of what METEOR reads, if it is a metric of the run."""

  def read() -> str:
    meteor.check_wordnet()
    return "NLTK's data is there"

  if 'meteor' in settings.metrics:
    yield findings.look('metrics, meteor', read)


def inspect_reward(settings: config.Reward) -> Iterator[findings.Finding]:
  """Yields the finding of a reward that is imported by name; ours are known."""

  def import_reward() -> str:
    if ':' not in settings.name:
      raise errors.InputError(
        f'reward.name is {settings.name!r}; known are '
        f'{", ".join(rewards.REWARDS)}, or package.module:function'
      )
    pkgutil.resolve_name(settings.name)
    return f'{settings.name}: imported'

  if settings.name not in rewards.REWARDS:
    yield findings.look('reward', import_reward)


def _inspect_split(
  task: str, folder: epath.Path, split: str
) -> findings.Finding:
  def file_names() -> str:
    _, paths = files.find_split(folder, split)
    more = f' and {len(paths) - 1} more' if len(paths) > 1 else ''
    return f'{paths[0].name}{more}'

  return findings.look(f'data, {task} {split}', file_names)


def _where_to_get(task: str, folder: epath.Path) -> str:
  """Returns where the data of a task comes from."""
  if task == LICENSED:
    return (
      'the verb prepare makes it of the Avocado Research Email Collection '
      '(LDC2015T03), which is licensed'
    )
  return (
    'hf download LongLaMP/LongLaMP --repo-type=dataset '
    f"--include='{folder.name}/*' --local-dir={folder.parent}"
  )


def _missing_weights(name: str, role: Role) -> findings.Finding:
  """Returns the finding of weights that are not there."""
  checkpoint = role.model.checkpoint
  setting = f'--config.{role.setting}.checkpoint=DIR'
  if checkpoint in HUB:
    remedy = (
      "accept the model's licence on the hub, then hf download "
      f'{HUB[checkpoint][role.chat]} --local-dir=DIR and {setting}'
    )
  else:
    remedy = f'give a folder of weights as {setting} (README, "Real models")'
  message = f'{role.setting}.checkpoint={checkpoint}: no such folder'
  return findings.Finding(name, findings.MISSING, message, remedy)


def _read_whole(checkpoint: str, base: str) -> str:
  """Reads every tensor, one at a time; returns what was read."""
  checkpoint_files = weights.find_checkpoint(assets.path(checkpoint), base)
  num_weights = 0
  with progress.bar(
    len(checkpoint_files.tensors),
    'tensors',
    str(checkpoint_files.path),
    compiles=False,
  ) as shown:
    for tensor in checkpoint_files.tensors:
      x = checkpoint_files.read(tensor.name)
      if not np.isfinite(x).all():
        raise errors.InputError(
          f'{checkpoint_files.path}: {tensor.name} holds numbers that are '
          f'none; {errors.CUT}'
        )
      num_weights += x.size
      shown.update(1)
  return f'{checkpoint_files.path}: {num_weights:,} numbers, all read'


def _inspect_encoder(setting: str, encoder: str) -> findings.Finding:
  name = setting.replace('.', ', ')

  def read() -> str:
    path = assets.path(encoder)
    size = encoders.load_encoder(path).size
    return f'{path}: {size.layers} layers of width {size.width}, read whole'

  if findings.exists(encoder):
    return findings.look(name, read)
  return findings.Finding(
    name,
    findings.MISSING,
    f'{setting}={encoder}: no such folder',
    'load facebook/contriever with transformers and save model and tokenizer '
    f'by save_pretrained(DIR), then --config.{setting}=DIR'
    + '; --config.retrieval.name=bm25 needs none'
    * setting.startswith('r'),
  )


def _inspect_role_tokenizer(role: Role) -> findings.Finding:
  name, model = f'{role.name}, tokenizer', role.model

  def read() -> str:
    tokenizer = tokenizer_files.read_tokenizer(model.tokenizer)
    if findings.exists(model.checkpoint):
      tokenizer_files.find_model(
        assets.path(model.checkpoint), model.tokenizer, base=model.base
      )
    file = tokenizer_files.tokenizer_file(model.tokenizer)
    return f'{file}: {tokenizer.vocab_size:,} pieces'

  if findings.exists(model.tokenizer):
    return findings.look(name, read)
  return findings.Finding(
    name,
    findings.MISSING,
    f'{role.setting}.tokenizer={model.tokenizer}: no such file or folder',
    f'it comes with the weights: --config.{role.setting}.tokenizer=DIR, the '
    f'folder that holds {weights.TOKENIZER} or tokenizer.json',
  )
