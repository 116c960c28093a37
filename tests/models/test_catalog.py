"""Facts about restpg_jax/models/catalog.py."""

import math

import jax
import jax.numpy as jnp
import pytest

from restpg_jax import errors
from restpg_jax.models import catalog, decoder


@pytest.mark.parametrize(
  ('name', 'weights', 'rows'),
  [  # published counts, with Hugging Face's rows of the embedding
    ('gemma_2b', 2_506_172_416, 256_000),
    ('gemma_7b', 8_537_680_896, 256_000),
    ('gemma2_2b', 2_614_341_888, 256_000),
    ('gemma2_9b', 9_241_705_984, 256_000),
    ('gemma2_27b', 27_227_128_320, 256_000),
    ('gemma3_270m', 268_098_176, 262_144),
    ('gemma3_1b', 999_885_952, 262_144),
    # Of these nobody publishes exact counts of the text tower by itself: 11.9
    # and 30.7 billion, as this decoder counts them.
    ('gemma4_12b', 11_907_350_320, 262_144),
    ('gemma4_31b', 30_697_345_340, 262_144),
    ('llama32_1b', 1_235_814_400, 128_256),
    ('qwen25_0b5', 494_032_768, 151_936),
    ('qwen25_1b5', 1_543_714_304, 151_936),
    ('qwen25_7b', 7_615_616_512, 152_064),
    ('qwen3_0b6', 596_049_920, 151_936),
    ('qwen3_4b', 4_022_468_096, 151_936),
    ('qwen3_8b', 8_190_735_360, 151_936),
  ],
)
def test_models_have_as_many_weights_as_published(name, weights, rows):
  size = catalog.catalog_size(name)
  shapes = jax.eval_shape(
    decoder.Decoder(size).init, jax.random.key(0), jnp.zeros((1, 4), int)
  )
  counted = sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))
  assert counted == weights + (size.vocabulary - rows) * size.width


def test_an_unknown_name_is_told_the_nearest_and_all_known():
  with pytest.raises(errors.InputError) as e:
    catalog.catalog_size('gemma2-2b')
  assert str(e.value).startswith(
    "unknown model 'gemma2-2b'; did you mean gemma2_2b? "
    'Known: gemma_2b, gemma_7b, gemma2_2b, gemma2_9b, gemma2_27b, gemma3_270m'
  )
