"""Uses float32 weights in a narrower type; their gradients stay float32.

JAX gives the gradient of a weight that is cast for a product the type of the
product. In bfloat16 every device would round its share of a weight's gradient,
and again the sum over devices. Here it is float32 from the product on.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

# (table [V, D], tokens [..], type) -> rows of it [.., D]
LookUp = Callable[[jax.Array, jax.Array, jax.typing.DTypeLike], jax.Array]
# (name of W, x [.., D], gradient of x W [.., F]) -> gradient of W [D, F]
WeightGradient = Callable[[str, jax.Array, jax.Array], jax.Array]


def look_up(
  table_VD: jax.Array, tokens: jax.Array, dtype: jax.typing.DTypeLike
) -> jax.Array:
  """Returns rows of an embedding, as `dtype`."""
  return table_VD[tokens].astype(dtype)  # gradients add up in its own type


def weight_gradient(name: str, x: jax.Array, dy: jax.Array) -> jax.Array:
  """Returns the sum of x dy over all tokens, float32 [D, F]."""
  del name  # says how W is split: see parallel/activations.py
  tokens = tuple(range(x.ndim - 1))
  return jax.lax.dot_general(
    *(x, dy, ((tokens, tokens), ((), ()))),
    preferred_element_type=jnp.float32,
  )


def product(
  name: str,
  x: jax.Array,
  weight: jax.Array,
  *,
  dtype: jax.typing.DTypeLike,
  gradient: WeightGradient = weight_gradient,
) -> jax.Array:
  """Returns x [.., D] times W [D, F] in `dtype`, that of x."""
  narrow = weight.astype(dtype)
  if not _is_narrower(dtype, weight):
    return x @ narrow
  y = x @ jax.lax.stop_gradient(narrow)
  return _with_gradient(functools.partial(gradient, name), y, x, weight)


def logits(
  hidden: jax.Array, head_vD: jax.Array, *, dtype: jax.typing.DTypeLike
) -> jax.Array:
  """Returns float32 logits [.., v] of states [.., D], multiplied in `dtype`."""
  narrow_vD = head_vD.astype(dtype)
  narrower = _is_narrower(dtype, head_vD)
  y = jnp.einsum(
    '...d,vd->...v',
    hidden,
    jax.lax.stop_gradient(narrow_vD) if narrower else narrow_vD,
    preferred_element_type=jnp.float32,
  )
  if not narrower:
    return y

  def gradient(hidden: jax.Array, dy: jax.Array) -> jax.Array:
    return weight_gradient('head', dy, hidden)

  return _with_gradient(gradient, y, hidden, head_vD)


def _is_narrower(dtype: jax.typing.DTypeLike, weight: jax.Array) -> bool:
  return jnp.dtype(dtype).itemsize < weight.dtype.itemsize


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _with_gradient(
  gradient: Callable[[jax.Array, jax.Array], jax.Array],
  y: jax.Array,
  x: jax.Array,
  weight: jax.Array,
) -> jax.Array:
  """Returns y, and gives `weight` gradient(x, dy) beside what y came from."""
  del gradient, x, weight
  return y


def _forward(gradient, y, x, weight):
  del gradient, weight
  return y, x


def _backward(gradient, x, dy):
  return dy, None, gradient(x, dy)


_with_gradient.defvjp(_forward, _backward)
