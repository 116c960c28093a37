"""The tables of names and shapes against those of `transformers`."""

import pytest

from restpg_jax.models import formats, hf_config
from tests.models import families

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow


@pytest.mark.parametrize('size', families.ALL.values(), ids=families.ALL)
def test_hf_names_and_shapes_are_those_of_transformers(size):
  config = hf_config.render_config(size, rows=90, dtype='float32')
  with torch.device('meta'):
    model = transformers.AutoModelForCausalLM.from_config(
      transformers.AutoConfig.for_model(**config)
    )
  # A tied head is the embedding under a second name.
  names = {k: tuple(v.shape) for k, v in model.state_dict().items()}
  if size.tied:
    del names['lm_head.weight']
  assert {t.name: t.shape for t in formats.hf(size, 90)} == names
