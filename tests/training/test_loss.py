"""Facts about restpg_jax/training/loss.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax.training import batches, loss

V = 7
RNG = np.random.default_rng(0)
LOGITS_BTV = RNG.normal(0, 2, (3, 4, V)).astype(np.float32)
TARGETS_BT = RNG.integers(0, V, (3, 4))
REAL_BT = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], np.float32)


def batch(rewards, rows=slice(None)):
  """Three rows of 4, 2 and 3 targets, each row with its reward."""
  weight_BT = REAL_BT * np.array(rewards, np.float32)[:, None]
  index_BT = np.broadcast_to(np.arange(4), TARGETS_BT.shape)
  zeros_BT = np.zeros_like(TARGETS_BT)
  return batches.Batch(
    *(x[rows] for x in (zeros_BT, zeros_BT, zeros_BT, index_BT)),
    *(x[rows] for x in (TARGETS_BT, weight_BT)),
  )


def weighted(logits_BTV, of):
  """What is hidden here are the logits themselves; divided as a step does."""
  head = jnp.eye(logits_BTV.shape[-1])
  total = loss.weighted(
    logits_BTV, of, head, lambda head, hidden: hidden, max_logits=10**6
  )
  return total / max(1, (of.weight_BT > 0).sum())


def numpy_nll():
  nll_BT = np.zeros((3, 4))
  for b in range(3):
    for t in range(4):
      e = np.exp(np.float64(LOGITS_BTV[b, t]))
      nll_BT[b, t] = -np.log(e[TARGETS_BT[b, t]] / e.sum())
  return nll_BT


NLL_BT = numpy_nll()


def test_the_loss_of_a_token_by_hand():
  # P = 1/4 of four equal logits; 3/4 where e^logit is 3 of 1 + 3
  logits = jnp.array([[[5.0, 5.0, 5.0, 5.0]], [[0, np.log(3), -1e9, -1e9]]])
  np.testing.assert_allclose(
    loss.token_losses(logits, jnp.array([[2], [1]])),
    [[1.386294], [0.287682]],
    rtol=1e-5,
  )


def test_the_weighted_loss_by_hand():
  # Targets at P = 1/4 with rewards 1 and 1/2: (1 + .5) * 1.386294 / 2
  two = batches.Batch(
    *(np.zeros((2, 1), int) for _ in range(5)), np.array([[1.0], [0.5]])
  )
  assert weighted(jnp.zeros((2, 1, 4)), two) == pytest.approx(1.039721)


@pytest.mark.parametrize(
  'V, most, words',
  # Of 11 words the last chunk of four, or of two, has one that is none.
  [
    (12, 12, 1),
    (12, 47, 3),
    (12, 48, 4),
    (12, 143, 6),
    (11, 47, 3),
    (11, 72, 6),
  ],
)
def test_in_chunks_of_words_loss_and_gradients_are_the_same(V, most, words):
  """D = 5, logits = 3 tanh(h W^T) of V words; four places of three rows."""
  hidden_BTD = jnp.asarray(RNG.normal(size=(3, 4, 5)), jnp.float32)
  head_VD = jnp.asarray(RNG.normal(size=(V, 5)), jnp.float32)
  of = batch([1.0, 0.5, 0.7])._replace(target_BT=RNG.integers(0, V, (3, 4)))
  sizes = []

  def logits(head_vD, hidden_BTD):
    sizes.append(len(head_vD))
    return 3 * jnp.tanh(hidden_BTD @ head_vD.T)

  def chunked(hidden_BTD, head_VD):
    return loss.weighted(hidden_BTD, of, head_VD, logits, max_logits=most)

  def at_once(hidden_BTD, head_VD):
    logits_BTV = 3 * jnp.tanh(hidden_BTD @ head_VD.T)
    losses = loss.token_losses(logits_BTV, of.target_BT)
    return jnp.sum(of.weight_BT * losses)

  both = [
    jax.value_and_grad(way, argnums=(0, 1))(hidden_BTD, head_VD)
    for way in (chunked, at_once)
  ]

  def equal(a, b):  # to 1e-6 of the largest number of the array
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(b).max())

  jax.tree.map(equal, *both)
  assert set(sizes) == {words}


@pytest.mark.parametrize(
  'vocabulary, most, chunks',
  [(1024, 2000, 1), (256_128, 10_082, 29), (262_144, 10_082, 32), (7, 3, 3)],
)
def test_chunks_are_equal_and_as_few_as_may_be(vocabulary, most, chunks):
  assert loss.chunks_of(vocabulary, most) == chunks


def test_the_weighted_loss_against_numpy():
  rewards = [1.0, 0.5, 0.7]
  # Nine targets: 4 of reward 1, 2 of .5, 3 of .7
  total = (
    NLL_BT[0].sum() + 0.5 * NLL_BT[1, :2].sum() + 0.7 * NLL_BT[2, :3].sum()
  )
  assert weighted(LOGITS_BTV, batch(rewards)) == pytest.approx(
    total / 9, rel=1e-6
  )


def test_a_reward_of_0_is_as_if_the_row_were_absent():
  both = weighted(LOGITS_BTV, batch([1.0, 0.0, 0.7]))
  rows = [0, 2]
  absent = weighted(LOGITS_BTV[rows], batch([1.0, 9, 0.7], rows))
  assert both == pytest.approx(float(absent), rel=1e-6)


def test_a_reward_of_0_has_no_gradient():
  grad = jax.grad(weighted)(LOGITS_BTV, batch([1.0, 0.0, 0.7]))
  np.testing.assert_array_equal(grad[1], np.zeros((4, V)))
  np.testing.assert_array_equal(grad[2, 3], np.zeros(V))  # padding
  assert np.abs(grad[0]).min() > 0


def test_every_reward_1_is_plain_likelihood():
  mean = (NLL_BT * REAL_BT).sum() / 9
  assert weighted(LOGITS_BTV, batch([1, 1, 1])) == pytest.approx(mean, rel=1e-6)


def test_a_common_reward_scales_the_loss():
  one = weighted(LOGITS_BTV, batch([1, 1, 1]))
  half = weighted(LOGITS_BTV, batch([0.5, 0.5, 0.5]))
  assert half == pytest.approx(0.5 * float(one), rel=1e-6)


def test_nothing_to_learn_from_is_a_loss_of_0():
  assert weighted(LOGITS_BTV, batch([0, 0, 0])) == 0.0


def test_it_is_computed_in_float32():
  nll = loss.token_losses(jnp.asarray(LOGITS_BTV, jnp.bfloat16), TARGETS_BT)
  assert nll.dtype == jnp.float32
  np.testing.assert_allclose(nll, NLL_BT, atol=0.05)
