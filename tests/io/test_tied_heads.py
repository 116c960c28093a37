"""Folders that tie the head to the embedding and hold a head all the same."""

import numpy as np
import pytest

from restpg_jax import errors
from restpg_jax.io import tensors, weights
from tests import tiny
from tests.io.test_weights import changed, save_hf


def headed(path, change=0.5):
  """A folder that says it is tied and has a head of its own."""
  size = tiny.size()
  save_hf(path, size, tiny.parameters(size, 0.2))
  embedding = tensors.TensorReader(path).read('model.embed_tokens.weight')
  changed(path, lambda named: named.update({HEAD: embedding + change}))
  return embedding


HEAD = 'lm_head.weight'


def test_a_head_that_differs_from_the_tied_embedding_is_kept(tmp_path):
  embedding = headed(tmp_path / 'hf')
  with pytest.warns(errors.DataWarning, match='differ: they are kept apart'):
    params, size = weights.load_weights(tmp_path / 'hf')
  assert not size.tied
  np.testing.assert_array_equal(params['embedding'], embedding)
  np.testing.assert_array_equal(params['head'], embedding + 0.5)


def test_a_head_that_is_the_tied_embedding_once_more_is_none(tmp_path):
  headed(tmp_path / 'hf', change=0)
  params, size = weights.load_weights(tmp_path / 'hf')
  assert size.tied
  assert 'head' not in params


def test_a_head_stands_in_for_the_tied_embedding(tmp_path):
  embedding = headed(tmp_path / 'hf')
  changed(tmp_path / 'hf', lambda named: named.pop('model.embed_tokens.weight'))
  params, size = weights.load_weights(tmp_path / 'hf')
  assert size.tied
  np.testing.assert_array_equal(params['embedding'], embedding + 0.5)
