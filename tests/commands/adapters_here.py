"""A run's adapters as training leaves them, and their base in two forms."""

import json

import numpy as np

from restpg_jax.io import checkpoints
from restpg_jax.models import formats
from restpg_jax.training import lora
from tests.commands import exports
from tests.models import families

TARGETS = 'q', 'out', 'down'
SCALE = 1.5  # alpha 6, rank 4


def save(work, size, targets=TARGETS, **origin):
  """Writes work/base-1/model and work/sft/train-1/../step_2/model; returns the
  latter."""
  base = work / 'base-1' / 'model'
  checkpoints.save_model(base, families.parameters(size), size, **origin)
  rng = np.random.default_rng(7)
  pairs = {}
  for name in targets:
    path = f'layers/{lora.PARTS[name]}/{name}'
    layers, D, F = formats.shapes(size)[path]
    pairs[f'{path}/a'] = np.float32(rng.normal(0, 0.2, (layers, D, 4)))
    pairs[f'{path}/b'] = np.float32(rng.normal(0, 0.2, (layers, 4, F)))
  folder = work / 'sft' / 'train-1' / 'checkpoints' / 'step_2' / 'model'
  note = {'base': '../../../../../base-1/model', 'scale': SCALE}
  checkpoints.save_model(
    folder, formats.nested(pairs), size, step=2, adapters=note
  )
  return folder


def exported(work, size, to, **flags):
  """Writes the base in Hugging Face's form, and the adapters in PEFT's."""
  source = save(work, size)
  exports.export(work / 'base-1' / 'model', work / 'hf')
  flags = {'base': str(work / 'hf')} | flags
  exports.export(source, to, format='peft', **flags)
  return source


def settings(folder):
  return json.loads((folder / 'adapter_config.json').read_text())
