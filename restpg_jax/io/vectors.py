"""Vectors of texts on disk, found again by the content of the text.

A folder of files NAME.npz; each appears whole, holds the vectors that were made
together, and is never changed. Its name follows from their texts, so that
several processes may add to one folder.
"""

import hashlib
import io
import uuid
from collections.abc import Sequence

import numpy as np
from etils import epath

HASH = 16  # bytes


def name(text: str) -> bytes:
  """What a text's vector is found by."""
  whole = text.encode('utf-8', 'surrogatepass')
  return hashlib.blake2b(whole, digest_size=HASH).digest()


class Vectors:
  """Those of one encoder."""

  def __init__(self, folder: epath.PathLike):
    self._folder = epath.Path(folder)
    self._folder.mkdir(parents=True, exist_ok=True)
    self._place = {}  # name -> (file, row)
    self._opened = (None, None)  # the last file that was read
    for path in sorted(self._folder.glob('*.npz')):
      self._note(path, _read(path)['names'])

  def __contains__(self, key: bytes) -> bool:
    return key in self._place

  def get(self, keys: Sequence[bytes]) -> np.ndarray:
    """Their vectors, [N, D]; all of them must be there."""
    places = [self._place[key] for key in keys]
    order = sorted(range(len(keys)), key=lambda n: places[n])
    rows = {n: self._vectors(places[n][0])[places[n][1]].copy() for n in order}
    return np.stack([rows[n] for n in range(len(keys))])

  def add(self, keys: Sequence[bytes], vectors_ND: np.ndarray) -> None:
    """On disk when this returns."""
    of_all = hashlib.blake2b(b''.join(keys), digest_size=HASH).hexdigest()
    path = self._folder / f'{of_all}.npz'
    content = io.BytesIO()
    names = np.frombuffer(b''.join(keys), np.uint8).reshape(-1, HASH)
    np.savez(content, names=names, vectors=vectors_ND)
    new = self._folder / f'{of_all}.{uuid.uuid4().hex}.tmp'
    new.write_bytes(content.getvalue())
    new.replace(path)
    self._note(path, names)

  def _note(self, path: epath.Path, names: np.ndarray) -> None:
    for row, key in enumerate(names):
      self._place.setdefault(key.tobytes(), (path, row))

  def _vectors(self, path: epath.Path) -> np.ndarray:
    if self._opened[0] != path:
      self._opened = path, _read(path)['vectors']
    return self._opened[1]


def _read(path: epath.Path):
  return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
