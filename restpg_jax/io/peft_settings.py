"""The settings of an adapter of PEFT: what they mean, and which are refused.

Scales are lora_alpha / r (arXiv 2106.09685) or, rank-stabilised,
lora_alpha / sqrt(r) (arXiv 2312.03732).
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from restpg_jax import errors
from restpg_jax.io import foreign, records

CONFIG = foreign.ADAPTER_CONFIG
ALL = 'all-linear'  # all linear layers but the output's
SUPPORTED = (
  'plain LoRA of the projections of attention and feed-forward is read (r, '
  'lora_alpha, use_rslora, target_modules, rank_pattern, alpha_pattern)'
)
READ = {  # fields that decide the weights, as far as they are supported
  *('peft_type', 'base_model_name_or_path', 'r', 'lora_alpha', 'use_rslora'),
  *('target_modules', 'exclude_modules', 'rank_pattern', 'alpha_pattern'),
  *('layers_to_transform', 'layers_pattern', 'bias', 'init_lora_weights'),
}
NEUTRAL = {  # fields that change nothing of what is on disk
  *('auto_mapping', 'inference_mode', 'lora_dropout', 'peft_version'),
  *('revision', 'runtime_config', 'task_type', 'megatron_core'),
  *('eva_config', 'corda_config', 'loftq_config', 'lora_ga_config'),
  *('qalora_group_size', 'ensure_weight_tying'),
  # PEFT itself sets it aside where the layer is a torch.nn.Linear, and all
  # projections of our families are.
  'fan_in_fan_out',
}
# Others (PiSSA, OLoRA, LoftQ ..) change the base, too.
INITS = None, True, False, 'gaussian', 'orthogonal', 'eva'
CONVERTED = (
  'changes the base as well; save it again with peft: '
  'save_pretrained(DIR, path_initial_model_for_weight_conversion=..)'
)


@dataclasses.dataclass(frozen=True)
class Settings:
  """What of adapter_config.json decides the weights."""

  base: str  # a folder, or a name on the hub; '': unknown
  rank: int
  alpha: float
  stabilised: bool
  targets: str | tuple[str, ...]  # a pattern, ALL or ends of names
  excluded: str | tuple[str, ...]
  layers: tuple[int, ...]  # the only ones; (): all
  lists: tuple[str, ...]  # names of the lists that `layers` count in; (): any
  ranks: Mapping[str, int]  # of some modules, by a pattern
  alphas: Mapping[str, float]

  def reaches(self, module: str) -> bool:
    """Says whether a module has an adapter, as PEFT decides it.

    'model.layers.0.mlp.up_proj', targets ('up_proj',)  ->  True
    """
    if self.excluded and _matches(self.excluded, module):
      return False
    if isinstance(self.targets, str):
      return self.targets.lower() == ALL or _matches(self.targets, module)
    return _matches(self.targets, module) and self._in_layers(module)

  def rank_of(self, module: str) -> int:
    return _by_pattern(self.ranks, module, self.rank)

  def scale_of(self, module: str) -> float:
    rank = self.rank_of(module)
    alpha = _by_pattern(self.alphas, module, self.alpha)
    return alpha / (rank**0.5 if self.stabilised else rank)

  def _in_layers(self, module: str) -> bool:
    if not self.layers:
      return True
    for name in self.lists or (r'[^.]*',):
      if match := re.match(rf'(?:.*?\.)?{name}\.(\d+)\.', module):
        return int(match[1]) in self.layers
    return False


def read_settings(folder: epath.Path) -> Settings:
  """Reads adapter_config.json.

  Raises InputError, which names the field, for what is not supported.
  """
  path = folder / CONFIG
  config = records.json_object(path)
  if fault := _fault(config):
    raise errors.InputError(f'{path}: {fault}')
  excluded, layers, lists = (
    _tuple(config.get(name))
    for name in ('exclude_modules', 'layers_to_transform', 'layers_pattern')
  )
  targets = config['target_modules']
  return Settings(
    base=config.get('base_model_name_or_path') or '',
    rank=config['r'],
    alpha=config.get('lora_alpha', 8),
    stabilised=bool(config.get('use_rslora')),
    targets=targets if isinstance(targets, str) else tuple(targets),
    excluded=config['exclude_modules']
    if isinstance(config.get('exclude_modules'), str)
    else excluded,
    layers=layers,
    lists=lists,
    ranks=config.get('rank_pattern') or {},
    alphas=config.get('alpha_pattern') or {},
  )


def _matches(patterns: str | tuple[str, ...], module: str) -> bool:
  """Says whether a module has this whole name, or one of these ends."""
  if isinstance(patterns, str):
    return bool(re.fullmatch(patterns, module))
  return any(module == p or module.endswith(f'.{p}') for p in patterns)


def _by_pattern(values: Mapping[str, Any], module: str, default: Any) -> Any:
  """Returns the value of the first pattern that is an end of a module."""
  for pattern, value in values.items():
    if re.match(rf'(.*\.)?({pattern})$', module):
      return value
  return default


def _tuple(value: Any) -> tuple[Any, ...]:
  if value is None:
    return ()
  return tuple(value) if isinstance(value, list) else (value,)


def _fault(config: Mapping[str, Any]) -> str:
  """Says what of an adapter_config.json is not supported, '' if all is."""
  peft_type = config.get('peft_type')
  if peft_type != 'LORA':
    return f'peft_type={peft_type!r} is not supported; {SUPPORTED}'
  if config.get('bias') not in (None, 'none'):
    return f'bias={config["bias"]!r} is not supported; {SUPPORTED}'
  if (init := config.get('init_lora_weights')) not in INITS:
    return f'init_lora_weights={init!r} {CONVERTED}'
  for name in sorted(set(config) - READ - NEUTRAL):
    if config[name]:
      return f'{name}={config[name]!r} is not supported; {SUPPORTED}'
  for name, right, expectation in (
    ('r', _is_rank, 'a whole number above 0'),
    ('lora_alpha', _is_number, 'a number'),
    ('target_modules', _is_names, f"names, a pattern or '{ALL}'"),
    ('exclude_modules', _is_names, 'names or a pattern'),
    ('rank_pattern', _each(_is_rank), 'patterns with whole numbers'),
    ('alpha_pattern', _each(_is_number), 'patterns with numbers'),
  ):
    value = config.get(name)
    if not right(value) and (
      value is not None or name in ('r', 'target_modules')
    ):
      return f'{name}={value!r} must be {expectation}'
  return _no_pattern(config)


def _no_pattern(config: Mapping[str, Any]) -> str:
  """Says which pattern is none, '' if all are."""
  texts = [config.get(name) for name in ('target_modules', 'exclude_modules')]
  patterns = [text for text in texts if isinstance(text, str)]
  for name in ('rank_pattern', 'alpha_pattern'):
    patterns += config.get(name) or {}
  for pattern in (*patterns, *_tuple(config.get('layers_pattern'))):
    try:
      re.compile(pattern)
    except re.error as e:
      return f'{pattern!r} is no pattern: {e}'
  return ''


def _is_rank(value: Any) -> bool:
  return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
  return type(value) in (int, float)


def _is_names(value: Any) -> bool:
  texts = [value] if isinstance(value, str) else value
  return isinstance(texts, list) and all(isinstance(t, str) for t in texts)


def _each(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
  return lambda value: (
    isinstance(value, dict) and all(map(right, value.values()))
  )
