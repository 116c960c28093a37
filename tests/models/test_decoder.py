"""Facts about restpg_jax/models/decoder.py."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax import errors
from restpg_jax.models import attention, decoder
from tests.models import families

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
  np.testing.assert_array_equal(
    attention.rotate(x, jnp.array([0, 0]), attention.speeds(4, 10_000)), x
  )
  # Dimension 0 turns with 2 at one radian a token, 1 with 3 at a hundredth.
  np.testing.assert_allclose(
    attention.rotate(x, jnp.array([1, 1]), attention.speeds(4, 10_000))[:, 0],
    [[0.5403023, 0, 0.8414710, 0], [0, 0.99995, 0, 0.0099998]],
    atol=1e-6,
  )


def test_late_positions_are_told_apart_in_bfloat16():
  x = jnp.ones((2, 1, 8), jnp.bfloat16)
  late = attention.rotate(
    x, jnp.array([8190, 8191]), attention.speeds(8, 10_000)
  )
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


def test_llama_s_norm_multiplies_by_w_alone():
  norm = decoder.RMSNorm(offset=0.0)
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


@pytest.mark.parametrize('t', [0, 2, 3, 4, 7])
def test_a_step_has_the_same_window_over_prefix_and_suffix(t):
  """Positions 0..5 are the prompt, 6..13 the suffix; `t` is fed at 6 + t."""
  rng = np.random.default_rng(4)
  k, v = rng.normal(size=(2, 1, 1, 14, 1, 8)).astype(np.float32)
  q = rng.normal(size=(1, 1, 1, 8)).astype(np.float32)
  garbage = np.full((1, 3, 1, 8), 9.0, np.float32)  # pads the prompt
  cache = attention.Cache(
    np.concatenate([k[0, :, :6], garbage], axis=1),
    np.concatenate([v[0, :, :6], garbage], axis=1),
    k[:, :, 6:],
    v[:, :, 6:],
  )
  place = attention.Place(jnp.int32(t), jnp.array([6]))
  here = 6 + t
  y, _ = attention.shared(
    q, k[:, :, here], v[:, :, here], cache, place, window=jnp.int32(4)
  )
  inside = slice(here - 3, here + 1)
  weights = np.exp(k[0, 0, inside, 0] @ q[0, 0, 0])
  np.testing.assert_allclose(
    y[0, 0, 0], weights / weights.sum() @ v[0, 0, inside, 0], rtol=1e-5
  )


def test_scores_are_capped_before_they_are_masked():
  # Scores of the second token: 4 and 2, capped at 2: 2 tanh(2), 2 tanh(1).
  q = jnp.full((1, 2, 1, 2), 2.0)
  k = jnp.array([[[[1.0, 1.0]], [[1.0, 0.0]]]])
  v = jnp.array([[[[1.0, 0.0]], [[0.0, 1.0]]]])
  y = attention.causal(q, k, v, cap=2.0)[0, :, 0]
  np.testing.assert_array_equal(y[0], [1, 0])  # a capped mask leaks the future
  share = 1 / (1 + math.exp(2 * math.tanh(1) - 2 * math.tanh(2)))
  np.testing.assert_allclose(y[1], [share, 1 - share], rtol=1e-6)

  cache = attention.Cache(
    jnp.concatenate([k[:, :1], jnp.full((1, 3, 1, 2), 9.0)], axis=1),
    jnp.concatenate([v[:, :1], jnp.full((1, 3, 1, 2), 9.0)], axis=1),
    *(jnp.full((1, 1, 2, 1, 2), 9.0),) * 2,
  )
  place = attention.Place(jnp.int32(0), jnp.array([1]))
  y, _ = attention.shared(q[:, 1:], k[:, 1:], v[:, 1:], cache, place, cap=2.0)
  np.testing.assert_allclose(y[0, 0, 0], [share, 1 - share], rtol=1e-6)


def test_scores_are_capped_in_float32():
  # Scores 44 and 44.25: capped at 50 they are 35.32 and 35.44, which a
  # bfloat16, with steps of 0.25 there, cannot tell apart as it should.
  q = jnp.full((1, 2, 1, 2), 4.0, jnp.bfloat16)
  k = jnp.array([[[[5.5, 5.5]], [[5.5, 5.5625]]]], jnp.bfloat16)
  v = jnp.array([[[[1.0, 0.0]], [[0.0, 1.0]]]], jnp.bfloat16)
  y = attention.causal(q, k, v, cap=50.0)
  assert y.dtype == jnp.bfloat16
  a, b = (50 * math.tanh(score / 50) for score in (44, 44.25))
  np.testing.assert_allclose(
    np.float32(y[0, 1, 0, 1]), 1 / (1 + math.exp(a - b)), atol=0.002
  )


def test_final_logits_are_capped():
  free, capped = compiled(SIZE)(TOKENS_BL), compiled(size(final_softcap=0.5))
  assert np.abs(free).max() > 1
  np.testing.assert_allclose(
    capped(TOKENS_BL), 0.5 * np.tanh(free / 0.5), atol=1e-5
  )


def test_rope_scaling_slows_global_layers():
  # Twice the scale at twice the position is the same angle.
  speed = attention.speeds(8, 100.0)
  np.testing.assert_allclose(speed, [1, 0.316228, 0.1, 0.0316228], rtol=1e-5)
  np.testing.assert_allclose(
    attention.speeds(8, 100.0, scale=4.0), speed / 4, rtol=1e-6
  )


def test_llama_3_slows_only_what_turns_slowly():
  # 40 tokens: 6.37 turns, 2.01, 0.64, 0.20; kept from 4, slowed up to 1.
  fast = [1, 0.316228, 0.1, 0.0316228]
  keep = [1, (40 * 0.316228 / (2 * math.pi) - 1) / 3, 0, 0]
  np.testing.assert_allclose(
    attention.speeds(8, 100.0, scale=4.0, context=40),
    [k * f + (1 - k) * f / 4 for k, f in zip(keep, fast, strict=True)],
    rtol=1e-5,
  )


@pytest.mark.parametrize('name', ['gemma', 'gemma3'])
def test_gradients_of_rematerialised_layers_are_equal(name):
  sizes = families.ALL[name]

  def gradient(remat):
    model = decoder.Decoder(sizes, remat=remat)
    return jax.grad(
      lambda params: jnp.square(
        model.apply({'params': params}, TOKENS_BL)
      ).mean()
    )

  params = families.parameters(sizes)
  assert 'remat' in str(jax.make_jaxpr(gradient(True))(params))
  assert 'remat' not in str(jax.make_jaxpr(gradient(False))(params))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
    jax.jit(gradient(True))(params),
    jax.jit(gradient(False))(params),
  )


@pytest.mark.parametrize('name', families.ALL)
def test_every_family_in_bfloat16_stays_close_to_float32(name):
  sizes = families.ALL[name]
  model = decoder.Decoder(sizes, dtype=jnp.bfloat16)
  tokens_BL = families.rows(families.TOKENS, 300)[-1:]
  rounded = jax.jit(model.apply)(
    {'params': families.parameters(sizes)}, tokens_BL
  )
  exact = families.logits(sizes)[-1:]
  error = np.sqrt(np.mean((rounded - exact) ** 2) / np.mean(exact**2))
  assert 1e-3 < error < 0.05


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'activation': 'relu'}, "activation 'relu' is not known; known: gelu"),
    ({'kv_heads': 3}, '4 heads cannot share 3 kv_heads'),
    ({'head_size': 7}, 'head_size 7 must be even'),
    ({'pattern': 'lx'}, "pattern 'lx' must be made of l and g"),
    ({'pattern': ''}, "pattern '' must be made of l and g"),
    ({'pattern': 'lg'}, "pattern 'lg' has local layers: set window"),
  ],
)
def test_sizes_that_no_model_has_are_refused(changes, message):
  with pytest.raises(errors.InputError, match=f'model size: {message}'):
    size(**changes)


def test_layers_take_turns():
  sizes = size(layers=8, pattern='lllllg', window=4)
  assert sizes.local_layers() == [*[True] * 5, False, True, True]
