"""A decoder small enough to run in any test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax import config
from restpg_jax.models import decoder
from restpg_jax.models import size as sizes
from restpg_jax.parallel import layout as layouts


def layout(**compute) -> layouts.Layout:
  """The devices of this process."""
  return layouts.Layout.of(config.Compute(**compute))


def size(**changes) -> sizes.Size:
  """2 layers of width 32, two heads that share their keys; 32 tokens."""
  return sizes.Size(
    **dict(
      layers=2,
      width=32,
      hidden=32,
      heads=2,
      kv_heads=1,
      head_size=16,
      vocabulary=32,
    )
    | changes
  )


@functools.cache
def parameters(of: sizes.Size, scale: float) -> dict:
  """Normal with this deviation: larger than at the start of training, so that
  every part matters and the model is sure of some tokens, unsure of others."""
  shapes = jax.eval_shape(
    decoder.Decoder(of).init, jax.random.key(0), jnp.zeros((1, 4), int)
  )['params']
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, scale, x.shape), jnp.float32), shapes
  )


def cache(call, kv, *, samples: int, suffix: int, chunk: int) -> list:
  """Room behind prefilled prompts; `call` is an unstacked decoder's apply."""
  prompts, length = kv[0][0].shape[:2]
  found = call(prompts, samples, length, suffix, chunk, method='empty_cache')
  for a in range(prompts):
    found = [
      layer.with_prompt(k[a : a + 1], v[a : a + 1], a)
      for layer, (k, v) in zip(found, kv, strict=True)
    ]
  return found
