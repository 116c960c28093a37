"""Checksums of the files of a checkpoint.

Orbax reads the numbers of a file with a flipped bit without a word. A bucket
has checksums of its own: of files there only the sizes are noted.
"""

import json

from etils import epath

from restpg_jax import storage
from restpg_jax.io import contents

NAME = 'files.json'  # in the folder: {'model/params/d/1f': [bytes, crc32], ..}
# What an earlier checkpoint of the same step may have left: written after it.
LATER = {NAME, f'{NAME}.tmp', 'model/model.json', 'model/model.json.partial'}


def note(folder: epath.Path) -> None:
  """Writes the sizes and checksums of the folders in `folder`."""
  paths = {str(p.relative_to(folder)): p for p in contents.inside(folder)}
  noted = {name: _sum_of(paths[name]) for name in sorted(paths.keys() - LATER)}
  with storage.replacing(folder / NAME) as file:
    file.write(json.dumps(noted, indent=1).encode())


def fault(folder: epath.Path, part: str = '') -> str:
  """Returns what is wrong with the files that were noted; '' if nothing is.

  With `part`, only those are looked at whose names begin so. Nothing is wrong
  where nothing was noted, by an older version.
  """
  path = folder / NAME
  if not path.exists():
    return ''
  try:
    noted = json.loads(path.read_text())
  except ValueError:
    return f'{NAME} is cut short'
  for name, expected in noted.items():
    if not name.startswith(part):
      continue
    if not (folder / name).exists():
      return f'{name} is missing'
    size, crc = _sum_of(folder / name)
    # A copy that came from a bucket or went there has no checksum to compare.
    known = -1 not in (crc, expected[1])
    if size != expected[0] or (known and crc != expected[1]):
      return f'{name} is damaged'
  return ''


def _sum_of(path: epath.Path) -> list[int]:
  """Returns [bytes, crc32] of a file, [bytes, -1] of one in a bucket."""
  crc = -1 if storage.remote(path) else contents.crc_of(path)
  return [path.stat().length, crc]
