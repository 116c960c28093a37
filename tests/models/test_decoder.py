"""Facts about restpg_jax/models/decoder.py."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax.models import blocks, decoder
from restpg_jax.models import size as sizes
from tests import tiny
from tests.models import families

SIZE = tiny.size(hidden=48, heads=4, head_size=8, vocabulary=40)
KV_HEADS = pytest.mark.parametrize('kv_heads', [1, 2, 4])  # MQA, GQA, MHA
TOKENS_BL = np.random.default_rng(0).integers(4, 40, (3, 12))


def size(**changes):
  return sizes.Size(**{**vars(SIZE), **changes})


def parameters(sizes):
  return tiny.parameters(sizes, 0.2)


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


@pytest.mark.slow
@KV_HEADS
def test_cached_steps_equal_the_full_forward(kv_heads):
  sizes = size(kv_heads=kv_heads)
  model = decoder.Decoder(sizes, stacked=False)
  params = decoder.unstacked(variables(sizes)['params'])

  @functools.partial(jax.jit, static_argnames='method')
  def run(*args, method):
    return model.apply({'params': params}, *args, method=method)

  rng = np.random.default_rng(2)
  lengths = np.array([3, 7])  # right-padded to 8
  prompts_PS = rng.integers(4, 40, (2, 8))
  samples_PGO = rng.integers(4, 40, (2, 3, 5))
  rows = np.zeros((2, 3, 12), int)
  for p, length in enumerate(lengths):
    rows[p, :, :length] = prompts_PS[p, :length]
    rows[p, :, length : length + 5] = samples_PGO[p]
  full_PGLV = compiled(sizes)(rows.reshape(6, 12)).reshape(2, 3, 12, 40)

  _, kv = run(prompts_PS, method='prefill')
  call = functools.partial(model.apply, {'params': params})
  cache = tiny.cache(call, kv, samples=3, suffix=6, chunk=2)
  begun_PG = jnp.zeros((2, 3), int)
  for t in range(5):
    logits_PGV, cache = run(
      samples_PGO[..., t], cache, lengths, begun_PG, t % 2, method='step'
    )
    for p, length in enumerate(lengths):
      np.testing.assert_allclose(
        logits_PGV[p], full_PGLV[p, :, length + t], rtol=1e-5, atol=1e-5
      )
    if t % 2:
      cache = [layer.with_chunk(begun_PG) for layer in cache]
      begun_PG += 2


@pytest.mark.slow
def test_layers_that_are_taken_apart_compute_the_same():
  apart = decoder.Decoder(SIZE, stacked=False)
  params = decoder.unstacked(variables(SIZE)['params'])
  np.testing.assert_allclose(
    apart.apply({'params': params}, TOKENS_BL),
    compiled(SIZE)(TOKENS_BL),
    rtol=1e-5,
    atol=1e-5,
  )


@pytest.mark.slow
@KV_HEADS
def test_rows_behind_prefixes_equal_the_full_forward(kv_heads):
  sizes = size(kv_heads=kv_heads)
  model, params = decoder.Decoder(sizes), variables(sizes)

  @jax.jit
  def logits(prefixes_PS, rows_CR, prefix_C, length_C):
    _, kv = model.apply(params, prefixes_PS, method='prefill')
    C, R = rows_CR.shape
    place = length_C[:, None] + jnp.arange(R)
    seen = jnp.broadcast_to(jnp.tril(jnp.ones((R, R), bool)), (C, R, R))
    hidden = model.apply(
      params, rows_CR, kv, prefix_C, length_C, place, seen, method='extend'
    )
    return model.apply(params, hidden, method='logits')

  rng = np.random.default_rng(2)
  prefixes_PS = rng.integers(4, 40, (2, 8))
  rows_CR = rng.integers(4, 40, (4, 5))
  prefix_C, length_C = np.array([1, 0, 1, 1]), np.array([8, 3, 8, 0])
  found = logits(prefixes_PS, rows_CR, prefix_C, length_C)
  for c, (p, length) in enumerate(zip(prefix_C, length_C, strict=True)):
    row = np.zeros((3, 13), int)  # so that it is compiled once
    row[0, : length + 5] = [*prefixes_PS[p, :length], *rows_CR[c]]
    full = compiled(sizes)(row)[0, length : length + 5]
    np.testing.assert_allclose(found[c], full, rtol=1e-5, atol=1e-5)


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
  y = blocks.RMSNorm().apply(
    {'params': {'scale': jnp.array([0.0, 1.0])}}, jnp.array([3.0, 4.0])
  )
  np.testing.assert_allclose(y, [0.848528, 2.262742], rtol=1e-6)


def test_rms_norm_is_computed_in_float32():
  x = jnp.full(512, 3.0, jnp.bfloat16)  # a bfloat16 sum stops at 256 * 9
  y = blocks.RMSNorm().apply({'params': {'scale': jnp.zeros(512)}}, x)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_array_equal(y, jnp.ones(512))


@pytest.mark.parametrize(
  ('x', 'gelu'),  # the tanh form; by the error function 0.841345, -0.158655
  [(1.0, 0.8411920), (-1.0, -0.1588080), (2.0, 1.9545977)],
)
def test_feed_forward_is_a_tanh_gelu_gate(x, gelu):
  one = size(width=1, hidden=1)
  y = blocks.FeedForward(one, jnp.float32).apply(
    {'params': {n: jnp.ones((1, 1)) for n in ('gate', 'up', 'down')}},
    jnp.array([x]),
  )
  np.testing.assert_allclose(y, [gelu * x], rtol=1e-6)


def test_the_embedding_factor_is_rounded_as_gemma_rounds_it():
  wide = size(width=3072, vocabulary=2)
  ones = {'params': {'embedding': jnp.ones((2, 3072))}}

  def embed(dtype):
    model = decoder.Decoder(wide, dtype=dtype)
    return model.apply(ones, jnp.array([1]), method='embed')[0, 0]

  assert embed(jnp.bfloat16) == 55.5
  np.testing.assert_allclose(embed(jnp.float32), 55.42562, rtol=1e-6)


def test_llama_s_norm_multiplies_by_w_alone():
  norm = blocks.RMSNorm(offset=0.0)
  x = jnp.array([3.0, 4.0])
  y = norm.apply({'params': {'scale': jnp.array([1.0, 2.0])}}, x)
  np.testing.assert_allclose(y, [0.848528, 2.262742], rtol=1e-6)
  fresh = norm.init(jax.random.key(0), x)['params']['scale']
  np.testing.assert_array_equal(fresh, [1.0, 1.0])


def test_a_size_without_windows_traces_none():
  """Neither caps nor windows cost anything where there are none."""

  def equations(sizes):
    program = jax.make_jaxpr(decoder.Decoder(sizes).apply)
    return str(program(variables(sizes), TOKENS_BL))

  assert 'tanh' not in equations(size(activation='silu'))
  plain, local = equations(SIZE), equations(size(pattern='gl', window=4))
  assert plain.count(' and ') == 0
  assert local.count(' and ') == 1


# One local layer: what it sees is all that the last logits can depend on.
LOCAL = size(layers=1, pattern='l', window=4)


@pytest.mark.parametrize(('back', 'seen'), [(0, 1), (3, 1), (4, 0), (9, 0)])
def test_a_window_is_that_many_tokens_its_own_included(back, seen):
  changed = TOKENS_BL.copy()
  changed[:, 11 - back] = (changed[:, 11 - back] + 1) % 36 + 4
  before, after = compiled(LOCAL)(TOKENS_BL), compiled(LOCAL)(changed)
  np.testing.assert_array_equal(
    (before[:, 11] != after[:, 11]).any(axis=-1), bool(seen)
  )


def test_final_logits_are_capped():
  free, capped = compiled(SIZE)(TOKENS_BL), compiled(size(final_softcap=0.5))
  assert np.abs(free).max() > 1
  np.testing.assert_allclose(
    capped(TOKENS_BL), 0.5 * np.tanh(free / 0.5), atol=1e-5
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  'name, remat, unroll',
  [
    ('gemma', 'full', 1),
    ('gemma3', 'dots', 1),
    ('gemma', 'full', 2),
    ('gemma4', 'full', 1),
  ],
)
def test_gradients_of_rematerialised_layers_are_equal(name, remat, unroll):
  sizes = families.ALL[name]
  segments_BL = jnp.ones_like(TOKENS_BL)
  positions_BL = jnp.broadcast_to(
    jnp.arange(TOKENS_BL.shape[1]), TOKENS_BL.shape
  )

  def gradient(remat):
    model = decoder.Decoder(sizes, remat=remat, unroll=unroll)

    def square(params):
      hidden_BLD = model.apply(
        {'params': params},
        *(TOKENS_BL, positions_BL, segments_BL),
        method='hidden',
      )
      return jnp.square(hidden_BLD).mean()

    return jax.grad(square)

  params = families.parameters(sizes)
  assert 'remat' in str(jax.make_jaxpr(gradient(remat))(params))
  assert 'remat' not in str(jax.make_jaxpr(gradient('none'))(params))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
    jax.jit(gradient(remat))(params),
    jax.jit(gradient('none'))(params),
  )
