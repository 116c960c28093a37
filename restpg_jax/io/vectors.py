"""Vectors of texts on disk, found again by the content of the text.

A folder of pairs of files, NAME.vectors.npy and NAME.names.npy, whose rows
belong together. Each appears whole and is never changed, the names last: what
has no names does not count. NAME follows from the texts, so that several
processes may add to one folder. In memory are the names alone, 24 bytes each.
"""

import hashlib
import os
import uuid
from collections.abc import Sequence

import numpy as np
from etils import epath

from restpg_jax import errors, folders, storage

HASH = 16  # bytes
# As texts of one length, of which numpy's order and equality are that of all
# their bytes; bytes of no type (V16) it does not sort.
NAME = np.dtype(f'S{HASH}')


def name(text: str) -> bytes:
  """What a text's vector is found by."""
  whole = text.encode('utf-8', 'surrogatepass')
  return hashlib.blake2b(whole, digest_size=HASH).digest()


class Vectors:
  """Those of one encoder."""

  def __init__(self, folder: epath.PathLike):
    self._folder = epath.Path(folder)
    self._folder.mkdir(parents=True, exist_ok=True)
    paths = folders.matching(self._folder, '*.names.npy')
    self._files = [path.name.removesuffix('.names.npy') for path in paths]
    self._index([_read(path) for path in paths])

  def has(self, keys: Sequence[bytes]) -> np.ndarray:
    """[N] bool: whose vectors are there."""
    return self._found(_names(keys))[1]

  def get(self, keys: Sequence[bytes]) -> np.ndarray:
    """Their vectors, [N, D]; all of them must be there."""
    at, there = self._found(_names(keys))
    if not there.all():
      raise KeyError(keys[int(there.argmin())])
    files, rows = self._file[at], self._row[at]
    found_ND = None
    for file in np.unique(files):
      places = np.flatnonzero(files == file)
      places = places[np.argsort(rows[places])]  # as they lie on disk
      path = self._folder / f'{self._files[file]}.vectors.npy'
      some = _read(path, mapped=True)[rows[places]]
      if found_ND is None:
        found_ND = np.empty((len(keys), some.shape[1]), some.dtype)
      found_ND[places] = some
    return found_ND

  def add(self, keys: Sequence[bytes], vectors_ND: np.ndarray) -> None:
    """On disk when this returns."""
    of_all = hashlib.blake2b(b''.join(keys), digest_size=HASH).hexdigest()
    _write(self._folder / f'{of_all}.vectors.npy', vectors_ND)
    _write(self._folder / f'{of_all}.names.npy', _names(keys))
    self._merge(_names(keys), len(self._files))
    self._files.append(of_all)

  def _index(self, names: Sequence[np.ndarray]) -> None:
    """Sorted names; of each the file and the row of the first of that name."""
    every = np.concatenate([np.empty(0, NAME), *names])
    self._names, first = np.unique(every, return_index=True)
    sizes = list(map(len, names))
    file = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    begin = np.cumsum([0, *sizes[:-1]])
    self._file = file[first]
    self._row = (first - begin[self._file]).astype(np.int32) if sizes else file

  def _merge(self, names: np.ndarray, file: int) -> None:
    """The index with a file more; a name that it knows stays where it is."""
    names, rows = np.unique(names, return_index=True)
    at, there = self._found(names)
    at, names, rows = (x[~there] for x in (at, names, rows))
    self._names = np.insert(self._names, at, names)
    self._file = np.insert(self._file, at, file)
    self._row = np.insert(self._row, at, rows)

  def _found(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each is in the index or would be, and whether it is."""
    at = np.searchsorted(self._names, names)
    if not len(self._names):
      return at, np.zeros(len(names), bool)
    return at, self._names[np.minimum(at, len(self._names) - 1)] == names


def _names(keys: Sequence[bytes]) -> np.ndarray:
  return np.frombuffer(b''.join(keys), NAME)


def _read(path: epath.Path, *, mapped: bool = False) -> np.ndarray:
  """mapped: rows of a local file are read when they are asked for."""
  try:
    if mapped and not storage.remote(path):
      return np.load(os.fspath(path), mmap_mode='r')
    with storage.opened(path) as file:
      return np.load(file)
  except (OSError, ValueError, EOFError) as e:
    both = path.name.split('.')[0]
    raise errors.InputError(
      f'{path}: no whole file of vectors ({errors.detail(e)}); remove {both}.* '
      'there, and its texts are read again'
    ) from e


def _write(path: epath.Path, rows: np.ndarray) -> None:
  new = path.parent / f'{path.name}.{uuid.uuid4().hex}.tmp'
  with new.open('wb') as file:
    np.save(file, rows)
    storage.flush(file, new)
  new.replace(path)
