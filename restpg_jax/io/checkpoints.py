"""Models and training states on disk, by Orbax: the one door to it.

A model is a folder: `model.json` (its size and what made it) and `params`.
"""

import dataclasses
import json
import logging
import os
import re
from collections.abc import Iterator
from concurrent import futures

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from restpg_jax import errors, folders, storage
from restpg_jax.io import shapes
from restpg_jax.models import decoder

# Beside the folders of a tree: what Orbax notes there, at any version.
NOTES = re.compile(
  r'_[A-Za-z]\w+|checkpoint|manifest\.ocdbt|commit_success\.txt'
)
# Orbax logs the traceback of what it then raises.
logging.getLogger('absl').addFilter(lambda record: not record.exc_info)


class Literal(type(epath.Path())):
  """A path whose `glob`, which Orbax calls, takes its own name as it is."""

  def glob(self, pattern: str) -> Iterator['Literal']:
    yield from folders.matching(self, pattern)


def orbax_path(path: epath.PathLike) -> epath.Path:
  """As Orbax is given it. Raises InputError for what TensorStore, which writes
  for it, takes for another path: a backslash is a slash to it."""
  found = storage.absolute(path)
  name = os.fspath(found)
  if '\\' in name or not _is_utf8(name):
    raise errors.InputError(
      f'{name}: checkpoints can be neither kept nor read in a folder whose '
      'path has a backslash or is no UTF-8; give one of another name'
    )
  return found if storage.remote(found) else Literal(found)


def _is_utf8(name: str) -> bool:
  try:
    name.encode()
  except UnicodeEncodeError:  # how Python shows bytes that it cannot decode
    return False
  return True


def save_model(path, params, size: decoder.Size, **made) -> None:
  """Writes the folder whole: `model.json` appears last."""
  path = epath.Path(path)
  path.mkdir(parents=True, exist_ok=True)
  save_tree(path / 'params', params)
  _describe(path, size, made)


def _describe(path: epath.Path, size: decoder.Size, made: dict) -> None:
  text = json.dumps({'size': dataclasses.asdict(size)} | made, indent=1)
  partial = path / 'model.json.partial'
  partial.write_text(text + '\n')
  partial.replace(path / 'model.json')


def restore_model(path) -> tuple[dict, decoder.Size]:
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
      orbax_path(path),
      jax.tree.map(lambda x: np.asarray(x).view(_Settled), tree),
      force=True,
    )


class _Settled(np.ndarray):
  """An array that nobody changes while it is written.

  Orbax copies what is on the host, for somebody might: all weights once more.
  """

  def __deepcopy__(self, memo):
    return self


def load_tree(path, like=None):
  """The tree as NumPy arrays; `like` gives its structure back (NamedTuples).

  Raises InputError where the tree is not one like that.
  """
  path = orbax_path(path)
  with ocp.StandardCheckpointer() as checkpointer:
    found = _metadata(checkpointer, path)
    if like is not None:
      wrong = shapes.differences(_named(found), _named(like))
      if wrong:
        raise errors.InputError(
          f'{path}: it is the checkpoint of another shape: '
          f'{shapes.listed(wrong)}'
        )
      found = like
    zeros = jax.tree.map(_without_memory, found)
    return checkpointer.restore(path, zeros)


def _without_memory(x) -> np.ndarray:
  """An array of such a shape and dtype, to be restored as one of NumPy."""
  return np.broadcast_to(np.zeros((), x.dtype), x.shape)


def _metadata(checkpointer: ocp.StandardCheckpointer, path: epath.Path):
  """The tree with a shape and a dtype for each array."""
  try:
    return checkpointer.metadata(path).item_metadata.tree
  except Exception as e:  # Orbax's own, and those of what it stands on
    raise errors.InputError(
      f'{path}: no Orbax checkpoint ({errors.detail(e)}); {errors.CUT}'
    ) from e


def _named(tree) -> dict[str, tuple[int, ...]]:
  """'1/mu/w' -> its shape; fields of a NamedTuple go by their names."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): tuple(x.shape)
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]
  }


class Saver:
  """Training states on their way to the disk while training goes on.

  At most one: the next waits until it is whole. On leaving, also by an
  interrupt, the last is finished; errors of the disk are raised there or by
  the next `save`.
  """

  def __init__(self):
    self._params = ocp.StandardCheckpointer()
    self._rest = ocp.StandardCheckpointer()
    self._pool = futures.ThreadPoolExecutor(1)
    self._last = None

  def save(self, folder, params, rest, size: decoder.Size, **made) -> None:
    """folder/model and, beside it, folder/optimizer; model.json comes last.

    Returns when the arrays are copied from their devices.
    """
    self.wait()
    folder = orbax_path(folder)
    model = folder / 'model'
    model.mkdir(parents=True, exist_ok=True)
    self._params.save(model / 'params', params, force=True)
    self._rest.save(folder / 'optimizer', rest, force=True)
    self._last = self._pool.submit(self._finish, model, size, made)

  def _finish(self, model, size, made) -> None:
    self._rest.wait_until_finished()
    self._params.wait_until_finished()
    _describe(model, size, made)

  def wait(self) -> None:
    if self._last:
      self._last.result()

  def __enter__(self) -> 'Saver':
    return self

  def __exit__(self, *exception) -> None:
    try:
      self.wait()
    finally:
      self._pool.shutdown()
      self._params.close()
      self._rest.close()


def tree_files(path: epath.Path) -> list[epath.Path]:
  """The files and folders in which Orbax keeps a tree."""
  return [
    inner
    for inner in path.iterdir()
    if NOTES.fullmatch(inner.name)
    or (inner.is_dir() and inner.name[0] not in '._')
  ]


class CheckpointTree:
  """A tree on disk: its shapes now, each of its arrays when asked for.

  Names join the keys with '/', keys that hold one too: 'params/a', 'w' are
  'params/a/w'.
  """

  def __init__(self, path: epath.PathLike):
    """Raises InputError where Orbax finds no tree there."""
    self._path = orbax_path(path)
    self._orbax = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    with ocp.StandardCheckpointer() as checkpointer:
      tree = _metadata(checkpointer, self._path)
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
        f'{self._path}: {name} cannot be read ({errors.detail(e)}); '
        f'{errors.CUT}'
      ) from e
    return jax.tree.leaves(found)[0]


def count_parameters(params) -> int:
  """Number of parameters."""
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))
