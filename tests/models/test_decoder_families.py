"""Facts about restpg_jax/models/decoder.py that hold for every family."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax.models import decoder, packed
from tests import tiny
from tests.models import families


@pytest.mark.slow
@pytest.mark.parametrize(
  'name, attend',
  [(name, packed.blocks) for name in families.ALL] + [('gemma3', packed.naive)],
)
def test_texts_that_share_a_row_do_not_see_each_other(name, attend):
  """Three texts in one row, padded, against each of them by itself."""
  sizes = families.ALL[name]
  model = decoder.Decoder(sizes, attend=attend)
  rng = np.random.default_rng(0)
  texts = [rng.integers(4, sizes.vocabulary, n) for n in (70, 3, 90)]
  call = functools.partial(
    model.apply,
    {'params': jax.tree.map(jnp.asarray, families.parameters(sizes))},
    method='hidden',
  )
  row = np.concatenate([*texts, [0] * 7])
  segment = np.repeat([1, 2, 3, 0], [70, 3, 90, 7])
  position = np.concatenate([np.arange(n) for n in (70, 3, 90, 7)])
  together_LD = jax.jit(call)(row[None], position[None], segment[None])[0]
  begin = 0
  for text in texts:
    alone_LD = jax.jit(call)(text[None])[0]
    np.testing.assert_allclose(
      together_LD[begin : begin + len(text)], alone_LD, atol=3e-5
    )
    begin += len(text)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize('name', families.GEMMA4)
def test_layers_of_two_shapes_equal_the_full_forward_on_every_path(name):
  """Rows behind prefixes, by stacked and by separate layers, and steps whose
  tokens lie in a prompt, in a suffix and in a chunk; past the window of 9."""
  sizes = families.ALL[name]
  params = jax.tree.map(jnp.asarray, families.parameters(sizes))
  rng = np.random.default_rng(2)
  prefix_PS = rng.integers(4, 90, (2, 12))
  rows_CR = rng.integers(4, 90, (3, 6))
  prefix_C, length_C = np.array([1, 0, 1]), np.array([12, 5, 0])
  whole = np.zeros((3, 18), int)
  for row, p, length, rest in zip(
    whole, prefix_C, length_C, rows_CR, strict=True
  ):
    row[: length + 6] = [*prefix_PS[p, :length], *rest]
  full_CLV = jax.jit(decoder.Decoder(sizes).apply)({'params': params}, whole)
  expected = [f[n : n + 6] for f, n in zip(full_CLV, length_C, strict=True)]
  apart = decoder.unstacked(params)
  for stacked, tree in ((True, params), (False, apart)):
    model = decoder.Decoder(sizes, stacked=stacked)
    apply = functools.partial(model.apply, {'params': tree})
    call = jax.jit(apply, static_argnames='method')
    kv = call(prefix_PS, method='prefill')[1]
    position = length_C[:, None] + np.arange(6)
    seen = np.broadcast_to(np.tril(np.ones((6, 6), bool)), (3, 6, 6))
    hidden = call(
      *(rows_CR, kv, prefix_C, length_C, position, seen), method='extend'
    )
    logits = call(hidden, method='logits')
    np.testing.assert_allclose(logits, expected, rtol=0, atol=5e-5)
  np.testing.assert_allclose(
    stepped(apply, call, kv, rows_CR[None, :2].repeat(2, 0), np.array([12, 5])),
    # Both prompts with the first two rows behind them.
    alone(sizes, prefix_PS, rows_CR[:2], (12, 5)),
    rtol=0,
    atol=5e-5,
  )


def stepped(apply, call, kv, samples_PGO, lengths):
  """Logits [P, G, O, V] of samples fed token by token, in chunks of two."""
  cache = tiny.cache(apply, kv, samples=2, suffix=6, chunk=2)
  begun_PG, found = jnp.zeros((2, 2), int), []
  for t in range(samples_PGO.shape[-1]):
    token = samples_PGO[..., t]
    logits, cache = call(token, cache, lengths, begun_PG, t % 2, method='step')
    found.append(logits)
    if t % 2:
      cache = [layer.with_chunk(begun_PG) for layer in cache]
      begun_PG += 2
  return np.stack(found, axis=2)


def alone(sizes, prefix_PS, rows_GR, lengths):
  """The same [P, G, R, V] by whole texts."""
  rows = np.zeros((len(prefix_PS), len(rows_GR), 18), int)
  for p, length in enumerate(lengths):
    rows[p, :, :length] = prefix_PS[p, :length]
    rows[p, :, length : length + 6] = rows_GR
  apply = jax.jit(decoder.Decoder(sizes).apply)
  logits = apply({'params': families.parameters(sizes)}, rows.reshape(-1, 18))
  logits = np.asarray(logits).reshape(*rows.shape, -1)
  return np.stack(
    [x[:, n : n + 6] for x, n in zip(logits, lengths, strict=True)]
  )
