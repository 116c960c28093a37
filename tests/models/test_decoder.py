"""Facts about restpg_jax/models/decoder.py."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax.models import decoder

SIZE = decoder.Size(
  layers=2,
  width=32,
  hidden=48,
  heads=4,
  kv_heads=1,
  head_size=8,
  vocabulary=40,
)
KV_HEADS = pytest.mark.parametrize('kv_heads', [1, 2, 4])  # MQA, GQA, MHA
TOKENS_BL = np.random.default_rng(0).integers(4, 40, (3, 12))


def size(**changes):
  return decoder.Size(**{**vars(SIZE), **changes})


@functools.cache
def parameters(sizes):
  """Larger than at the start of training, so that every part matters."""
  shapes = jax.eval_shape(
    decoder.Decoder(sizes).init, jax.random.key(0), jnp.zeros((1, 4), int)
  )['params']
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32), shapes
  )


@functools.cache
def compiled(sizes, **settings):
  apply = jax.jit(decoder.Decoder(sizes, **settings).apply)
  return lambda tokens_BL: apply(variables(sizes), tokens_BL)


def variables(sizes):
  return {'params': parameters(sizes)}


@KV_HEADS
def test_logits_equal_the_architecture_written_out_in_numpy(kv_heads):
  sizes = size(kv_heads=kv_heads)
  logits_BLV = compiled(sizes)(TOKENS_BL)
  assert logits_BLV.dtype == jnp.float32
  for tokens_L, logits_LV in zip(TOKENS_BL, logits_BLV, strict=True):
    np.testing.assert_allclose(
      logits_LV, gemma(parameters(sizes), sizes, tokens_L), atol=2e-4
    )


def gemma(params, sizes, tokens):
  """One row through Gemma 1, token by token and head by head, in float64."""

  def norm(x, w):
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-6) * (1 + w)

  def turn(x, position):  # the first half of x pairs with the second
    half = len(x) // 2
    angle = position / 10_000 ** (np.arange(half) / half)
    a, b = x[:half], x[half:]
    return np.concatenate(
      [
        a * np.cos(angle) - b * np.sin(angle),
        a * np.sin(angle) + b * np.cos(angle),
      ]
    )

  def gelu(x):
    return (
      0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    )

  params = jax.tree.map(np.float64, params)
  N, K, H = sizes.heads, sizes.kv_heads, sizes.head_size
  L = len(tokens)
  x = params['embedding'][tokens] * math.sqrt(sizes.width)
  for n in range(sizes.layers):
    layer = jax.tree.map(lambda w: w[n], params['layers'])  # noqa: B023
    h = norm(x, layer['attention_norm']['scale'])
    a = layer['attention']
    q = (h @ a['q']).reshape(L, N, H)
    k = (h @ a['k']).reshape(L, K, H)
    v = (h @ a['v']).reshape(L, K, H)
    y = np.zeros((L, N, H))
    for i in range(L):
      for head in range(N):
        shared = head * K // N
        query = turn(q[i, head], i)
        scores = np.array(
          [query @ turn(k[j, shared], j) / math.sqrt(H) for j in range(i + 1)]
        )
        weights = np.exp(scores - scores.max())
        y[i, head] = weights / weights.sum() @ v[: i + 1, shared]
    x = x + y.reshape(L, N * H) @ a['out']
    h = norm(x, layer['feed_forward_norm']['scale'])
    f = layer['feed_forward']
    x = x + (gelu(h @ f['gate']) * (h @ f['up'])) @ f['down']
  return norm(x, params['final_norm']['scale']) @ params['embedding'].T


@KV_HEADS
def test_cached_steps_equal_the_full_forward(kv_heads):
  sizes = size(kv_heads=kv_heads)
  apply = jax.jit(
    decoder.Decoder(sizes).apply,
    static_argnames=('method', 'samples', 'length'),
  )
  call = functools.partial(apply, variables(sizes))
  rng = np.random.default_rng(2)
  lengths = np.array([3, 7])  # right-padded to 8
  prompts_PS = rng.integers(4, 40, (2, 8))
  samples_PGO = rng.integers(4, 40, (2, 3, 5))
  rows = np.zeros((2, 3, 12), int)
  for p, length in enumerate(lengths):
    rows[p, :, :length] = prompts_PS[p, :length]
    rows[p, :, length : length + 5] = samples_PGO[p]
  full_PGLV = compiled(sizes)(rows.reshape(6, 12)).reshape(2, 3, 12, 40)

  _, kv = call(prompts_PS, method='prefill')
  cache = call(kv, samples=3, length=5, method='cache')
  for t in range(5):
    logits_PGV, cache = call(
      samples_PGO[..., t], cache, lengths, t, method='step'
    )
    for p, length in enumerate(lengths):
      np.testing.assert_allclose(
        logits_PGV[p], full_PGLV[p, :, length + t], rtol=1e-5, atol=1e-5
      )


def test_what_pads_a_prompt_does_not_matter():
  apply = jax.jit(decoder.Decoder(SIZE).apply, static_argnames='method')
  prefill = functools.partial(apply, variables(SIZE), method='prefill')
  padded = TOKENS_BL.copy()
  padded[:, 7:] = 0
  hidden, (k, v) = prefill(TOKENS_BL)
  hidden_padded, (k_padded, v_padded) = prefill(padded)
  np.testing.assert_array_equal(hidden[:, :7], hidden_padded[:, :7])
  np.testing.assert_array_equal(k[:, :, :7], k_padded[:, :, :7])
  np.testing.assert_array_equal(v[:, :, :7], v_padded[:, :, :7])
  assert k.shape == (2, 3, 12, 1, 8)  # layers, P, S, K, H


def test_a_token_sees_the_past_and_not_the_future():
  changed = TOKENS_BL.copy()
  changed[:, 6] = (changed[:, 6] + 1) % 36 + 4
  before, after = compiled(SIZE)(TOKENS_BL), compiled(SIZE)(changed)
  np.testing.assert_array_equal(before[:, :6], after[:, :6])
  assert (np.abs(before[:, 6:] - after[:, 6:]).max(axis=-1) > 1e-3).all()


def test_unrolled_layers_equal_scanned_ones():
  np.testing.assert_allclose(
    compiled(SIZE, unroll=2)(TOKENS_BL), compiled(SIZE)(TOKENS_BL), atol=1e-5
  )


def test_bfloat16_products_stay_close_to_float32():
  exact = compiled(SIZE)(TOKENS_BL)
  rounded = compiled(SIZE, dtype=jnp.bfloat16)(TOKENS_BL)
  assert rounded.dtype == jnp.float32
  error = np.sqrt(np.mean((rounded - exact) ** 2) / np.mean(exact**2))
  assert 1e-4 < error < 0.02  # a bfloat16 has 8 bits


def test_weights_are_float32_whatever_the_products_are():
  shapes = jax.eval_shape(
    decoder.Decoder(SIZE, dtype=jnp.bfloat16).init,
    jax.random.key(0),
    jnp.zeros((1, 4), int),
  )
  assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype('float32')}


def test_rms_norm_multiplies_by_one_plus_w():
  # rms(3, 4) = sqrt(12.5) = 3.535534; w = 0, 1
  y = decoder.RMSNorm().apply(
    {'params': {'scale': jnp.array([0.0, 1.0])}}, jnp.array([3.0, 4.0])
  )
  np.testing.assert_allclose(y, [0.848528, 2.262742], rtol=1e-6)


def test_rms_norm_is_computed_in_float32():
  x = jnp.full(512, 3.0, jnp.bfloat16)  # a bfloat16 sum stops at 256 * 9
  y = decoder.RMSNorm().apply({'params': {'scale': jnp.zeros(512)}}, x)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_array_equal(y, jnp.ones(512))


@pytest.mark.parametrize(
  ('x', 'gelu'),  # the tanh form; by the error function 0.841345, -0.158655
  [(1.0, 0.8411920), (-1.0, -0.1588080), (2.0, 1.9545977)],
)
def test_feed_forward_is_a_tanh_gelu_gate(x, gelu):
  one = size(width=1, hidden=1)
  y = decoder.FeedForward(one, jnp.float32).apply(
    {'params': {n: jnp.ones((1, 1)) for n in ('gate', 'up', 'down')}},
    jnp.array([x]),
  )
  np.testing.assert_allclose(y, [gelu * x], rtol=1e-6)


def test_rotary_positions_by_hand():
  x = jnp.array([[[1.0, 0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0, 0.0]]])
  np.testing.assert_array_equal(decoder.rotate(x, jnp.array([0, 0])), x)
  # Dimension 0 turns with 2 at one radian a token, 1 with 3 at a hundredth.
  np.testing.assert_allclose(
    decoder.rotate(x, jnp.array([1, 1]))[:, 0],
    [[0.5403023, 0, 0.8414710, 0], [0, 0.99995, 0, 0.0099998]],
    atol=1e-6,
  )


def test_late_positions_are_told_apart_in_bfloat16():
  x = jnp.ones((2, 1, 8), jnp.bfloat16)
  late = decoder.rotate(x, jnp.array([8190, 8191]))
  assert late.dtype == jnp.bfloat16
  np.testing.assert_allclose(  # cos(a) - sin(a), a = 8190 and 8191
    np.float32(late[:, 0, 0]),
    [math.cos(a) - math.sin(a) for a in (8190, 8191)],
    atol=0.02,
  )
  assert abs(late[0, 0, 0] - late[1, 0, 0]) > 0.1


def test_the_embedding_factor_is_rounded_as_gemma_rounds_it():
  wide = size(width=3072, vocabulary=2)
  ones = {'params': {'embedding': jnp.ones((2, 3072))}}

  def embed(dtype):
    model = decoder.Decoder(wide, dtype=dtype)
    return model.apply(ones, jnp.array([1]), method='embed')[0, 0]

  assert embed(jnp.bfloat16) == 55.5
  np.testing.assert_allclose(embed(jnp.float32), 55.42562, rtol=1e-6)


def test_gemma_2b_has_as_many_weights_as_published():
  gemma_2b = decoder.Size(
    layers=18,
    width=2048,
    hidden=16384,
    heads=8,
    kv_heads=1,
    head_size=256,
    vocabulary=256128,
  )
  shapes = jax.eval_shape(
    decoder.Decoder(gemma_2b).init, jax.random.key(0), jnp.zeros((1, 4), int)
  )
  # 2,506,172,416 with Hugging Face's 256,000 rows of the embedding
  assert sum(x.size for x in jax.tree.leaves(shapes)) == (
    2_506_172_416 + 128 * 2048
  )
