"""Lists files in a folder, whatever characters its own name has."""

import fnmatch

from etils import epath


def matching(folder: epath.PathLike, pattern: str) -> list[epath.Path]:
  """Returns the paths below a folder that match, in order, perhaps none.

  The pattern may have several parts, 'step_*/model.json'; hidden files match
  only what begins with a dot. epath's own `glob` reads the folder's name as a
  part of the pattern: nothing would match in one called a[1]b.
  """
  folder = epath.Path(folder)
  first, _, rest = pattern.partition('/')
  names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else ()
  paths = [
    folder / name
    for name in names
    if fnmatch.fnmatchcase(name, first)
    and name.startswith('.') == first.startswith('.')
  ]
  if not rest:
    return paths
  return [path for inner in paths for path in matching(inner, rest)]
