"""Files that come with the package: tiny models, tokenizer, prompts."""

import pathlib

from etils import epath

from restpg_jax import errors

HERE = pathlib.Path(__file__).parent


def path(name: epath.PathLike) -> epath.Path:
  """Returns an existing path as given, else the bundled asset of that name.

  Raises InputError where there is neither.
  """
  if not str(name):
    raise errors.InputError('an empty name where a file or folder belongs')
  for candidate in (name, HERE / name):
    existing = epath.Path(candidate).expanduser()
    if existing.exists():
      return existing
  raise errors.InputError(
    f'{name}: no such file or folder, and no bundled asset of that name; '
    f'bundled are {", ".join(names())}'
  )


def names() -> list[str]:
  """Returns the bundled assets: models by their folder, all else by path."""
  models = [p.parent for p in HERE.glob('*/model.json')]
  files = [
    p
    for p in HERE.rglob('*')
    if p.suffix in ('.txt', '.model') and not set(p.parents) & set(models)
  ]
  return sorted(str(p.relative_to(HERE)) for p in [*models, *files])
