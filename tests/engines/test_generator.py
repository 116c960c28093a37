"""Facts about restpg_jax/engines/generator.py: weights and their tokenizers."""

import types as python

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sentencepiece import sentencepiece_model_pb2

from restpg_jax import assets, errors
from restpg_jax.engines import generator, tokenizer_files
from restpg_jax.io import checkpoints, weights
from restpg_jax.models import decoder
from restpg_jax.sampling import engine
from tests import tiny

TOKENIZER = assets.HERE / 'tiny.spm.model'
HOST = python.SimpleNamespace(block=32, replicate=lambda tree: tree)


@pytest.fixture
def read(monkeypatch):
  """Every leaf that is read of a checkpoint."""
  leaf, leaves = weights.Checkpoint.leaf, []

  def noted(self, *args):
    leaves.append(leaf(self, *args))
    return leaves[-1]

  monkeypatch.setattr(weights.Checkpoint, 'leaf', noted)
  return leaves


@pytest.mark.parametrize('dtype', generator.DTYPES)
def test_weights_are_read_once_in_the_dtype_that_is_set(read, dtype):
  path = assets.path('tiny_pt')
  loaded = generator.load(path, 'tiny.spm.model', HOST, dtype=dtype).params
  leaves = list(read)
  size = sum(x.nbytes for x in jax.tree.leaves(loaded))
  assert sum(x.nbytes for x in leaves) == size
  for x in jax.tree.leaves(loaded):
    assert any(np.shares_memory(x, y) for y in leaves)
  params, _ = weights.load_weights(path)
  as_cast = jax.tree.map(lambda x: x.astype(jnp.dtype(dtype)), params)
  as_cast = decoder.unstacked(as_cast)
  assert jax.tree.structure(loaded) == jax.tree.structure(as_cast)
  for x, y in zip(
    jax.tree.leaves(loaded), jax.tree.leaves(as_cast), strict=True
  ):
    assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


@pytest.fixture
def folder(tmp_path):
  """A model with a tokenizer of its own."""
  size = tiny.size(vocabulary=1024)
  checkpoints.save_model(tmp_path / 'm', tiny.parameters(size, 0.2), size)
  (tmp_path / 'm' / 'tokenizer.model').write_bytes(TOKENIZER.read_bytes())
  return tmp_path / 'm'


def test_as_many_pieces_are_not_the_same_pieces(folder, tmp_path):
  tokenizer_files.find_model(folder, str(TOKENIZER))
  model = sentencepiece_model_pb2.ModelProto.FromString(TOKENIZER.read_bytes())
  a, b = model.pieces[600], model.pieces[601]
  a.piece, b.piece = b.piece, a.piece
  other = tmp_path / 'other.model'
  other.write_bytes(model.SerializeToString())
  with pytest.raises(errors.InputError) as e:
    tokenizer_files.find_model(folder, str(other))
  assert f'{other} and the tokenizer that came with the weights' in str(e.value)
  assert f'give {folder}/tokenizer.model as their tokenizer' in str(e.value)


def test_the_tokenizer_of_llama_3_is_called_by_name(folder):
  path = folder / 'tokenizer.model'
  path.write_bytes(b'IQ== 0\nIg== 1\n')
  with pytest.raises(errors.InputError) as e:
    tokenizer_files.find_model(folder, str(folder))
  assert str(e.value) == (
    f"{path}: no usable SentencePiece model: a tiktoken file, as Llama 3's "
    "tokenizer.model is; read are SentencePiece models, as Gemma's and Llama "
    "2's tokenizer.model, and tokenizer.json with a BPE or Unigram model that "
    'encodes any text'
  )


def test_a_tokenizer_is_read_from_a_bucket(bucket):
  with open(bucket.local('gs://x'), 'wb') as file:
    file.write(TOKENIZER.read_bytes())
  assert tokenizer_files.read_tokenizer('gs://x').vocab_size == 1024


def test_half_a_character_is_dropped_where_a_sample_was_cut():
  tokenizer = tokenizer_files.read_tokenizer(TOKENIZER)
  half = tokenizer.encode('see \U0001f98a')[:-1]
  for tokens, ended, text in (
    (half, False, 'see '),
    (half, True, 'see \ufffd\ufffd\ufffd'),  # as the model wrote it
    (tokenizer.encode('see'), False, 'see'),
  ):
    decoded = engine.DecodedSample(0, 0, tokens, ended, -1.0)
    assert generator.sample_text(tokenizer, decoded) == text
