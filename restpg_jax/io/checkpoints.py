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


class Tree:
  """A tree on disk: its shapes now, each of its arrays when asked for.

  Names join the keys with '/', keys that hold one too: 'params/a', 'w' are
  'params/a/w'.
  """

  def __init__(self, path: epath.PathLike):
    """Raises InputError where Orbax finds no tree there."""
    self._path = epath.Path(path).absolute()
    self._orbax = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    try:
      with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.metadata(self._path).item_metadata.tree
    except Exception as e:  # Orbax's own, and those of what it stands on
      raise errors.InputError(
        f'{self._path}: no Orbax checkpoint ({errors.reason(e)}); {errors.CUT}'
      ) from e
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    self._keys = {
      '/'.join(str(key.key) for key in path): [key.key for key in path]
      for path, _ in found
    }
    self.shapes = {
      name: tuple(leaf.shape)
      for name, (_, leaf) in zip(self._keys, found, strict=True)
    }

  def read(self, name: str) -> np.ndarray:
    def alone(leaf):
      for key in self._keys[name][::-1]:
        leaf = {key: leaf}
      return leaf

    try:
      found = self._orbax.restore(
        self._path,
        args=ocp.args.PyTreeRestore(
          item=alone(0),
          restore_args=alone(ocp.RestoreArgs(restore_type=np.ndarray)),
          partial_restore=True,
        ),
      )
    except (ValueError, OSError) as e:  # TensorStore's
      raise errors.InputError(
        f'{self._path}: {name} cannot be read ({errors.reason(e)}); '
        f'{errors.CUT}'
      ) from e
    return jax.tree.leaves(found)[0]


def count(params) -> int:
  """Number of parameters."""
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))
