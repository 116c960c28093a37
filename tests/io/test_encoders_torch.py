"""A small BERT in `transformers`: the same means of hidden states."""

import numpy as np
import pytest

from restpg_jax.io import encoders, tensors
from tests.io import test_encoders

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A small BERT with random weights, saved by transformers."""
  path = tmp_path_factory.mktemp('bert')
  torch.manual_seed(0)
  config = {k: v for k, v in test_encoders.CONFIG.items() if k != 'model_type'}
  model = transformers.BertModel(
    transformers.BertConfig(**config, initializer_range=0.5)
  )
  model.save_pretrained(path)
  (path / 'vocab.txt').write_text('\n'.join(test_encoders.WORDS))
  return path


def test_means_of_hidden_states_are_those_of_transformers(folder):
  encoder = encoders.load_encoder(folder)
  ids = encoder.tokenizer.encode(['a b c', 'good.', 'ad ' * 50], encoder.limit)
  assert [len(one) for one in ids] == [5, 4, 16]
  model = transformers.BertModel.from_pretrained(folder)
  for one, ours in zip(
    ids, test_encoders.embedded(encoder, ids, 16), strict=True
  ):
    with torch.no_grad():
      hidden = model(torch.tensor([one])).last_hidden_state[0]
    np.testing.assert_allclose(ours, hidden.mean(0), rtol=0, atol=2e-5)


def test_the_other_tests_small_bert_has_the_names_and_shapes_of_this(
  folder, tmp_path
):
  test_encoders.save_bert(tmp_path)
  theirs, ours = (
    tensors.TensorReader(path).shapes for path in (folder, tmp_path)
  )
  assert ours == theirs
