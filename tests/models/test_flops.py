"""Facts about restpg_jax/models/flops.py."""

import jax
import jax.numpy as jnp
import pytest

from restpg_jax.models import catalog, decoder, flops
from restpg_jax.models import size as sizes

SIZE = sizes.Size(
  layers=2,
  width=256,
  hidden=1024,
  heads=4,
  kv_heads=1,
  head_size=64,
  vocabulary=2048,
)


def reported(train: bool) -> float:
  """What XLA counts for a batch of 2 rows of 128, layers unrolled."""
  model = decoder.Decoder(SIZE, unroll=SIZE.layers)

  def loss(params, tokens):
    logits = model.apply({'params': params}, tokens)
    return jnp.sum(jax.nn.logsumexp(logits, axis=-1))

  tokens = jax.ShapeDtypeStruct((2, 128), jnp.int32)
  params = jax.eval_shape(model.init, jax.random.key(0), tokens)['params']
  program = jax.grad(loss) if train else loss
  return (
    jax.jit(program).lower(params, tokens).compile().cost_analysis()['flops']
  )


@pytest.mark.parametrize('train', [False, True])
def test_arithmetic_is_what_the_compiler_counts(train):
  L, rows = 128, 2
  body = L * flops.layers(SIZE) + flops.square(SIZE, L, L)
  counted = rows * (body + L * flops.logits(SIZE)) * (3 if train else 1)
  # XLA counts softmax, norms and activations too: here some per cent.
  assert 1.0 < reported(train) / counted < 1.06


def test_values_of_gemma_2b():
  gemma = catalog.catalog_size('gemma_2b')
  # 2048 * (8 + 8 + 1 + 1) * 256 + 3 * 2048 * 16384
  assert gemma.layer_weights() == 110_100_480
  assert flops.layers(gemma) == 36 * 110_100_480
  assert flops.weights(gemma) == 18 * 110_100_480 + 256_128 * 2048
  assert flops.logits(gemma) == 2 * 2048 * 256_128
  assert flops.token_bytes(gemma, 2) == 18_432
  assert flops.causal_flops(gemma, 3) == 6 * 18 * 4 * 8 * 256
  assert flops.square(gemma, 3, 3) == 9 * 18 * 4 * 8 * 256


def test_a_local_layer_sees_its_window():
  assert flops.pairs(4, 2) == 1 + 2 + 2 + 2
  assert flops.pairs(4, 9) == 1 + 2 + 3 + 4
  gemma = catalog.catalog_size('gemma2_2b')  # 13 of 26 layers see 4096
  expected = 13 * (flops.pairs(8192, 4096) + flops.pairs(8192, 8192))
  assert flops.causal_flops(gemma, 8192) == expected * 4 * 8 * 256


def test_values_of_gemma4_12b():
  gemma = catalog.catalog_size('gemma4_12b')
  # 40 local layers of 16 + 8 heads of 256, 8 global ones of 16 + 1 of 512,
  # where keys are values.
  hidden = 3 * 3840 * 15360
  local = 3840 * (2 * 16 + 2 * 8) * 256 + hidden
  far = 3840 * (2 * 16 + 1) * 512 + hidden
  assert flops.weights(gemma) == 40 * local + 8 * far + 262_144 * 3840
  assert flops.token_bytes(gemma, 2) == 2 * 2 * (40 * 8 * 256 + 8 * 512)
  seen = 40 * 256 * flops.pairs(4096, 1024) + 8 * 512 * flops.pairs(4096, 4096)
  assert flops.causal_flops(gemma, 4096) == 4 * 16 * seen
