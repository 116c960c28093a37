"""Settings, data, models, prompts: what of them a run needs, and how to get it.

Weights are read whole: a run would meet a damaged file hours later.
"""

import dataclasses
import pkgutil
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from restpg_jax import assets, config, errors, types
from restpg_jax.data import files, longlamp
from restpg_jax.doctor import findings
from restpg_jax.engines import generator, rewards, tokenizer_files
from restpg_jax.io import encoders, progress, weights
from restpg_jax.rewards import meteor
from restpg_jax.text import prompts, templates
from restpg_jax.text import tokenizer as tokenizers

LICENSED = 'email_generation'
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
  """A language model of the run."""

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
  """Those that the run has, `reasoning`: if one of its methods reasons."""

  def policy(template, words):
    limit = cfg.prompt.max_input
    how = dict(reasoning=reasoning, limit=limit)
    return prompts.policy(template, words, EXAMPLE, **how)

  def reasoner(template, words):
    limit = cfg.reason.max_input
    return prompts.reasoner(template, words, EXAMPLE, limit=limit)

  def judge(template, words):
    texts = dict(instruction='asked', reference='written', answer='answered')
    limit = cfg.reward.max_input
    return prompts.judge(template, words, **texts, limit=limit)

  asked, explained, scored = (
    cfg.prompt.template,
    cfg.reason.template,
    cfg.reward.template,
  )
  found = [Role('policy', 'policy', cfg.policy, asked, policy, chat=False)]
  if reasoning:
    model = cfg.reason.model
    found.append(Role('reasoner', 'reason.model', model, explained, reasoner))
  if 'judge' in (cfg.reward.name, *cfg.evaluate.metrics):
    model = cfg.reward.model
    found.append(Role('judge', 'reward.model', model, scored, judge))
  return found


def inspect_settings(
  cfg: config.Config, checks: Sequence[Callable[[config.Config], None]]
) -> Iterator[findings.Finding]:
  """A line for each of the checks that fails."""
  wrong = [
    found
    for found in (findings.look('settings', check, cfg) for check in checks)
    if found.state != findings.OK
  ]
  yield from dict.fromkeys(wrong) or [
    findings.Finding('settings', findings.OK, 'a run can have them')
  ]


def inspect_data(cfg: config.Data) -> Iterator[findings.Finding]:
  """The folder of each task with its splits; no row is read yet."""
  if not cfg.path:
    said = 'synthetic users, made as they are needed'
    yield findings.Finding('data', findings.OK, said)
    return
  try:
    folders = longlamp.folders(cfg.path, setting=cfg.setting)
  except errors.InputError as error:
    yield findings.Finding('data', findings.BROKEN, str(error))
    return
  some = any(folder.is_dir() for folder in folders.values())
  for task, folder in folders.items():
    if folder.is_dir():
      yield from (_split(task, folder, split) for split in files.NAMES)
    elif task in types.TASKS:
      spared = some or task == LICENSED
      state = findings.NOTE if spared else findings.MISSING
      said = f'{folder}: no such folder' + spared * '; a run does without'
      yield findings.Finding(
        f'data, {task}', state, said, _source(task, folder)
      )


def inspect_models(of: Sequence[Role]) -> Iterator[findings.Finding]:
  """Weights, each checkpoint once, and tokenizers."""
  known = {}
  for role in of:
    name, checkpoint = f'{role.name}, weights', role.model.checkpoint
    if not findings.there(checkpoint):
      yield _missing(name, role)
    elif checkpoint in known:
      first = known[checkpoint]
      said = f'those of the {first.name.split(",")[0]}'
      yield dataclasses.replace(first, name=name, said=said)
    else:
      known[checkpoint] = findings.look(name, _read_whole, checkpoint)
      yield known[checkpoint]
    yield _tokenizer(role)


def inspect_template(role: Role) -> findings.Finding:
  """The prompt of a role, tried on an example."""

  def tried() -> str:
    found = generator.load_template(role.template)
    words = inspect_tokenizer(role.model)
    if not words:
      return f'{found.name}; not tried, without a tokenizer'
    return (
      f'{found.name}: {len(role.prompt(found, words).ids)} tokens by itself'
    )

  return findings.look(f'{role.name}, prompt', tried)


def inspect_tokenizer(model: config.Model) -> tokenizers.Tokenizer | None:
  """None where it cannot be used."""
  try:
    return tokenizer_files.read_tokenizer(model.tokenizer)
  except errors.InputError:
    return None


def inspect_vectors(cfg: config.Config) -> Iterator[findings.Finding]:
  """The encoders of retrieval and of the metric that needs one."""
  wanted = {}
  if cfg.retrieval.name == 'contriever':
    wanted['retrieval.encoder'] = cfg.retrieval.encoder
  if 'cosine' in cfg.evaluate.metrics:
    own = 'evaluate' if cfg.evaluate.encoder else 'retrieval'
    wanted[f'{own}.encoder'] = getattr(cfg, own).encoder
  for setting, name in wanted.items():
    yield _encoder(setting, name)


def inspect_metrics(cfg: config.Evaluate) -> Iterator[findings.Finding]:
  """What METEOR reads."""

  def read() -> str:
    meteor.check_wordnet()
    return "NLTK's data is there"

  if 'meteor' in cfg.metrics:
    yield findings.look('metrics, meteor', read)


def inspect_reward(cfg: config.Reward) -> Iterator[findings.Finding]:
  """Somebody else's, by its name; ours are known."""

  def imported() -> str:
    if ':' not in cfg.name:
      raise errors.InputError(
        f'reward.name is {cfg.name!r}; known are {", ".join(rewards.REWARDS)}, '
        'or package.module:function'
      )
    pkgutil.resolve_name(cfg.name)
    return f'{cfg.name}: imported'

  if cfg.name not in rewards.REWARDS:
    yield findings.look('reward', imported)


def _split(task: str, folder, split: str) -> findings.Finding:
  def found() -> str:
    _, paths = files.find_split(folder, split)
    more = f' and {len(paths) - 1} more' if len(paths) > 1 else ''
    return f'{paths[0].name}{more}'

  return findings.look(f'data, {task} {split}', found)


def _source(task: str, folder) -> str:
  """Where the data of a task comes from."""
  if task == LICENSED:
    return (
      'the verb prepare makes it of the Avocado Research Email Collection '
      '(LDC2015T03), which is licensed'
    )
  return (
    'hf download LongLaMP/LongLaMP --repo-type=dataset '
    f"--include='{folder.name}/*' --local-dir={folder.parent}"
  )


def _missing(name: str, role: Role) -> findings.Finding:
  """Weights that are not there."""
  checkpoint = role.model.checkpoint
  setting = f'--config.{role.setting}.checkpoint=DIR'
  if checkpoint in HUB:
    remedy = (
      "accept the model's licence on the hub, then hf download "
      f'{HUB[checkpoint][role.chat]} --local-dir=DIR and {setting}'
    )
  else:
    remedy = f'give a folder of weights as {setting} (README, "Real models")'
  said = f'{role.setting}.checkpoint={checkpoint}: no such folder'
  return findings.Finding(name, findings.MISSING, said, remedy)


def _read_whole(checkpoint: str) -> str:
  """Every tensor, one at a time."""
  found = weights.find_checkpoint(assets.path(checkpoint))
  numbers = 0
  with progress.bar(
    len(found.tensors), 'tensors', str(found.path), compiles=False
  ) as shown:
    for tensor in found.tensors:
      x = found.read(tensor.name)
      if not np.isfinite(x).all():
        raise errors.InputError(
          f'{found.path}: {tensor.name} holds numbers that are none; '
          f'{errors.CUT}'
        )
      numbers += x.size
      shown.update(1)
  return f'{found.path}: {numbers:,} numbers, all read'


def _encoder(setting: str, encoder: str) -> findings.Finding:
  name = setting.replace('.', ', ')

  def read() -> str:
    path = assets.path(encoder)
    size = encoders.load_encoder(path).size
    return f'{path}: {size.layers} layers of width {size.width}, read whole'

  if findings.there(encoder):
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


def _tokenizer(role: Role) -> findings.Finding:
  name, model = f'{role.name}, tokenizer', role.model

  def read() -> str:
    words = tokenizer_files.read_tokenizer(model.tokenizer)
    if findings.there(model.checkpoint):
      tokenizer_files.find_model(assets.path(model.checkpoint), model.tokenizer)
    return (
      f'{tokenizer_files.tokenizer_file(model.tokenizer)}: {words.vocab_size:,}'
      + (' pieces')
    )

  if findings.there(model.tokenizer):
    return findings.look(name, read)
  return findings.Finding(
    name,
    findings.MISSING,
    f'{role.setting}.tokenizer={model.tokenizer}: no such file or folder',
    f'it comes with the weights: --config.{role.setting}.tokenizer=DIR, the '
    f'folder that holds {weights.TOKENIZER}',
  )
