"""float32 means float32: a TPU would multiply it in bfloat16, a GPU in TF32."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PASSES = 6  # of a TPU's bfloat16 products, for one of float32


def exact(
  function: Callable[..., Any], dtype: jax.typing.DTypeLike
) -> Callable[..., Any]:
  """Returns the function with products as precise as `dtype`, its arrays' type.

  In narrower types a product is exact as it is.
  """
  if jnp.dtype(dtype) != jnp.float32:
    return function

  @functools.wraps(function)
  def precise(*args: Any, **kwargs: Any) -> Any:
    with jax.default_matmul_precision('highest'):
      return function(*args, **kwargs)

  return precise


def passes(platform: str, dtype: jax.typing.DTypeLike) -> int:
  """Returns how often `exact` does the arithmetic of the fastest product."""
  narrow = platform != 'tpu' or jnp.dtype(dtype) != jnp.float32
  return 1 if narrow else PASSES
