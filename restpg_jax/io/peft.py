"""Adapters in the form of PEFT, as folders: read with their base, written.

A folder has adapter_config.json and adapter_model.safetensors. To the weight
[out, in] of a linear layer PEFT adds B A * scale, with A [r, in], B [out, r];
io/peft_settings.py says with which scale, and to which layers.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from restpg_jax import assets, errors, storage
from restpg_jax.io import (
  adapters,
  foreign,
  peft_settings,
  records,
  shapes,
  tensors,
)
from restpg_jax.models import formats
from restpg_jax.models import size as sizes
from restpg_jax.training import lora

CONFIG, TENSORS = foreign.ADAPTER_CONFIG, foreign.ADAPTER_MODEL
ROOT = 'base_model.model.'  # how PEFT's names of tensors begin
PARTS = {'a': '.lora_A.weight', 'b': '.lora_B.weight'}
NAMES = {  # ours -> theirs
  row.ours.split('/')[-1]: row.name.split('.')[-2]
  for row in formats.HF
  if row.ours.split('/')[-1] in lora.PARTS
}


class Pair(NamedTuple):
  """An adapter's two tensors, and the matrix that they belong to."""

  leaf: str  # 'layers/attention/q', whose matrices are [layers, in, out]
  layer: formats.Layers  # the one in that stack
  a: str  # the tensor's name in the file
  b: str
  scale: float


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
  settings: peft_settings.Settings,
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


def described(
  own: adapters.Adapters, *, base: str, outer: str
) -> dict[str, Any]:
  """Returns adapter_config.json of adapters of ours.

  `outer` begins the names of the base's modules, 'model.' as a rule.
  """
  names = sorted({name.split('/')[-2] for name in own.tree.shapes})
  short = [NAMES[name] for name in names]
  rank = next(s[-1] for n, s in own.tree.shapes.items() if n.endswith('/a'))
  alpha = own.scale * rank
  return {
    'peft_type': 'LORA',
    'task_type': 'CAUSAL_LM',
    'base_model_name_or_path': base,
    'r': rank,
    'lora_alpha': int(alpha) if alpha == int(alpha) else alpha,
    'lora_dropout': 0.0,
    'use_rslora': False,
    # In a larger model a list would reach its other towers, too.
    'target_modules': short
    if outer == 'model.'
    else rf'{re.escape(outer)}layers\.\d+\..*\.({"|".join(short)})',
    'bias': 'none',
    'fan_in_fan_out': False,
    'init_lora_weights': True,
    'inference_mode': True,
  }


def tensors_of(
  own: adapters.Adapters, size: sizes.Size, *, outer: str
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields the tensors of adapters of ours as PEFT calls and turns them."""
  whole = {name: own.tree.read(name) for name in own.tree.shapes}
  for module, (tensor, leaf) in projections(size).items():
    for part, end in PARTS.items():
      if f'{leaf}/{part}' in whole:
        name = f'{ROOT}{outer}{module.removeprefix("model.")}{end}'
        yield name, whole[f'{leaf}/{part}'][tensor.layers].T


def _pairs(
  folder: epath.Path,
  settings: peft_settings.Settings,
  size: sizes.Size,
  actual: shapes.Shapes,
  base: epath.Path,
) -> list[Pair]:
  """Returns the adapters of a folder, whose tensors all have their place."""
  path = folder / TENSORS
  if odd := [n for n in actual if re.search(r'embed_tokens|\blm_head\b', n)]:
    raise errors.InputError(
      f'{path}: {odd[0]} is of the embedding or the output; '
      f'{peft_settings.SUPPORTED}'
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
      f'{base}; {peft_settings.SUPPORTED}'
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
