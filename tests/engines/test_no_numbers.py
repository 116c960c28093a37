"""NaN from a model is one clear error, and nothing of it is stored."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax import assets, config, errors
from restpg_jax.engines import embedder, generator, label_scorer
from restpg_jax.models import decoder
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import candidates
from restpg_jax.text import sentencepiece_model
from tests import tiny

SIZE = tiny.size(vocabulary=1024)


def broken(dtype):
  """A model whose last norm is NaN, on the devices."""
  layout = layouts.Layout.of(config.Compute(prompts=1, samples=1, judged=8))
  tokenizer = sentencepiece_model.SentencePiece(
    assets.path('tiny.spm.model').read_bytes()
  )
  params = decoder.unstacked(tiny.parameters(SIZE, 0.3))
  params['final_norm'] = jax.tree.map(
    lambda x: x * jnp.nan, params['final_norm']
  )
  params = layout.replicate(jax.tree.map(lambda x: x.astype(dtype), params))
  network = decoder.Decoder(SIZE, jnp.dtype(dtype), stacked=False)
  return generator.LoadedModel(network, params, tokenizer, layout, 'a/model')


def sampled(dtype, **settings):
  return list(
    generator.generate_samples(
      broken(dtype),
      [generator.SampleRequest('topic/train/3', [2, 5, 6], (0,))],
      inputs=1,
      prompt_length=8,
      m=1,
      max_output=4,
      stop=(1,),
      top_p=0.95,
      seed=0,
      **settings,
    )
  )


@pytest.mark.slow
@pytest.mark.parametrize('temperature', [0.0, 0.7])
def test_a_sample(temperature):
  with pytest.raises(errors.InputError) as e:
    sampled('bfloat16', temperature=temperature, purpose='draw', iteration=2)
  assert str(e.value) == (
    'draw2, topic/train/3: the log-probability of a sample by a/model in '
    'bfloat16 is no number (NaN); set draw.dtype=float32; if that is no help, '
    'its weights hold NaN or numbers too large: take others. What is on disk '
    'is whole'
  )


def test_float32_cannot_be_the_remedy_of_float32():
  with pytest.raises(errors.InputError) as e:
    sampled('float32', temperature=0.1, purpose='validate')
  assert ' (NaN); its weights hold NaN or' in str(e.value)
  assert 'dtype=' not in str(e.value)


@pytest.mark.slow
def test_a_label_which_would_have_been_a_reward():
  judged = [candidates.Candidate((2, 5), [6, 7])]
  with pytest.raises(errors.InputError) as e:
    list(
      label_scorer.label_logp(broken('bfloat16'), judged, ['1', '10'], limit=64)
    )
  assert str(e.value).startswith(
    'judge, answer 0: the log-probability of a label by a/model in bfloat16 is '
    'no number (NaN); set reward.dtype=float32'
  )


class Encoder:
  """Stands for a folder; the vector of 'bad' is NaN."""

  class tokenizer:
    encode = staticmethod(lambda texts, limit: [[len(t)] for t in texts])

  size = dataclasses.make_dataclass('Size', ['width'])(2)
  params, limit, normalized = {}, 32, False


def test_a_vector(tmp_path, monkeypatch):
  def program(size, layout):
    return lambda params, tokens, length: np.where(
      tokens[..., :1] == 3, np.nan, np.ones((*tokens.shape[:2], 2))
    )

  monkeypatch.setattr(embedder.encoders, 'load_encoder', lambda path: Encoder)
  monkeypatch.setattr(embedder, 'embed_program', program)
  layout = layouts.Layout.of(config.Compute())
  encode = embedder.Embedder('an/encoder', layout, tmp_path / 'vectors')
  with pytest.raises(errors.InputError) as e:
    encode(['good', 'bad'])
  assert str(e.value).startswith(
    "an/encoder: 1 of 2 vectors hold NaN, the first that of 'bad'; "
  )
  np.testing.assert_array_equal(encode(['good']), [[1, 1]])
  with pytest.raises(errors.InputError):  # none was stored
    encode(['bad'])
