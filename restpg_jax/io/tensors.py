"""Files of tensors by safetensors: the one door to it. Nothing is unpickled.

A tensor is read when it is asked for; a shard is written when it is full.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from restpg_jax import errors, storage
from restpg_jax.io import foreign, ranges, records

WHOLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
DTYPES = tuple(ranges.DTYPES)
BLOCK = 1 << 24  # numbers that are compared at a time
DAMAGES = safetensors.SafetensorError, OSError, ValueError
SHARD = 2**30  # bytes that a shard may hold, unless one tensor is larger


class TensorReader:
  """The tensors of a folder: their shapes now, each of them when asked for."""

  def __init__(self, folder: epath.PathLike, ignored: str = ''):
    """Raises InputError for a damaged shard or one that is not there, and for
    two that hold different tensors of one name.

    Tensors whose name ends in `ignored` are left out, if that is not empty.
    """
    self._file = {}
    self._remote = {}  # their headers are read once
    self.shapes = {}
    for path in tensor_shards(epath.Path(folder)):
      with self._opened(path) as file:
        for name in file.keys():  # noqa: SIM118  a method of the library
          if ignored and name.endswith(ignored):
            continue
          part = file.get_slice(name)
          if part.get_dtype() not in DTYPES:
            raise errors.InputError(
              f'{path}: {name} is of type {part.get_dtype()}; quantised '
              f'weights are not read, bring those in {", ".join(DTYPES)}'
            )
          self._add(name, path, tuple(part.get_shape()))

  def _add(self, name: str, path: epath.Path, shape: tuple[int, ...]) -> None:
    old = self._file.get(name)
    before = old and (self.shapes[name], self._digest(name))
    self._file[name], self.shapes[name] = path, shape
    if old and before != (shape, self._digest(name)):
      raise errors.InputError(
        f'{path.parent}: {name} is one tensor in {old.name} and another in '
        f'{path.name}; remove the file that is out of date'
      )

  def _opened(self, path: epath.Path) -> Any:
    try:
      if not storage.remote(path):
        return safetensors.safe_open(os.fspath(path), 'np')
      if path not in self._remote:
        self._remote[path] = ranges.File(path)
      return self._remote[path]
    except DAMAGES as e:
      raise _damaged(path, e) from e

  def read(self, name: str) -> np.ndarray:
    path = self._file[name]
    with self._opened(path) as file:
      try:
        return file.get_tensor(name)
      except DAMAGES as e:
        raise _damaged(path, e) from e

  def equal(self, one: str, other: str) -> bool:
    """Whether two tensors hold the same numbers, maybe in other types."""
    if self.shapes[one] != self.shapes[other]:
      return False
    return self._digest(one) == self._digest(other)

  def _digest(self, name: str) -> bytes:
    """Of the numbers, so that two tensors are not in memory at a time."""
    x, digest = self.read(name).reshape(-1), hashlib.sha256()
    for n in range(0, len(x), BLOCK):
      digest.update(x[n : n + BLOCK].astype(np.float32) + np.float32(0))
    return digest.digest()


def write_tensors(
  folder: epath.PathLike,
  tensors: Iterable[tuple[str, np.ndarray]],
  shard: int = SHARD,
) -> int:
  """model.safetensors, or shards of so many bytes with their index; the bytes.

  In memory at a time: one shard and one tensor.
  """
  folder = epath.Path(folder)
  parts, waiting, total, place = [], {}, 0, {}

  def flush():
    path = folder / f'{len(parts)}.safetensors'
    path.touch()
    mode = os.stat(path).st_mode  # the library writes for the owner alone
    safetensors.numpy.save_file(waiting, path, {'format': 'pt'})
    os.chmod(path, mode)
    _on_disk(path)
    place.update(dict.fromkeys(waiting, len(parts)))
    parts.append(path)
    waiting.clear()

  for name, x in tensors:
    if waiting and sum(y.nbytes for y in waiting.values()) + x.nbytes > shard:
      flush()
    waiting[name] = np.ascontiguousarray(x)
    total += x.nbytes
  flush()
  if len(parts) == 1:
    parts[0].rename(folder / WHOLE)
    return total
  names = [
    f'model-{n:05d}-of-{len(parts):05d}.safetensors'
    for n in range(1, len(parts) + 1)
  ]
  for path, name in zip(parts, names, strict=True):
    path.rename(folder / name)
  weight_map = {name: names[n] for name, n in place.items()}
  records.write_json(
    folder / INDEX,
    {'metadata': {'total_size': total}, 'weight_map': weight_map},
  )
  return total


def tensor_shards(folder: epath.Path) -> list[epath.Path]:
  """What is read of a folder, as transformers takes it: model.safetensors, else
  the shards of the index, else whatever there is."""
  names = {path.name for path in folder.iterdir()}
  if any(name.startswith('adapter_model.') for name in names):
    raise errors.InputError(f'{folder}: {foreign.adapter(names)}')
  if WHOLE in names:
    if INDEX in names:
      errors.warn_once(
        f'{folder}: {WHOLE} is read, {INDEX} and its shards are not'
      )
    return [folder / WHOLE]
  if INDEX in names:
    return _indexed(folder)
  return [folder / n for n in sorted(names) if n.endswith('.safetensors')]


def tensor_files(folder: epath.PathLike) -> list[epath.Path]:
  """What a Reader reads of a folder: tensors and the index it goes by."""
  folder = epath.Path(folder)
  found = tensor_shards(folder)
  by_index = not any(p.name == WHOLE for p in found)
  return [p for p in [folder / INDEX] if by_index and p.exists()] + found


def _indexed(folder: epath.Path) -> list[epath.Path]:
  try:
    names = set(json.loads((folder / INDEX).read_text())['weight_map'].values())
    missing = sorted(n for n in names if not (folder / n).is_file())
  except (ValueError, KeyError, TypeError, AttributeError) as e:
    raise errors.InputError(
      f'{folder / INDEX}: damaged ({e!r}); {errors.CUT}'
    ) from e
  if missing:
    raise errors.InputError(
      f'{folder}: {len(missing)} of {len(names)} shards are missing: '
      f'{", ".join(missing[:10])}; copy or download them too'
    )
  return [folder / name for name in sorted(names)]


def _damaged(path: epath.Path, error: Exception) -> errors.InputError:
  with path.open('rb') as file:
    if foreign.pointer(file.read(len(foreign.LFS))):
      return errors.InputError(f'{path}: {foreign.POINTER}')
  return errors.InputError(
    f'{path}: no whole safetensors file ({errors.detail(error)}); {errors.CUT}'
  )


def _on_disk(path: epath.Path) -> None:
  with path.open('rb') as file:
    os.fsync(file.fileno())
