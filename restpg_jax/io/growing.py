"""A JSON-lines file that grows over several processes and appears whole."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from etils import epath

from restpg_jax import errors
from restpg_jax.io import records


class Growing:
  """What `file` hands out; `done` lines were there before."""

  def __init__(self, part: BinaryIO):
    self._part = part
    self.done = _keep_whole_lines(part)

  def append(self, items: Sequence[Any]) -> None:
    """Adds a line for each item; on disk when this returns."""
    self._part.write(b''.join(map(records.encoded, items)))
    self._part.flush()
    os.fsync(self._part.fileno())


@contextlib.contextmanager
def file(path: epath.PathLike, fingerprint: str) -> Iterator[Growing]:
  """PATH.part, which becomes PATH when all went well.

  If it does not, the next caller goes on behind its last whole line, provided
  that its fingerprint is the same: PATH.part.json holds it. The path is local.
  """
  path = epath.Path(path)
  part = path.parent / f'{path.name}.part'
  note = path.parent / f'{path.name}.part.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(part, 'ab+') as lines:
    _lock(lines, part)
    if not lines.tell():
      records.write_json(note, {'fingerprint': fingerprint})
    elif not _same(note, fingerprint):
      raise errors.InputError(
        f'{part} was begun with another input, task, method or policy; remove '
        'it, or give another --output'
      )
    yield Growing(lines)
    part.replace(path)
    note.unlink()


def _lock(lines: BinaryIO, part: epath.Path) -> None:
  """The operating system frees it when the file is closed."""
  try:
    fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    raise errors.InputError(
      f'{part}: another process is writing it; wait for it, or give another '
      '--output'
    ) from error


def _same(note: epath.Path, fingerprint: str) -> bool:
  return note.exists() and (
    records.read_json(note)['fingerprint'] == fingerprint
  )


def _keep_whole_lines(part: BinaryIO) -> int:
  """Cuts the file behind the last line that was written whole."""
  part.seek(0)
  count = end = 0
  for line in part:
    if not line.endswith(b'\n') or not _is_json(line):
      break
    count, end = count + 1, end + len(line)
  part.seek(end)
  part.truncate()
  return count


def _is_json(line: bytes) -> bool:
  try:
    json.loads(line)
  except ValueError:
    return False
  return True
