"""Compiled programs, once in a process whatever stage asks for them."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

P = ParamSpec('P')
R = TypeVar('R')


def compiled_once(build: Callable[P, R]) -> Callable[P, R]:
  """Caches what `build` returns, by its arguments, for good.

  jax.jit would trace and compile a new function again for each stage.
  """
  # The stubs of functools.cache lose the signature, and deny that Flax's
  # modules hash.
  return cast(Callable[P, R], functools.cache(build))
