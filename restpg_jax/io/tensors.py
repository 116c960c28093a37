"""Files of tensors by safetensors: the one door to it. Nothing is unpickled.

A tensor is read when it is asked for; a shard is written when it is full.
"""

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from restpg_jax import errors
from restpg_jax.io import records

INDEX = 'model.safetensors.index.json'
DTYPES = ('F64', 'F32', 'F16', 'BF16')
SHARD = 2**30  # bytes that a shard may hold, unless one tensor is larger


class Reader:
  """The tensors of a folder: their shapes now, each of them when asked for."""

  def __init__(self, folder: epath.PathLike, ignored: str = ''):
    """Raises InputError for a damaged shard or one that is not there.

    Tensors whose name ends in `ignored` are left out, if that is not empty.
    """
    self._file = {}
    self.shapes = {}
    for path in _files(epath.Path(folder)):
      with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118  a method of the library
          if ignored and name.endswith(ignored):
            continue
          part = file.get_slice(name)
          if part.get_dtype() not in DTYPES:
            raise errors.InputError(
              f'{path}: {name} is of type {part.get_dtype()}; quantised '
              f'weights are not read, bring those in {", ".join(DTYPES)}'
            )
          self._file[name] = path
          self.shapes[name] = tuple(part.get_shape())

  def read(self, name: str) -> np.ndarray:
    with _opened(self._file[name]) as file:
      return file.get_tensor(name)


def write(
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
    safetensors.numpy.save_file(waiting, path, {'format': 'pt'})
    os.chmod(path, 0o644)  # the library writes for the owner alone
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
    parts[0].rename(folder / 'model.safetensors')
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


def _files(folder: epath.Path) -> list[epath.Path]:
  if '://' in os.fspath(folder):
    raise errors.InputError(
      f'{folder}: safetensors are read from local disks only; copy it to one'
    )
  if not (folder / INDEX).exists():
    return sorted(folder.glob('*.safetensors'))
  try:
    names = set(json.loads((folder / INDEX).read_text())['weight_map'].values())
  except (ValueError, KeyError, TypeError, AttributeError) as e:
    raise errors.InputError(
      f'{folder / INDEX}: damaged ({e!r}); {errors.CUT}'
    ) from e
  missing = sorted(n for n in names if not (folder / n).is_file())
  if missing:
    raise errors.InputError(
      f'{folder}: {len(missing)} of {len(names)} shards are missing: '
      f'{", ".join(missing[:10])}; copy or download them too'
    )
  return [folder / name for name in sorted(names)]


def _opened(path: epath.Path) -> Any:
  try:
    return safetensors.safe_open(os.fspath(path), 'np')
  except (safetensors.SafetensorError, OSError) as e:
    raise errors.InputError(
      f'{path}: no whole safetensors file ({errors.reason(e)}); {errors.CUT}'
    ) from e


def _on_disk(path: epath.Path) -> None:
  with path.open('rb') as file:
    os.fsync(file.fileno())
