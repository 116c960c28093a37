"""Weights that `transformers` saves, and how it reads ours."""

import numpy as np
import pytest

from restpg_jax.io import weights
from restpg_jax.models import decoder, hf_config
from tests.io import test_tied_heads
from tests.models import families

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow


@pytest.mark.parametrize('family', families.ALL)
def test_what_transformers_saves_is_read(family, tmp_path):
  """Its own names, its own config.json, from its own random weights."""
  size = families.ALL[family]
  config = hf_config.render_config(size, rows=size.vocabulary, dtype='float32')
  torch.manual_seed(0)
  theirs = transformers.AutoModelForCausalLM.from_config(
    transformers.AutoConfig.for_model(**config)
  )
  theirs.save_pretrained(tmp_path / 'hf', max_shard_size='20KB')
  params, found = weights.load_weights(tmp_path / 'hf')
  assert found == size
  tokens = families.TOKENS[3]
  with torch.no_grad():
    wanted = theirs(torch.tensor([tokens])).logits[0].numpy()
  ours = decoder.Decoder(size).apply({'params': params}, np.array([tokens]))
  np.testing.assert_allclose(ours[0], wanted, atol=2e-5)


def test_transformers_keeps_such_a_head_apart_too(tmp_path):
  test_tied_heads.headed(tmp_path / 'hf')
  theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'hf')
  params, size = weights.load_weights(tmp_path / 'hf')
  tokens = [5, 3, 7, 2]
  with torch.no_grad():
    wanted = theirs(torch.tensor([tokens])).logits[0].numpy()
  ours = decoder.Decoder(size).apply({'params': params}, np.array([tokens]))
  np.testing.assert_allclose(ours[0], wanted, atol=2e-5)
