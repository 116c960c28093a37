"""PEFT itself opens what `convert` writes, and writes what we read.

Only where the package `peft` is installed; nothing needs it.
"""

import json

import numpy as np
import pytest

from restpg_jax.io import weights
from restpg_jax.models import decoder
from tests.commands import adapters_here, exports
from tests.models import families

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
peft = pytest.importorskip('peft')
pytestmark = pytest.mark.slow
TOKENS = np.array([families.TOKENS[3]])


def theirs(model):
  with torch.no_grad():
    return model(torch.tensor(TOKENS)).logits[0].numpy()


def ours(*folder):
  found = weights.find_checkpoint(*folder)
  return decoder.Decoder(found.size).apply({'params': found.load()}, TOKENS)[0]


@pytest.mark.parametrize('name', families.ALL)
def test_peft_opens_ours_with_equal_logits(name, tmp_path):
  to, size = tmp_path / 'peft', exports.sizes()[name]
  source = adapters_here.exported(tmp_path / 'work', size, to)
  model = peft.AutoPeftModelForCausalLM.from_pretrained(to)
  pairs = [n for n, _ in model.named_parameters() if 'lora_A' in n]
  assert len(pairs) == size.layers * len(adapters_here.TARGETS)
  beside, inside = theirs(model), theirs(model.merge_and_unload())
  for logits in (beside, inside):
    np.testing.assert_allclose(logits, ours(source), atol=1e-4)
  print(f'{name}: {np.abs(beside - ours(source)).max():.1e}')


def adapted(base, out, **settings):
  """A model with random adapters by PEFT's own hand, saved."""
  model = transformers.AutoModelForCausalLM.from_pretrained(base)
  plain = theirs(model)
  model = peft.get_peft_model(
    model, peft.LoraConfig(task_type='CAUSAL_LM', **settings)
  )
  torch.manual_seed(3)
  with torch.no_grad():
    for parameter_name, x in model.named_parameters():
      if 'lora_B' in parameter_name:
        x.normal_(0, 0.2)
  model.save_pretrained(out)
  assert np.abs(theirs(model) - plain).max() > 0.1
  return theirs(model)


@pytest.mark.parametrize(
  'settings',
  [
    {'r': 4, 'target_modules': ['q_proj', 'down_proj']},
    {'r': 4, 'target_modules': 'all-linear', 'use_rslora': True},
    {'r': 3, 'target_modules': r'.*layers\.1\..*proj', 'fan_in_fan_out': True},
    {
      'r': 4,
      'lora_alpha': 6,
      'target_modules': ['q_proj', 'k_proj', 'mlp.up_proj'],
      'rank_pattern': {r'layers\.0\..*q_proj': 7, 'up_proj': 2},
      'alpha_pattern': {'k_proj': 3, '1.mlp.up_proj': 5},
      'use_rslora': True,
    },
    {
      'r': 2,
      'target_modules': ['v_proj', 'o_proj'],
      'layers_to_transform': [1],
      'exclude_modules': r'.*o_proj',
    },
    {'r': 4, 'target_modules': ['q_proj'], 'init_lora_weights': 'gaussian'},
  ],
  ids=lambda settings: str(settings['target_modules']),
)
@pytest.mark.parametrize('name', ['gemma3', 'llama'])
def test_ours_opens_peft_with_equal_logits(name, settings, tmp_path):
  base = tmp_path / 'base'
  source = exports.saved(tmp_path / 'm', exports.sizes()[name])
  exports.export(source, base)
  logits = adapted(base, tmp_path / 'a', **settings)
  np.testing.assert_allclose(ours(tmp_path / 'a'), logits, atol=1e-4)
  print(f'{name}: {np.abs(ours(tmp_path / "a") - logits).max():.1e}')
  described = json.loads((tmp_path / 'a/adapter_config.json').read_text())
  assert described['base_model_name_or_path'] == str(base)
