"""Facts about restpg_jax/models/rotary.py."""

import math

import jax.numpy as jnp
import numpy as np

from restpg_jax.models import rotary


def test_rotary_positions_by_hand():
  x = jnp.array([[[1.0, 0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0, 0.0]]])
  np.testing.assert_array_equal(
    rotary.rotate(x, jnp.array([0, 0]), rotary.speeds(4, 10_000)), x
  )
  # Dimension 0 turns with 2 at one radian a token, 1 with 3 at a hundredth.
  np.testing.assert_allclose(
    rotary.rotate(x, jnp.array([1, 1]), rotary.speeds(4, 10_000))[:, 0],
    [[0.5403023, 0, 0.8414710, 0], [0, 0.99995, 0, 0.0099998]],
    atol=1e-6,
  )


def test_late_positions_are_told_apart_in_bfloat16():
  x = jnp.ones((2, 1, 8), jnp.bfloat16)
  late = rotary.rotate(x, jnp.array([8190, 8191]), rotary.speeds(8, 10_000))
  assert late.dtype == jnp.bfloat16
  np.testing.assert_allclose(  # cos(a) - sin(a), a = 8190 and 8191
    np.float32(late[:, 0, 0]),
    [math.cos(a) - math.sin(a) for a in (8190, 8191)],
    atol=0.02,
  )
  assert abs(late[0, 0, 0] - late[1, 0, 0]) > 0.1


def test_rope_scaling_slows_global_layers():
  # Twice the scale at twice the position is the same angle.
  speed = rotary.speeds(8, 100.0)
  np.testing.assert_allclose(speed, [1, 0.316228, 0.1, 0.0316228], rtol=1e-5)
  np.testing.assert_allclose(
    rotary.speeds(8, 100.0, scale=4.0), speed / 4, rtol=1e-6
  )


def test_llama_3_slows_only_what_turns_slowly():
  # 40 tokens: 6.37 turns, 2.01, 0.64, 0.20; kept from 4, slowed up to 1.
  fast = [1, 0.316228, 0.1, 0.0316228]
  keep = [1, (40 * 0.316228 / (2 * math.pi) - 1) / 3, 0, 0]
  np.testing.assert_allclose(
    rotary.speeds(8, 100.0, scale=4.0, context=40),
    [k * f + (1 - k) * f / 4 for k, f in zip(keep, fast, strict=True)],
    rtol=1e-5,
  )


def test_only_the_first_share_of_the_pairs_turns():
  # Speeds are those of the whole head: not of a head of that share.
  np.testing.assert_allclose(
    rotary.speeds(16, 100.0, share=0.25),
    [1, 100 ** (-1 / 8), *[0] * 6],
    rtol=1e-6,
  )
