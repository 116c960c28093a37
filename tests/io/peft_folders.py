"""Adapters in PEFT's form, written by hand, and what they make of their base.

The sums are those of the two papers (arXiv 2106.09685, 2312.03732), on the
tensors of a Hugging Face folder; the package's own code has no part in them.
"""

import json
import shutil

import jax
import numpy as np
import safetensors.numpy

from restpg_jax.io import checkpoints, tensors, weights
from restpg_jax.models import formats, hf_config
from tests.models import families

SIZES = {name: families.ALL[name] for name in ('gemma2', 'llama')}
PROJECTIONS = {
  **dict.fromkeys(('q_proj', 'k_proj', 'v_proj', 'o_proj'), 'self_attn'),
  **dict.fromkeys(('gate_proj', 'up_proj', 'down_proj'), 'mlp'),
}
ROOT = 'base_model.model.'


def save_base(path, size):
  """Writes the family's random weights as Hugging Face has them."""
  checkpoints.save_model(path.parent / 'ours', families.parameters(size), size)
  source = weights.find_checkpoint(path.parent / 'ours')
  path.mkdir()
  named = source.written_as(formats.hf(size, size.vocabulary), np.float32)
  tensors.write_tensors(path, named)
  config = hf_config.render_config(size, rows=size.vocabulary, dtype='float32')
  (path / 'config.json').write_text(json.dumps(config))
  return path


def modules(size, names, layers=None):
  """The modules of these names: model.layers.0.self_attn.q_proj .."""
  return [
    f'model.layers.{n}.{PROJECTIONS[name]}.{name}'
    for n in (range(size.layers) if layers is None else layers)
    for name in names
  ]


def pairs(base, ranks, dtype=np.float32):
  """Random A [r, in] and B [out, r] of modules with these ranks."""
  rng = np.random.default_rng(4)
  whole = safetensors.numpy.load_file(base / 'model.safetensors')
  made = {}
  for module, rank in ranks.items():
    outputs, inputs = whole[f'{module}.weight'].shape
    made[f'{module}.lora_A.weight'] = rng.normal(0, 0.3, (rank, inputs))
    made[f'{module}.lora_B.weight'] = rng.normal(0, 0.3, (outputs, rank))
  return {name: x.astype(dtype) for name, x in made.items()}


def save_adapter(path, named, outer='model.', **config):
  """Writes an adapter's folder; `outer` is what stands for 'model.' in it."""
  path.mkdir()
  safetensors.numpy.save_file(
    {ROOT + outer + n.removeprefix('model.'): x for n, x in named.items()},
    path / 'adapter_model.safetensors',
  )
  described = {
    'peft_type': 'LORA',
    'task_type': 'CAUSAL_LM',
    'base_model_name_or_path': '../base',
    'r': 4,
    'lora_alpha': 8,
    'lora_dropout': 0.05,
    'bias': 'none',
    'fan_in_fan_out': False,
    'init_lora_weights': True,
    'modules_to_save': None,
  }
  (path / 'adapter_config.json').write_text(json.dumps(described | config))
  return path


def merged(path, base, named, scales):
  """Writes the base with W + B A * scale in the place of each W."""
  shutil.copytree(base, path)
  whole = safetensors.numpy.load_file(base / 'model.safetensors')
  for module, scale in scales.items():
    a, b = (np.float32(named[f'{module}.lora_{x}.weight']) for x in 'AB')
    whole[f'{module}.weight'] = whole[f'{module}.weight'] + scale * (b @ a)
  safetensors.numpy.save_file(whole, path / 'model.safetensors')
  return path


def close(folder, expected):
  """The two are read as equal weights, up to the last bit of a sum."""
  (actual, size), (wanted, same) = map(weights.load_weights, (folder, expected))
  assert size == same
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6),
    actual,
    wanted,
  )
