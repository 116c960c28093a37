"""A bucket on the local disk, behind epath's own backend for TensorFlow.

Real are epath's backend and TensorFlow's file objects (tf.io.gfile), which
have no readline(size), readinto, fileno or `closed`. Of an object store are:
nothing is appended to, an object appears when its file is closed, no folder is
needed for it, names of folders end in '/', a folder is not renamed at once.

Orbax's TensorStore cannot see this bucket: its paths are mapped here, so its
own way to gs:// is not tested.
"""

import functools
import os
import pathlib
import shutil
import uuid

import pytest
from etils import epath
from etils.epath import backend, gpath

SCHEME = 'gs://'


class Bucket:
  """Stands for tf.io.gfile; gs://bucket/x is ROOT/bucket/x."""

  def __init__(self, root: pathlib.Path):
    import tensorflow as tf

    self.root, self.tf = root, tf
    self.reads = []  # (path, bytes) of each read
    self.writes = []  # path of each object that was put

  def local(self, path: epath.PathLike) -> str:
    path = os.fspath(path)
    if not path.startswith(SCHEME):
      return path
    return os.path.join(self.root, path.removeprefix(SCHEME)).rstrip('/')

  def _remote(self, path: str) -> str:
    return SCHEME + os.path.relpath(path, self.root)

  def GFile(self, path, mode):  # noqa: N802, its name in TensorFlow
    if not os.fspath(path).startswith(SCHEME):
      return self.tf.io.gfile.GFile(path, mode)
    if 'r' in mode:
      return self._read(os.fspath(path), mode)
    if 'a' in mode:
      raise AssertionError(f'{path}: an append rewrites the whole object')
    return self._put(os.fspath(path), mode)

  def _read(self, path, mode):
    bucket = self

    class Read(self.tf.io.gfile.GFile):
      def read(self, n=-1):
        data = super().read(n)
        bucket.reads.append((path, len(data)))
        return data

    return Read(self.local(path), mode)

  def _put(self, path, mode):
    bucket, part = self, self.root / uuid.uuid4().hex

    class Put(self.tf.io.gfile.GFile):
      def close(self):
        super().close()
        if part.exists():  # nothing written: no object
          to = bucket.local(path)
          os.makedirs(os.path.dirname(to), exist_ok=True)
          os.replace(part, to)
          bucket.writes.append(path)

    return Put(os.fspath(part), mode)

  def exists(self, path):
    return self.tf.io.gfile.exists(self.local(path))

  def isdir(self, path):
    return self.tf.io.gfile.isdir(self.local(path))

  def listdir(self, path):
    local = self.local(path)
    names = self.tf.io.gfile.listdir(local)
    return [
      f'{name}/' if os.path.isdir(os.path.join(local, name)) else name
      for name in names
    ]

  def glob(self, pattern):
    return list(map(self._remote, self.tf.io.gfile.glob(self.local(pattern))))

  def walk(self, top, **how):
    for folder, folders, files in self.tf.io.gfile.walk(self.local(top), **how):
      yield self._remote(folder), folders, files

  def makedirs(self, path):
    self.tf.io.gfile.makedirs(self.local(path))

  def mkdir(self, path):
    self.tf.io.gfile.makedirs(self.local(path))

  def rmtree(self, path):
    self.tf.io.gfile.rmtree(self.local(path))

  def remove(self, path):
    self.tf.io.gfile.remove(self.local(path))

  def rename(self, path, to, overwrite=False):
    if os.path.isdir(self.local(path)):
      raise AssertionError(f'{path}: folders are renamed object by object')
    self.tf.io.gfile.rename(self.local(path), self.local(to), overwrite)

  def copy(self, path, to, overwrite=False):
    self.tf.io.gfile.copy(self.local(path), self.local(to), overwrite)

  def stat(self, path):
    return self.tf.io.gfile.stat(self.local(path))


class Backend(backend._TfBackend):
  """epath's, over a bucket."""

  def __init__(self, gfile: Bucket):
    self._gfile = gfile

  @property
  def gfile(self):
    return self._gfile


@pytest.fixture
def bucket(tmp_path_factory, monkeypatch) -> Bucket:
  """gs://.. is a folder; bucket.local('gs://b/x') is a file of it."""
  pytest.importorskip('tensorflow')
  import orbax.checkpoint as ocp  # seconds, which most tests need not wait

  made = Bucket(tmp_path_factory.mktemp('buckets'))
  epaths = Backend(made)
  monkeypatch.setattr(backend, 'tf_backend', epaths)
  monkeypatch.setattr(gpath, '_GCS_BACKENDS', gpath._GCS_BACKENDS | {epaths})
  for kind in (ocp.Checkpointer, ocp.AsyncCheckpointer):
    for name in ('save', 'restore', 'metadata'):
      if name in vars(kind):
        called = _mapped(vars(kind)[name], made)
        monkeypatch.setattr(kind, name, called)
  return made


def _mapped(method, made: Bucket):
  @functools.wraps(method)
  def on_disk(self, directory, *args, **kwargs):
    return method(self, epath.Path(made.local(directory)), *args, **kwargs)

  return on_disk


def upload(made: Bucket, folder: pathlib.Path, to: str) -> None:
  """Copies a local folder into the bucket."""
  shutil.copytree(folder, made.local(to), dirs_exist_ok=True)
