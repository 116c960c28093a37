"""Files of tensors by safetensors: its one door. Nothing is unpickled.

A tensor is read when it is needed; a shard is written when it is full.
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
# NumPy has no such types and so the library does not read them into it.
EIGHT_BITS = 'F8_E4M3', 'F8_E5M2'
# Ends of the names of what float8 weights are multiplied by, where they are
# quantised and not merely rounded.
SCALES = '_scale', '_scale_inv', '.scale', '.scale_inv'
BLOCK = 1 << 24  # numbers that are compared at a time
DAMAGES = safetensors.SafetensorError, OSError, ValueError
SHARD = 2**30  # bytes that a shard may hold, unless one tensor is larger


class TensorReader:
  """The tensors of a folder: shapes are read now, each tensor when needed."""

  def __init__(self, folder: epath.PathLike, ignored: str = ''):
    """Reads the headers; tensors whose name ends in `ignored` are left out.

    Raises InputError for a damaged or missing shard, and for two that hold
    different tensors of one name.
    """
    self._file: dict[str, epath.Path] = {}
    # A bucket's headers are read once: each read is a request. Local files with
    # float8 are read by range, too, as the library does not.
    self._remote: dict[epath.Path, ranges.File] = {}
    self.shapes: dict[str, tuple[int, ...]] = {}
    self._eight_bits: set[str] = set()
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
          if part.get_dtype() in EIGHT_BITS:
            self._eight_bits.add(name)
          self._add(name, path, tuple(part.get_shape()))
    self._check_eight_bits(folder)

  def _check_eight_bits(self, folder: epath.PathLike) -> None:
    """Raises InputError for float8 weights that have scales; says of others
    that they are rounded."""
    if not self._eight_bits:
      return
    scales = [name for name in self.shapes if name.endswith(SCALES)]
    if scales:
      raise errors.InputError(
        f'{folder}: its float8 weights are quantised, by scales as '
        f'{scales[0]}, which are not read; bring those that they were made from'
      )
    errors.warn_once(
      f'{folder}: {len(self._eight_bits)} tensors are float8, numbers of 2 or '
      '3 bits behind the point; they are read as they are'
    )

  def _add(self, name: str, path: epath.Path, shape: tuple[int, ...]) -> None:
    """Some folders hold a tensor twice: that is no fault if both are equal."""
    old = self._file.get(name)
    before = old and (self.shapes[name], self._digest(name))
    self._file[name], self.shapes[name] = path, shape
    if old and before != (shape, self._digest(name)):
      raise errors.InputError(
        f'{path.parent}: {name} is one tensor in {old.name} and another in '
        f'{path.name}; remove the file that is out of date'
      )

  def _opened(self, path: epath.Path, *, eight_bits: bool = False) -> Any:
    try:
      if not storage.remote(path) and not eight_bits:
        return safetensors.safe_open(os.fspath(path), 'np')
      if path not in self._remote:
        self._remote[path] = ranges.File(path)
      return self._remote[path]
    except DAMAGES as e:
      raise _damaged(path, e) from e

  def read(self, name: str) -> np.ndarray:
    """Reads one tensor, in its own dtype; InputError where it is damaged."""
    path = self._file[name]
    with self._opened(path, eight_bits=name in self._eight_bits) as file:
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
    """Hashes the numbers: two tensors then need not be in memory together."""
    x, digest = self.read(name).reshape(-1), hashlib.sha256()
    for n in range(0, len(x), BLOCK):
      block = x[n : n + BLOCK].astype(np.float32)
      block += np.float32(0)  # -0 becomes 0, which it equals
      digest.update(block.data)
    return digest.digest()


def write_tensors(
  folder: epath.PathLike,
  tensors: Iterable[tuple[str, np.ndarray]],
  shard: int = SHARD,
) -> int:
  """Writes model.safetensors, or shards of `shard` bytes with their index.

  Returns the number of bytes of all tensors. In memory at a time are one shard
  and one tensor.
  """
  folder = epath.Path(folder)
  parts, total = [], 0
  waiting: dict[str, np.ndarray] = {}
  shard_of: dict[str, int] = {}  # tensor -> which of the parts has it

  def flush() -> None:
    # Names of shards say their number, which is known at the end.
    path = folder / f'{len(parts)}.safetensors'
    path.touch()
    mode = os.stat(path).st_mode  # the library writes for the owner alone
    # transformers has refused files that state no format.
    safetensors.numpy.save_file(waiting, path, {'format': 'pt'})
    os.chmod(path, mode)
    _on_disk(path)
    shard_of.update(dict.fromkeys(waiting, len(parts)))
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
  weight_map = {name: names[n] for name, n in shard_of.items()}
  records.write_json(
    folder / INDEX,
    {'metadata': {'total_size': total}, 'weight_map': weight_map},
  )
  return total


def tensor_shards(folder: epath.Path) -> list[epath.Path]:
  """Returns the files of a folder that hold its tensors.

  As transformers chooses them: model.safetensors, else the shards of the index,
  else all there are; the file of an adapter stands for itself. Raises
  InputError for a folder of adapters and for missing shards.
  """
  if folder.name == foreign.ADAPTER_MODEL:
    return [folder]
  names = {path.name for path in folder.iterdir()}
  if any(name.startswith('adapter_model.') for name in names):
    raise errors.InputError(
      f'{folder}: an adapter of PEFT (adapter_model.*), which is read for '
      'policy, reasoner and judge only; merge it with its base first'
    )
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
  """Returns the files that a TensorReader reads: tensors, and their index."""
  folder = epath.Path(folder)
  shards = tensor_shards(folder)
  by_index = not any(p.name == WHOLE for p in shards)
  return [p for p in [folder / INDEX] if by_index and p.exists()] + shards


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
