"""config.json as `transformers` writes and reads it."""

import pytest

from restpg_jax.models import hf_config
from tests.models import families

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow


@pytest.mark.parametrize('size', families.ALL.values(), ids=families.ALL)
def test_what_transformers_makes_of_it_reads_back(size):
  """Its own style differs: rope_parameters, layer_types, dtype."""
  config = hf_config.render_config(size, rows=size.vocabulary, dtype='float32')
  theirs = transformers.AutoConfig.for_model(**config).to_dict()
  assert 'rope_parameters' in theirs
  assert 'rope_theta' not in theirs
  assert hf_config.parse_config(theirs) == size


def test_that_is_how_transformers_reads_it():
  inner = {'tie_word_embeddings': False}
  config = transformers.Gemma3Config(text_config=inner)
  assert config.tie_word_embeddings
  assert not transformers.Gemma3Config(tie_word_embeddings=False).to_dict()[
    'tie_word_embeddings'
  ]
