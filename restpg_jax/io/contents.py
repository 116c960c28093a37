"""What a finished stage has left: its files, noted in DONE.json and looked at
again before they are used, for somebody may have removed or damaged one.
"""

import zlib
from collections.abc import Iterator, Mapping

from etils import epath

from restpg_jax import errors, storage

# How the names of what is noted of a stage's speed and time begin.
NOTES = 'metrics', 'goodput'
MODEL = 'model'  # the folder of weights; of these only the sizes are noted
# A file: its bytes and the crc32 of its content; -1: only its size counts.
Contents = dict[str, tuple[int, int]]


def contents_of(folder: epath.Path, *, leaves_out: str) -> Contents:
  """Returns the files of a stage: those in its folder, and those of its model.

  Stores that grow and notes of speed and time are not among them, nor is
  `leaves_out`.
  """
  files = {}
  for path in folder.iterdir():
    ours = path.name.endswith(('.json', '.jsonl'))
    if ours and path.name != leaves_out and not path.name.startswith(NOTES):
      files[path.name] = path.stat().length, crc_of(path)
  for path in inside(folder / MODEL):
    files[str(path.relative_to(folder))] = path.stat().length, -1
  return files


def check_contents(
  folder: epath.Path, files: Mapping[str, tuple[int, int]], *, grows: bool
) -> None:
  """Raises InputError where a file is missing or not as it was left.

  The files of a store that `grows` may have become longer since; what such a
  one holds is then not compared.
  """
  for name, (length, crc) in files.items():
    path = folder / name
    remedy = f'remove {folder}, and it is made again'
    if not path.exists():
      raise errors.InputError(
        f'{path} is missing, though its stage was finished; {remedy}'
      )
    now = path.stat().length
    if now < length or (now > length and not grows):
      raise errors.InputError(
        f'{path} has {now:,} bytes and had {length:,} when its stage was '
        f'finished; {remedy}'
      )
    if crc >= 0 and now == length and crc_of(path) != crc:
      raise errors.InputError(
        f'{path} is damaged: its content is not what it was when its stage was '
        f'finished; {remedy}'
      )


def inside(folder: epath.Path) -> Iterator[epath.Path]:
  """Yields all files in a folder and below it."""
  for path in folder.iterdir() if folder.is_dir() else ():
    if path.is_dir():
      yield from inside(path)
    else:
      yield path


def crc_of(path: epath.Path) -> int:
  """Returns the crc32 of a file's content."""
  value = 0
  with storage.opened(path) as file:
    while block := file.read(storage.BUFFER):
      value = zlib.crc32(block, value)
  return value
