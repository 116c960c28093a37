"""Facts about restpg_jax/sampling/nucleus.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restpg_jax.sampling import nucleus

PROBS = jnp.array([0.15, 0.5, 0.05, 0.3])


@jax.jit
def one_by_one(probs, top_p):
  """Each token asked for by itself."""
  probs_NV = jnp.atleast_2d(probs)
  belong_VN = jax.lax.map(
    lambda p_N: nucleus.belongs(probs_NV, p_N, top_p), probs_NV.T
  )
  return belong_VN.T.reshape(probs.shape)


@jax.jit
def by_sorting(probs, top_p):
  """The textbook definition."""
  ordered = jnp.sort(probs, axis=-1, descending=True)
  before = jnp.cumsum(ordered, axis=-1) - ordered
  least = jnp.min(jnp.where(before < top_p, ordered, jnp.inf), axis=-1)
  return probs >= least[..., None]


@pytest.mark.parametrize(
  ('top_p', 'kept'),
  [
    (0.4, [0, 1, 0, 0]),
    (0.5, [0, 1, 0, 0]),  # .5 reaches .5
    (0.51, [0, 1, 0, 1]),
    (0.7, [0, 1, 0, 1]),
    (0.81, [1, 1, 0, 1]),
    (0.99, [1, 1, 1, 1]),
  ],
)
@pytest.mark.parametrize('method', [one_by_one, by_sorting])
def test_the_smallest_set_that_reaches_the_mass(method, top_p, kept):
  np.testing.assert_array_equal(method(PROBS, top_p), np.bool(kept))


def test_tokens_that_tie_with_the_last_one_belong():
  probs = jnp.array([0.25, 0.5, 0.125, 0.125])
  np.testing.assert_array_equal(one_by_one(probs, 0.8), [1, 1, 1, 1])
  np.testing.assert_array_equal(one_by_one(probs, 0.75), [1, 1, 0, 0])


@settings(max_examples=200, deadline=None)
@given(
  st.lists(st.integers(0, 1023), min_size=7, max_size=7),
  st.integers(1, 1023),
)
def test_asking_equals_sorting(cuts, mass):
  # Eight probabilities in 1024ths: every sum is exact, ties are common.
  probs = jnp.array(np.diff([0, *sorted(cuts), 1024]) / 1024, jnp.float32)
  np.testing.assert_array_equal(
    one_by_one(probs, mass / 1024), by_sorting(probs, mass / 1024)
  )


@pytest.mark.parametrize('spread', [0.1, 3.0, 20.0])
def test_asking_equals_sorting_on_a_real_vocabulary(spread):
  logits = spread * jax.random.normal(jax.random.key(0), (20, 5000))
  probs = jax.nn.softmax(logits)
  np.testing.assert_array_equal(one_by_one(probs, 0.9), by_sorting(probs, 0.9))


@functools.partial(jax.jit, static_argnames=('temperature', 'top_p'))
def draw(keys, probs, temperature, top_p):
  logits = jnp.broadcast_to(jnp.log(probs), (len(keys), len(probs)))
  return nucleus.sample(keys, logits, temperature=temperature, top_p=top_p)


@pytest.mark.parametrize(
  ('temperature', 'top_p', 'expected'),
  [
    (1.0, 1.0, [0.15, 0.5, 0.05, 0.3]),
    (1.0, 0.7, [0, 0.5 / 0.8, 0, 0.3 / 0.8]),
    # At temperature 1/2 probabilities are squared: .0225 .25 .0025 .09
    (0.5, 1.0, [0.0225 / 0.365, 0.25 / 0.365, 0.0025 / 0.365, 0.09 / 0.365]),
    # .25 / .365 = .68: temperature comes before the nucleus, so one is enough
    (0.5, 0.6, [0, 1, 0, 0]),
  ],
)
def test_frequencies_are_the_exact_probabilities(temperature, top_p, expected):
  n = 20_000
  keys = jax.random.split(jax.random.key(7), n)
  tokens = draw(keys, PROBS, temperature, top_p)
  counts, expected = np.bincount(tokens, minlength=4), n * np.array(expected)
  likely = expected > 0
  assert counts[~likely].sum() == 0
  chi2 = np.sum((counts - expected)[likely] ** 2 / expected[likely])
  assert chi2 < 16.27  # exceeded once in 1,000 with 3 degrees of freedom


def test_temperature_0_takes_the_likeliest_and_the_first_of_equals():
  keys = jax.random.split(jax.random.key(0), 3)
  logits = jnp.array([[0.0, 2.0, 1.0], [5.0, 5.0, 1.0], [-9.0, -8.0, -7.0]])
  tokens = nucleus.sample(keys, logits, temperature=0, top_p=0.95)
  assert tokens.tolist() == [1, 0, 2]
  assert tokens.dtype == jnp.int32


def test_a_token_depends_on_its_own_key_alone():
  keys = jax.random.split(jax.random.key(3), 50)
  tokens = draw(keys, PROBS, 1.0, 0.95)
  assert len(set(tokens.tolist())) > 1
  np.testing.assert_array_equal(
    draw(keys[::-1], PROBS, 1.0, 0.95), tokens[::-1]
  )


def test_keys_may_have_any_leading_axes():
  keys = jax.random.split(jax.random.key(3), 6)
  logits = jax.random.normal(jax.random.key(4), (6, 9))
  sample = functools.partial(nucleus.sample, temperature=0.7, top_p=0.9)
  np.testing.assert_array_equal(
    sample(keys.reshape(2, 3), logits.reshape(2, 3, 9)),
    sample(keys, logits).reshape(2, 3),
  )


def test_top_k_keeps_the_likeliest():
  keys = jax.random.split(jax.random.key(1), 4000)
  logits = jnp.broadcast_to(jnp.log(PROBS), (4000, 4))
  tokens = nucleus.sample(keys, logits, temperature=1, top_p=1, top_k=2)
  counts = np.bincount(tokens, minlength=4)
  assert counts[[0, 2]].tolist() == [0, 0]
  # .5 of .8 is 2500; the standard deviation is 31
  assert abs(counts[1] - 2500) < 120
  # Both measured on the whole: .7 alone would allow two, k = 1 does not.
  tokens = nucleus.sample(keys, logits, temperature=1, top_p=0.7, top_k=1)
  assert set(tokens.tolist()) == {1}


@pytest.mark.parametrize('V', [1, 2, 3, 7, 64, 1000, 1024, 5003])
def test_inversion_finds_where_the_running_mass_passes(V):
  rng = np.random.default_rng(V)
  # Whole numbers: every sum is exact. Half of them are 0.
  mass = rng.integers(0, 8, (40, V)) * rng.integers(0, 2, (40, V))
  mass[:, rng.integers(V)] = 1
  total = mass.sum(axis=1)
  # A target of n + 1/2 of the total, for some n in it.
  wanted = np.floor(rng.random(40) * total) + 0.5
  found = nucleus.invert(jnp.float32(mass), jnp.float32(wanted / total))
  expected = [
    np.flatnonzero(np.cumsum(row) > target)[0]
    for row, target in zip(mass, wanted, strict=True)
  ]
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('uniform', [0.0, 0.5, 1 - 2**-24, 1.0])
def test_a_token_without_mass_is_never_found(uniform):
  rng = np.random.default_rng(0)
  mass = rng.random((50, 300), np.float32) ** 20
  mass[:, :7] = 0
  mass[:, -9:] = 0
  found = nucleus.invert(jnp.asarray(mass), jnp.full(50, uniform))
  assert (mass[np.arange(50), found] > 0).all()


def test_rows_of_nan_end():
  logits = jnp.array([[0.0, 1.0], [jnp.nan, 0.0]])
  keys = jax.random.split(jax.random.key(0), 2)
  tokens = nucleus.sample(keys, logits, temperature=1, top_p=0.5)
  assert tokens[0] == 1
  assert 0 <= tokens[1] < 2
