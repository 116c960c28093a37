"""Keeps compiled programs in a workdir: JAX's cache, with files of our own.

JAX's own files are written in place, so that a kill leaves half of one, which
every later run complains of and never mends; its limit of bytes needs a lock
that buckets and some network file systems lack; and of many processes only the
first writes, although the key of a program holds its devices, so that programs
which each process has for its own devices are compiled again in all others.
Files here appear whole, carry a checksum, and are written by whoever compiled.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import time
import uuid
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import jax
import numpy as np
from etils import epath
from jax._src import compilation_cache, compiler

from restpg_jax import errors, folders, storage

LIMIT = 8 * 2**30  # bytes of all programs; half of them once a run begins
OLD = 3600.0  # seconds after which a part of a file is what a kill left
DIGEST = hashlib.sha256().digest_size
SETTINGS = {
  'jax_persistent_cache_min_entry_size_bytes': -1,  # all sizes
  # XLA's autotuning cache of GPUs has its path in the key of every program: a
  # workdir that moves would find none. It cannot be in a bucket, either.
  'jax_persistent_cache_enable_xla_caches': 'none',
}
# Seconds of compiling that a file is worth: in a bucket each is a round trip.
WORTH = {False: 0.0, True: 0.5}
# What is put in place of JAX's own; none of it is public.
HOOKS = (
  (compilation_cache, 'get_file_cache'),
  (compilation_cache, 'get_cache_key'),
  (compiler, '_cache_write'),
)
# Of /proc/cpuinfo: what decides which instructions XLA writes for a CPU.
CPU = (
  *('vendor_id', 'cpu family', 'model', 'model name', 'stepping', 'flags'),
  *('CPU implementer', 'CPU architecture', 'CPU variant', 'CPU part'),
  'Features',
)


@contextlib.contextmanager
def programs_in(folder: epath.PathLike, enabled: bool = True) -> Iterator[None]:
  """Keeps all programs that are compiled inside in a folder, and finds them.

  Several processes may use it at once. Whatever goes wrong with a file is a
  warning, and the program is compiled. Does nothing where JAX has a cache
  already (JAX_COMPILATION_CACHE_DIR).
  """
  if not enabled or _setting('jax_compilation_cache_dir'):
    yield
    return
  if not all(hasattr(module, name) for module, name in HOOKS):
    errors.warn_once(
      f'JAX {jax.__version__} keeps its cache in another way than those that '
      'are tested: programs are compiled in every run'
    )
    yield
    return
  folder = storage.absolute(folder)
  trim(folder, LIMIT // 2)
  # XLA loads what was compiled for another CPU, and says that it may crash.
  programs = Programs(folder / machine())
  remote = storage.remote(folder)
  settings = SETTINGS | {
    'jax_compilation_cache_dir': os.fspath(programs.folder),
    'jax_persistent_cache_min_compile_time_secs': WORTH[remote],
  }
  before = {name: _setting(name) for name in settings}
  with contextlib.ExitStack() as stack:
    for name, value in settings.items():
      stack.callback(jax.config.update, name, before[name])
      jax.config.update(name, value)
    wrappers = programs.cache, programs.key, programs.write
    for (module, name), wrapper in zip(HOOKS, wrappers, strict=True):
      function = getattr(module, name)
      stack.callback(setattr, module, name, function)
      setattr(module, name, wrapper(function))
    stack.callback(compilation_cache.reset_cache)
    compilation_cache.reset_cache()
    yield


def _setting(name: str) -> Any:
  return getattr(jax.config, name)


class Programs:
  """The compiled programs of a folder, a file each: a checksum, then bytes.

  `get` and `put` are what JAX calls; it says how long a program took, and in
  which form it is.
  """

  def __init__(self, folder: epath.Path):
    self.folder = self._path = folder  # JAX logs `_path`
    self._read: set[str] = set()  # keys of programs that JAX was given
    self._local: set[str] = set()  # and of those for devices of this process
    self._left = LIMIT // 2  # bytes that may yet be written

  def get(self, key: str) -> bytes | None:
    """Returns the program of a key; None where there is none that is whole."""
    path = self.folder / key
    try:
      data = path.read_bytes()
    except FileNotFoundError:
      return None
    except Exception as error:  # of whatever store it is: a run goes on
      return self._warn('read', error)
    digest, program = data[:DIGEST], data[DIGEST:]
    self._read.add(key)
    if hashlib.sha256(program).digest() != digest:
      errors.warn_once(f'{path} is damaged: the program is compiled again')
      return None
    if not storage.remote(path):
      with contextlib.suppress(OSError):  # the file may be another user's
        os.utime(path)  # the last that is used is the last to be removed
    return program

  def put(self, key: str, program: bytes) -> None:
    """Writes a program, if it is missing or JAX could not use the file."""
    path = self.folder / key
    try:
      if self._left < len(program) or (path.exists() and key not in self._read):
        return
      path.parent.mkdir(parents=True, exist_ok=True)
      data = hashlib.sha256(program).digest() + program
      if storage.remote(path):
        path.write_bytes(data)  # appears when it is whole
      else:
        # Another process may write the same program at the same time.
        part = path.with_name(f'{uuid.uuid4().hex}.part')
        try:
          part.write_bytes(data)
          part.replace(path)
        finally:
          part.unlink(missing_ok=True)
      self._left -= len(data)
    except Exception as error:
      self._warn('written', error)
      self._left = 0

  def _warn(self, verb: str, error: Exception) -> None:
    text = getattr(error, 'strerror', None) or errors.detail(error)
    errors.warn_once(
      f'{self.folder}: a compiled program could not be {verb} ({text}); runs '
      'compile it each time'
    )

  def cache(self, _: Any) -> Callable[[str], tuple['Programs', str]]:
    """Returns what JAX is to call for its cache of a folder."""
    return lambda path: (self, path)

  def key(self, get_cache_key: Callable[..., str]) -> Callable[..., str]:
    """Returns JAX's function, made to note programs for own devices only."""

    def noted(
      module: Any, devices: np.ndarray, *rest: Any, **options: Any
    ) -> str:
      key = get_cache_key(module, devices, *rest, **options)
      if {d.process_index for d in devices.flat} == {jax.process_index()}:
        self._local.add(key)
      return key

    return noted

  def write(self, cache_write: Callable[..., None]) -> Callable[..., None]:
    """Returns JAX's function, made to write in processes other than 0, too.

    These write only programs for their own devices: of one for the devices of
    all, the first process writes the copy that all read. On CPUs the key holds
    the process as well, and none finds what another has written.
    """

    def written(
      key: str, seconds: float, name: str, backend: Any, executable: Any, *rest
    ) -> None:
      own = key in self._local or backend.platform == 'cpu'
      callbacks = any(rest)  # of the host, which no file can hold
      if not jax.process_index() or not own or callbacks:
        cache_write(key, seconds, name, backend, executable, *rest)
      elif seconds >= _setting('jax_persistent_cache_min_compile_time_secs'):
        try:
          compilation_cache.put_executable_and_time(
            key, name, executable, backend, int(seconds)
          )
        except Exception as error:  # as JAX does in process 0
          self._warn('written', error)

    return written


def machine(cpuinfo: str = '/proc/cpuinfo') -> str:
  """Returns the name of the folder for this CPU, JAX and kind of device.

  JAX's keys hold the versions and the device, but of a CPU not its kind.
  """
  try:
    first, *_ = pathlib.Path(cpuinfo).read_text('utf-8').split('\n\n')
    pairs = (line.partition(':') for line in first.splitlines())
    cpu = [value for name, _, value in pairs if name.strip() in CPU]
  except OSError:  # no Linux: a folder for each machine
    cpu = [platform.processor(), platform.platform(), platform.node()]
  jaxlib = metadata.version('jaxlib')
  text = '\n'.join([platform.machine(), jaxlib, *cpu])
  digest = hashlib.sha256(text.encode()).hexdigest()
  return f'{jax.default_backend()}-jax-{jax.__version__}-{digest[:12]}'


def trim(folder: epath.Path, limit: int) -> None:
  """Removes the files that were not used for longest, down to `limit` bytes.

  Nothing is removed in a bucket, which has its own rules for that.
  """
  if storage.remote(folder):
    return
  files = []
  for path in folders.matching(folder, '*/*'):
    with contextlib.suppress(OSError):  # another process has removed it
      stat = path.stat()
      files.append((stat.mtime, stat.length, path))
  total = sum(size for _, size, _ in files)
  for used, size, path in sorted(files):
    if total > limit or (path.suffix == '.part' and time.time() - used > OLD):
      with contextlib.suppress(OSError):
        path.unlink()
      total -= size
