"""A JSON-lines file that grows over several processes and appears whole."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from restpg_jax import errors, storage
from restpg_jax.io import lock, parts, records


class PartialFile:
  """An open PATH.part, from `open_partial`; `done` lines were there before."""

  def __init__(self, part: epath.Path):
    parts.join(part)
    self.done = _keep_whole_lines(part)
    self._tail = parts.Tail(part)
    self.close = self._tail.close

  def append(self, items: Sequence[Any]) -> None:
    """Adds a line for each item.

    They are on disk when this returns; in a bucket, when parts.Tail flushes.
    """
    self._tail.add(b''.join(map(records.encoded, items)))


@contextlib.contextmanager
def open_partial(
  path: epath.PathLike, fingerprint: str
) -> Iterator[PartialFile]:
  """Opens PATH.part, which becomes PATH when the block ends well.

  If it does not, the next caller goes on behind the last whole line, provided
  that the fingerprint is the same: PATH.part.json holds it. Raises InputError
  where it is another one, or where another process writes the file.
  """
  path = epath.Path(path)
  part = path.parent / f'{path.name}.part'
  note = path.parent / f'{path.name}.part.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  with _alone(part, path):
    if not parts.length(part):
      part.write_bytes(b'')
      records.write_json(note, {'fingerprint': fingerprint})
    elif not _same(note, fingerprint):
      raise errors.InputError(
        f'{part} was begun with another input, task, method or policy; remove '
        'it, or give another --output'
      )
    with contextlib.closing(PartialFile(part)) as lines:
      yield lines
    part.replace(path)
    note.unlink()


@contextlib.contextmanager
def _alone(part: epath.Path, path: epath.Path) -> Iterator[None]:
  """Locks PATH.part; on this machine the lock ends with its process."""
  if storage.remote(part):
    with lock.claim(part, f'--output={path}'):
      yield
    return
  with open(part, 'ab') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise errors.InputError(
        f'{part}: another process is writing it; wait for it, or give another '
        '--output'
      ) from error
    yield


def _same(note: epath.Path, fingerprint: str) -> bool:
  return note.exists() and (
    records.read_json(note)['fingerprint'] == fingerprint
  )


def _keep_whole_lines(part: epath.Path) -> int:
  """Cuts the file behind its last whole line; returns the number of lines."""
  count = end = 0
  for offset, line in parts.lines(part):
    if not records.is_whole(line):
      _cut(part, end)
      break
    count, end = count + 1, offset + len(line)
  return count


def _cut(part: epath.Path, length: int) -> None:
  if not storage.remote(part):
    os.truncate(part, length)  # in place: the lock is on this very file
    return
  with storage.opened(part) as old, storage.replacing(part) as new:
    new.write(old.read(length))
