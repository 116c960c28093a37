"""restpg_jax/models against DeepMind's `gemma` package: sizes and logits.

The package has no Gemma 1 any more, but its `TransformerConfig` can say it.
"""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from restpg_jax.models import catalog
from tests.models import families

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
PACKAGED = [n for n in catalog.CATALOG if n[:6] in ('gemma2', 'gemma3')]


@pytest.fixture(scope='module')
def package(tmp_path_factory):
  """(fields of the published sizes, logits of the reduced models)."""
  out = tmp_path_factory.mktemp('gemma')
  subprocess.run(
    [sys.executable, '-m', 'tests.models.gemma_package', out],
    cwd=ROOT,
    check=True,
  )
  sizes = json.loads((out / 'sizes.json').read_text())
  return sizes, np.load(out / 'logits.npz')


@pytest.mark.parametrize('name', PACKAGED)
def test_sizes_are_those_of_the_package(name, package):
  size, theirs = catalog.CATALOG[name], package[0][name]
  ours = {
    'num_embed': size.vocabulary,
    'embed_dim': size.width,
    'hidden_dim': size.hidden,
    'num_heads': size.heads,
    'num_kv_heads': size.kv_heads,
    'head_dim': size.head_size,
    'final_logit_softcap': size.final_softcap or None,
    'attn_logits_soft_cap': size.attention_softcap or None,
    'use_post_attn_norm': size.post_norms,
    'use_post_ffw_norm': size.post_norms,
    'use_qk_norm': size.qk_norm,
    'sliding_window_size': size.window,
    'global_base_frequency': size.rope_base,
    'local_base_frequency': size.local_rope_base or size.rope_base,
    'global_scale_factor': size.rope_scale,
    'local_scale_factor': 1.0,
    'local_layers': size.local_layers(),
    'query_scale': size.query_scale or size.head_size**-0.5,
  }
  assert {key: theirs[key] for key in ours} == ours


@pytest.mark.parametrize('name', families.GEMMA)
def test_logits_equal_those_of_the_package(name, package):
  ours_BLV, theirs_BLV = families.logits(families.GEMMA[name]), package[1][name]
  for n, length in enumerate(families.LENGTHS):
    theirs = theirs_BLV[n, :length]
    assert 1 < theirs.std() < 10
    np.testing.assert_allclose(ours_BLV[n, :length], theirs, rtol=0, atol=2e-4)
