"""Vectors of texts on disk, looked up by the content of the text.

A folder holds pairs of files, NAME.vectors.npy and NAME.names.npy, whose rows
belong together. Each appears whole and is never changed, the names last: what
has no names does not count. NAME follows from the texts, so that several
processes may add to one folder. Only the names are in memory, 24 bytes each.
"""

import hashlib
import os
import uuid
from collections.abc import Sequence

import numpy as np
from etils import epath

from restpg_jax import errors, folders, pulse, storage

HASH = 16  # bytes
# As texts of one length, which NumPy orders and compares by all their bytes;
# bytes without a type (V16) it does not sort.
NAME = np.dtype(f'S{HASH}')


def name(text: str) -> bytes:
  """Returns the key of a text's vector: HASH bytes of its content."""
  # Texts from JSON may hold half of a surrogate pair.
  content = text.encode('utf-8', 'surrogatepass')
  return hashlib.blake2b(content, digest_size=HASH).digest()


class Vectors:
  """The vectors of one encoder."""

  def __init__(self, folder: epath.PathLike):
    self._folder = epath.Path(folder)
    self._folder.mkdir(parents=True, exist_ok=True)
    paths = folders.matching(self._folder, '*.names.npy')
    self._files = [path.name.removesuffix('.names.npy') for path in paths]
    self._index([_read(path) for path in paths])

  def has(self, keys: Sequence[bytes]) -> np.ndarray:
    """Returns for each key whether its vector is there, [N] bool."""
    return self._search(_names(keys))[1]

  def get(self, keys: Sequence[bytes]) -> np.ndarray:
    """Returns the vectors of these keys, [N, D]; KeyError if one is missing."""
    at, there = self._search(_names(keys))
    if not there.all():
      raise KeyError(keys[int(there.argmin())])
    files, rows = self._file[at], self._row[at]
    vectors_ND = np.empty((len(keys), 0), np.float32)
    for file in np.unique(files):
      indices = np.flatnonzero(files == file)
      indices = indices[np.argsort(rows[indices])]  # in the order on disk
      path = self._folder / f'{self._files[file]}.vectors.npy'
      block = _read(path, mapped=True)[rows[indices]]
      if not vectors_ND.shape[1]:  # the first file says their width
        vectors_ND = np.empty((len(keys), block.shape[1]), block.dtype)
      vectors_ND[indices] = block
    return vectors_ND

  def add(self, keys: Sequence[bytes], vectors_ND: np.ndarray) -> None:
    """Adds the vectors of these texts, [N, D]; on disk when this returns."""
    # The same texts give the same name: written twice, they are one file.
    stem = hashlib.blake2b(b''.join(keys), digest_size=HASH).hexdigest()
    _write(self._folder / f'{stem}.vectors.npy', vectors_ND)
    _write(self._folder / f'{stem}.names.npy', _names(keys))
    pulse.saved()
    self._merge(_names(keys), len(self._files))
    self._files.append(stem)

  def _index(self, names: Sequence[np.ndarray]) -> None:
    """Sorts all names; keeps the file and the row of the first of each."""
    every = np.concatenate([np.empty(0, NAME), *names])
    self._names, first = np.unique(every, return_index=True)
    sizes = list(map(len, names))
    file = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    begin = np.cumsum([0, *sizes[:-1]])
    self._file = file[first]
    self._row = (first - begin[self._file]).astype(np.int32) if sizes else file

  def _merge(self, names: np.ndarray, file: int) -> None:
    """Adds a file to the index; a name that it knows stays where it is."""
    names, rows = np.unique(names, return_index=True)
    at, there = self._search(names)
    at, names, rows = (x[~there] for x in (at, names, rows))
    self._names = np.insert(self._names, at, names)
    self._file = np.insert(self._file, at, file)
    self._row = np.insert(self._row, at, rows)

  def _search(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each name's position in the index, and whether it is there."""
    at = np.searchsorted(self._names, names)
    if not len(self._names):
      return at, np.zeros(len(names), bool)
    return at, self._names[np.minimum(at, len(self._names) - 1)] == names


def _names(keys: Sequence[bytes]) -> np.ndarray:
  return np.frombuffer(b''.join(keys), NAME)


def _read(path: epath.Path, *, mapped: bool = False) -> np.ndarray:
  """Reads an array; if `mapped`, a local file's rows only when needed."""
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
