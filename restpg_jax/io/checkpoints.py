"""Models and training states on disk, by Orbax: the one door to it.

A model is a folder: `model.json` (its size and what made it) and `params`.
"""

import dataclasses
import json

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from restpg_jax import errors
from restpg_jax.models import decoder


def save_model(path, params, size: decoder.Size, **made) -> None:
  """Writes the folder whole: `model.json` appears last."""
  path = epath.Path(path)
  path.mkdir(parents=True, exist_ok=True)
  save_tree(path / 'params', params)
  text = json.dumps({'size': dataclasses.asdict(size)} | made, indent=1)
  partial = path / 'model.json.partial'
  partial.write_text(text + '\n')
  partial.replace(path / 'model.json')


def load_model(path) -> tuple[dict, decoder.Size]:
  """(float32 parameters on the host, size)."""
  path = epath.Path(path)
  try:
    size = json.loads((path / 'model.json').read_text())['size']
  except (OSError, ValueError, KeyError) as e:
    raise errors.InputError(
      f'{path}: not a model folder, model.json is missing or damaged ({e})'
    ) from e
  return load_tree(path / 'params'), decoder.Size(**size)


def save_tree(path, tree) -> None:
  """Atomic: Orbax renames a finished folder into place."""
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(
      epath.Path(path).absolute(), jax.tree.map(np.asarray, tree), force=True
    )


def load_tree(path, like=None):
  """The tree as NumPy arrays; `like` gives its structure back (NamedTuples)."""
  with ocp.StandardCheckpointer() as checkpointer:
    path = epath.Path(path).absolute()
    if like is None:
      shapes = checkpointer.metadata(path).item_metadata
      like = jax.tree.map(lambda m: np.zeros(m.shape, m.dtype), shapes.tree)
    else:
      like = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    return checkpointer.restore(path, like)


def count(params) -> int:
  """Number of parameters."""
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))
