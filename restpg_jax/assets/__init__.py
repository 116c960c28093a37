"""Files that come with the package: tiny models, tokenizer, prompts."""

import pathlib

from etils import epath

from restpg_jax import errors

HERE = pathlib.Path(__file__).parent


def path(name: epath.PathLike) -> epath.Path:
  """An existing path as given, else the bundled asset of that name."""
  if not str(name):
    raise errors.InputError('an empty name where a file or folder belongs')
  for candidate in (name, HERE / name):
    found = epath.Path(candidate).expanduser()
    if found.exists():
      return found
  raise errors.InputError(
    f'{name}: no such file or folder, and no bundled asset of that name; '
    f'bundled are {", ".join(names())}'
  )


def names() -> list[str]:
  """What `path` finds here: files by their path, a checkpoint by its folder."""
  files = [p for p in HERE.rglob('*') if p.suffix in ('.txt', '.model')]
  opened = {p.relative_to(HERE).parts[0] for p in files}
  folders = [
    p.name
    for p in HERE.iterdir()
    if p.is_dir() and p.name not in opened and p.name != '__pycache__'
  ]
  return sorted([str(p.relative_to(HERE)) for p in files] + folders)
