"""REST-PG (arXiv 2501.04167) in JAX; restpg_jax/api.py says what is offered.

Nothing is imported before it is used: the command must arrange how memory is
kept before NumPy begins its threads (malloc.py).
"""

import importlib
from typing import Any

OFFERED = 'Config', 'generate', 'load_config', 'read_results', 'run'


def __getattr__(name: str) -> Any:
  """Imports what is offered at its first use (PEP 562)."""
  if name not in OFFERED:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module('restpg_jax.api'), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *OFFERED})
