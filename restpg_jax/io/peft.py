"""Adapters in the form of PEFT: what their settings mean and where they act.

A folder has adapter_config.json and adapter_model.safetensors. To the weight
[out, in] of a linear layer PEFT adds B A * scale, with A [r, in], B [out, r]
(arXiv 2106.09685) and scale = lora_alpha / r or, rank-stabilised,
lora_alpha / sqrt(r) (arXiv 2312.03732).
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from restpg_jax import assets, errors, storage
from restpg_jax.io import foreign, records, shapes, tensors
from restpg_jax.models import formats
from restpg_jax.models import size as sizes
from restpg_jax.training import lora

CONFIG, TENSORS = foreign.ADAPTER_CONFIG, foreign.ADAPTER_MODEL
ROOT = 'base_model.model.'  # how PEFT's names of tensors begin
PARTS = {'a': '.lora_A.weight', 'b': '.lora_B.weight'}
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


class Pair(NamedTuple):
  """An adapter's two tensors, and the matrix that they belong to."""

  leaf: str  # 'layers/attention/q', whose matrices are [layers, in, out]
  layer: formats.Layers  # the one in that stack
  a: str  # the tensor's name in the file
  b: str
  scale: float


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


def base_folder(folder: epath.Path, base: str = '') -> epath.Path | None:
  """Returns the folder of an adapter's base; None where it is not here.

  It is `base`, a path or a bundled name, or if that is '', what the adapter's
  settings name: a path by itself or from the adapter's folder.
  """
  if base:
    return assets.path(base)
  name = records.json_object(folder / CONFIG).get('base_model_name_or_path')
  if not name or not isinstance(name, str):
    return None
  path = epath.Path(name).expanduser()
  if not storage.remote(path) and not path.is_absolute():
    path = foreign.resolved(folder, name)
  return path if path.is_dir() else None


def missing_base(folder: epath.Path, name: str) -> str:
  """Says that the base of an adapter is not here, and how to give it."""
  fault = f'its base {name} is no folder here' if name else 'it names no base'
  return (
    f'{folder}: an adapter of PEFT, and {fault}; nothing is downloaded, give '
    'the folder of its base (--config.policy.base=DIR; of convert --base=DIR)'
  )


def merged_reader(
  folder: epath.Path,
  settings: Settings,
  *,
  size: sizes.Size,
  read_base: Callable[[str], np.ndarray],
  base: epath.Path,
) -> Callable[[str], np.ndarray]:
  """Returns what reads W + A B * scale, float32, a parameter by its path.

  Raises InputError where the tensors are not those of the settings, or do not
  fit the base.
  """
  reader = tensors.TensorReader(folder / TENSORS)
  pairs: dict[str, list[Pair]] = {}
  for pair in _pairs(folder, settings, size, reader.shapes, base):
    pairs.setdefault(pair.leaf, []).append(pair)

  def read(leaf: str) -> np.ndarray:
    weight = read_base(leaf)
    if leaf not in pairs:
      return weight
    weight = np.array(weight, np.float32)  # the base's own may be read-only
    for pair in pairs[leaf]:
      a, b = (
        reader.read(name).astype(np.float32).T for name in (pair.a, pair.b)
      )
      weight[pair.layer] = lora.merged(
        weight[pair.layer], a, b, scale=pair.scale
      )
    return weight

  return read


def projections(size: sizes.Size) -> dict[str, tuple[formats.Tensor, str]]:
  """Returns what adapters may act on: module -> (its weight, our parameter).

  'model.layers.3.self_attn.q_proj' -> (.., 'layers/attention/q')
  """
  ours = {f'layers/{part}/{name}' for name, part in lora.PARTS.items()}
  return {
    tensor.name.removesuffix('.weight'): (tensor, tensor.leaves[0])
    for tensor in formats.hf(size, size.vocabulary)
    if tensor.leaves[0] in ours
  }


def _pairs(
  folder: epath.Path,
  settings: Settings,
  size: sizes.Size,
  actual: shapes.Shapes,
  base: epath.Path,
) -> list[Pair]:
  """Returns the adapters of a folder, whose tensors all have their place."""
  path = folder / TENSORS
  if odd := [n for n in actual if re.search(r'embed_tokens|\blm_head\b', n)]:
    raise errors.InputError(
      f'{path}: {odd[0]} is of the embedding or the output; {SUPPORTED}'
    )
  own = {  # adapters of a vision part are left out, as that part is
    name: shape
    for name, shape in actual.items()
    if not formats.HF_IGNORED.match(
      formats.hf_canonical(name.removeprefix(ROOT))
    )
  }
  outer = _outer(own)
  pairs, expected = [], {}
  for module, (tensor, leaf) in projections(size).items():
    key = outer + module.removeprefix('model.')
    if not settings.reaches(key):
      continue
    a, b = (f'{ROOT}{key}{end}' for end in PARTS.values())
    rank, (outputs, inputs) = settings.rank_of(key), tensor.shape
    expected |= {a: (rank, inputs), b: (outputs, rank)}
    pairs.append(Pair(leaf, tensor.layers, a, b, settings.scale_of(key)))
  wrong = shapes.differences(own, expected)
  if wrong or not pairs:
    raise errors.InputError(
      f'{path}: {len(wrong)} tensors do not fit {CONFIG} and the base {base}: '
      f'{shapes.listed(wrong)}'
      if wrong
      else f'{path}: target_modules of {CONFIG} names no module of the base '
      f'{base}; {SUPPORTED}'
    )
  return pairs


def _outer(names: Iterable[str]) -> str:
  """Returns how the modules of the text tower begin in a file.

  That is 'model.' or, where it is a part of a larger model,
  'model.language_model.' (transformers 5), 'language_model.model.' (4).
  """
  for name in names:
    match = re.match(rf'{re.escape(ROOT)}(.*?)layers\.\d', name)
    if match and formats.hf_canonical(f'{match[1]}layers') == 'model.layers':
      return match[1]
  return 'model.'


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
