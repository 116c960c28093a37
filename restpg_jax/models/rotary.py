"""Rotary positions, as Gemma and Llama 3 turn them (arXiv 2104.09864)."""

import math

import jax
import jax.numpy as jnp


def speeds(
  head_size: int,
  base: float,
  *,
  scale: float = 1.0,
  context: int = 0,
  share: float = 1.0,
) -> jax.Array:
  """Returns the radians that each pair of dimensions turns a token, [H / 2].

  Of the pairs only the first `share` turn, as fast as if all did: Gemma 4.

  `scale` slows all of them (positions are divided by it), or, with `context`
  (tokens of the first training), only the slow ones as Llama 3.1 does it: all
  of it from one turn in `context` tokens on, nothing from four, blended
  between (arXiv 2407.21783 and its published code).
  """
  half = head_size // 2
  fast = base ** -(jnp.arange(half, dtype=jnp.float32) / half)
  if share != 1:
    fast = jnp.where(jnp.arange(half) < int(share * half), fast, 0.0)
  if scale == 1:
    return fast
  if not context:
    return fast / scale
  turns = fast * context / (2 * math.pi)
  keep = jnp.clip((turns - 1) / (4 - 1), 0, 1)
  return keep * fast + (1 - keep) * fast / scale


def rotate(x: jax.Array, positions: jax.Array, speed: jax.Array) -> jax.Array:
  """Turns the last axis of x [..., heads, H] by positions [...].

  Angles in float32: in bfloat16 the positions 8190 and 8191 would be 8192.
  """
  half = x.shape[-1] // 2
  angle = positions[..., None, None].astype(jnp.float32) * speed
  a, b = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  return jnp.concatenate(
    [a * cos - b * sin, b * cos + a * sin], axis=-1
  ).astype(x.dtype)
