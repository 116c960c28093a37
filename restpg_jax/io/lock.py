"""A workdir belongs to one run at a time."""

import contextlib
import fcntl
import os
import socket
import warnings
from collections.abc import Iterator

from etils import epath

from restpg_jax import errors

NAME = '.lock'


@contextlib.contextmanager
def exclusive(workdir: epath.PathLike) -> Iterator[None]:
  """Holds WORKDIR/.lock; an InputError at once where another process does.

  The operating system frees it with its process, however that ends: the file
  stays and only says who holds it. A remote workdir (gs://..) has no such
  lock; there it is the caller's business to run one process only.
  """
  path = epath.Path(workdir)
  if '://' in os.fspath(path):
    yield
    return
  path.mkdir(parents=True, exist_ok=True)
  with open(path / NAME, 'a+') as file:  # 'a+': a refusal changes nothing
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      file.seek(0)
      raise errors.InputError(
        f'--workdir={path}: {file.read() or "another process"} is running '
        'there; wait for it, end it, or give another --workdir'
      ) from error
    except OSError as error:
      warnings.warn(
        f'{path}: no locks on this file system ({error.strerror}); run one '
        'process only there',
        errors.DataWarning,
        stacklevel=3,
      )
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    yield
