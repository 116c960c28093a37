"""Models and training states on disk, written by Orbax: its one door.

A model is a folder: `model.json` (its size and what made it) and `params`.
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from restpg_jax import errors, folders, pulse, storage
from restpg_jax.io import shapes, sums
from restpg_jax.models import size as sizes

Tree = Any  # nested dicts, lists and NamedTuples of arrays
# What Orbax notes beside the folders of a tree, in any of its versions.
NOTES = re.compile(
  r'_[A-Za-z]\w+|checkpoint|manifest\.ocdbt|commit_success\.txt'
)
# Orbax logs the traceback of what it then raises: it would be shown twice.
logging.getLogger('absl').addFilter(lambda record: not record.exc_info)


class Literal(type(epath.Path())):
  """A path whose `glob`, which Orbax calls, takes its own name literally."""

  def glob(self, pattern: str) -> Iterator[epath.Path]:
    yield from folders.matching(self, pattern)


def orbax_path(path: epath.PathLike) -> epath.Path:
  """Returns the path in the form that Orbax is given.

  Raises InputError for what TensorStore, which writes for Orbax, takes for
  another path: to it a backslash is a slash.
  """
  absolute = storage.absolute(path)
  name = os.fspath(absolute)
  if '\\' in name or not _is_utf8(name):
    raise errors.InputError(
      f'{name}: checkpoints can be neither kept nor read in a folder whose '
      'path has a backslash or is no UTF-8; give one of another name'
    )
  return absolute if storage.remote(absolute) else Literal(absolute)


def _is_utf8(name: str) -> bool:
  try:
    name.encode()
  except UnicodeEncodeError:  # how Python shows bytes that it cannot decode
    return False
  return True


def save_model(
  path: epath.PathLike, params: Tree, size: sizes.Size, **origin: Any
) -> None:
  """Writes a model folder; `model.json`, which appears last, notes `origin`."""
  path = epath.Path(path)
  path.mkdir(parents=True, exist_ok=True)
  save_tree(path / 'params', params)
  _describe(path, size, origin)


def _describe(
  path: epath.Path, size: sizes.Size, origin: dict[str, Any]
) -> None:
  text = json.dumps({'size': size.described()} | origin, indent=1)
  partial = path / 'model.json.partial'
  partial.write_text(text + '\n')
  partial.replace(path / 'model.json')


def restore_model(
  path: epath.PathLike,
) -> tuple[dict[str, Any], sizes.Size]:
  """Returns (float32 parameters on the host, size) of a model folder.

  Raises InputError where it is none.
  """
  path = epath.Path(path)
  try:
    size = json.loads((path / 'model.json').read_text())['size']
  except (OSError, ValueError, KeyError) as e:
    raise errors.InputError(
      f'{path}: not a model folder, model.json is missing or damaged ({e})'
    ) from e
  return load_tree(path / 'params'), sizes.Size(**size)


def save_tree(path: epath.PathLike, tree: Tree) -> None:
  """Writes a tree whole: Orbax renames a finished folder into place."""
  with _alone() as checkpointer:
    checkpointer.save(
      orbax_path(path),
      jax.tree.map(lambda x: np.asarray(x).view(_Settled), tree),
      force=True,
    )


class _Settled(np.ndarray):
  """An array that nobody changes while it is written.

  Orbax copies what is on the host, because somebody might: all weights would
  be in memory once more.
  """

  def __deepcopy__(self, memo: dict[int, Any] | None) -> '_Settled':
    return self


def load_tree(path: epath.PathLike, like: Tree | None = None) -> Tree:
  """Reads a tree as NumPy arrays, on the host.

  `like`, a tree of arrays or of their shapes, gives the structure that Orbax
  does not keep (NamedTuples). Raises InputError where names or shapes differ.
  """
  path = orbax_path(path)
  with _alone() as checkpointer:
    abstract = _metadata(checkpointer, path)
    if like is not None:
      wrong = shapes.differences(_named(abstract), _named(like))
      if wrong:
        raise errors.InputError(
          f'{path}: it is the checkpoint of another shape: '
          f'{shapes.listed(wrong)}'
        )
      abstract = like
    zeros = jax.tree.map(_without_memory, abstract)
    return checkpointer.restore(path, zeros)


def _without_memory(x: Any) -> np.ndarray:
  """Returns an array of that shape and dtype that takes one number's memory.

  Orbax restores as a NumPy array what is described by one.
  """
  return np.broadcast_to(np.zeros((), x.dtype), x.shape)


def _metadata(checkpointer: ocp.StandardCheckpointer, path: epath.Path) -> Tree:
  """Returns the tree with a shape and a dtype for each array."""
  try:
    # None where there is no tree: caught below, as the rest is.
    item: Any = checkpointer.metadata(path).item_metadata
    return item.tree
  except Exception as e:  # Orbax's own, and those of what it stands on
    raise errors.InputError(
      f'{path}: no Orbax checkpoint ({errors.detail(e)}); {errors.CUT}'
    ) from e


def _named(tree: Tree) -> dict[str, tuple[int, ...]]:
  """Returns '1/mu/w' -> its shape; NamedTuples' fields go by their names."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): tuple(x.shape)
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]
  }


def _only_this() -> ocp.options.MultiprocessingOptions:
  """Returns the options for what one process writes or reads by itself."""
  if jax.process_count() == 1:
    return ocp.options.MultiprocessingOptions()
  number = jax.process_index()
  return ocp.options.MultiprocessingOptions(
    primary_host=number,
    active_processes={number},
    barrier_sync_key_prefix=f'alone{number}',
  )


def _checkpointer(
  options: ocp.options.MultiprocessingOptions,
) -> ocp.StandardCheckpointer:
  """Returns what creates a folder before it writes into it.

  Left to itself, Orbax creates it in the background and tells the processes by
  a signal that has the number of this save. Each process counts its own saves:
  after one has saved by itself, another waits for a signal of another number.
  """
  return ocp.StandardCheckpointer(
    async_options=ocp.options.AsyncOptions(
      create_directories_asynchronously=False
    ),
    multiprocessing_options=options,
  )


def _alone() -> ocp.StandardCheckpointer:
  return _checkpointer(_only_this())


def _together(name: str) -> ocp.StandardCheckpointer:
  """Returns what all processes write with, each its own parts.

  They are named one by one so that Orbax meets at the runtime's barriers, which
  are bounded; otherwise it would run a collective of the devices, beside those
  of training. `name` keeps apart what is written at the same time.
  """
  options = ocp.options.MultiprocessingOptions()
  if jax.process_count() > 1:
    options = ocp.options.MultiprocessingOptions(
      active_processes=set(range(jax.process_count())),
      barrier_sync_key_prefix=name,
    )
  return _checkpointer(options)


class Saver:
  """Writes training states to disk while training goes on, all processes
  together.

  At most one at a time: the next waits until it is whole. On leaving, also by
  an interrupt, the last one is finished; errors of the disk are raised there
  or by the next `save`.
  """

  def __init__(self):
    # One writes one item at a time: params and the rest go side by side.
    self._params, self._rest = _together('params'), _together('rest')
    self._pool = futures.ThreadPoolExecutor(1)
    self._last: futures.Future[None] | None = None

  def save(
    self,
    folder: epath.PathLike,
    params: Tree,
    rest: Tree,
    size: sizes.Size,
    **origin: Any,
  ) -> None:
    """Writes folder/model, folder/optimizer and checksums of their files;
    model.json appears last.

    Returns when the arrays are copied from their devices, so that the next
    step may overwrite them.
    """
    self.wait()
    when = pulse.busy()
    folder = orbax_path(folder)
    model = folder / 'model'
    model.mkdir(parents=True, exist_ok=True)
    self._params.save(model / 'params', params, force=True)
    self._rest.save(folder / 'optimizer', rest, force=True)
    self._last = self._pool.submit(self._finish, model, size, origin, when)

  def _finish(
    self,
    model: epath.Path,
    size: sizes.Size,
    origin: dict[str, Any],
    when: float,
  ) -> None:
    self._rest.wait_until_finished()
    self._params.wait_until_finished()
    if jax.process_index() == 0:
      sums.note(model.parent)
      _describe(model, size, origin)
    pulse.saved(when)

  def wait(self) -> None:
    """Returns when the last state is whole on disk."""
    if self._last:
      self._last.result()

  def __enter__(self) -> 'Saver':
    return self

  def __exit__(self, *exception: object) -> None:
    try:
      self.wait()
    finally:
      self._pool.shutdown()
      self._params.close()
      self._rest.close()


def tree_files(path: epath.Path) -> list[epath.Path]:
  """Returns the files and folders in which Orbax keeps a tree."""
  return [
    inner
    for inner in path.iterdir()
    if NOTES.fullmatch(inner.name)
    or (inner.is_dir() and inner.name[0] not in '._')
  ]


class CheckpointTree:
  """A tree on disk: its shapes are read now, each array when it is needed.

  Names join the keys with '/', also keys that have one: the keys 'params/a'
  and 'w' are the name 'params/a/w'.
  """

  def __init__(self, path: epath.PathLike):
    """Raises InputError where Orbax finds no tree there."""
    self._path = orbax_path(path)
    self._orbax = ocp.Checkpointer(
      ocp.PyTreeCheckpointHandler(multiprocessing_options=_only_this()),
      multiprocessing_options=_only_this(),
    )
    with _alone() as checkpointer:
      tree = _metadata(checkpointer, self._path)
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    self._keys = {
      '/'.join(str(key.key) for key in path): [key.key for key in path]
      for path, _ in leaves
    }
    self.shapes = {
      name: tuple(leaf.shape)
      for name, (_, leaf) in zip(self._keys, leaves, strict=True)
    }

  def read(self, name: str) -> np.ndarray:
    """Reads one array; raises InputError where that fails."""

    def alone(leaf: Any) -> dict[str, Any]:
      """The tree of this array only: Orbax then reads nothing else."""
      for key in self._keys[name][::-1]:
        leaf = {key: leaf}
      return leaf

    try:
      restored = self._orbax.restore(
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
    return jax.tree.leaves(restored)[0]


def count_parameters(params: Tree) -> int:
  """Returns the number of parameters."""
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))
