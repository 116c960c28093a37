"""Names of inputs in a form that holds wherever a workdir is moved to."""

import dataclasses
import os
from typing import Any

from etils import epath

from restpg_jax import config, storage


def noted(settings: Any, workdir: epath.PathLike) -> Any:
  """Returns a section of a config as dicts, its FILE fields made `portable`.

  A name that is no path stays, also where a file beside is called the same.
  """
  if not dataclasses.is_dataclass(settings):
    return settings
  fields = {
    field: getattr(settings, field.name)
    for field in dataclasses.fields(settings)
  }
  return {
    field.name: portable(value, workdir)
    if config.is_path(field) and value not in field.metadata.get('names', ())
    else noted(value, workdir)
    for field, value in fields.items()
  }


def portable(name: str, workdir: epath.PathLike) -> str:
  """Makes an existing path absolute or, inside the workdir, relative to it.

  tokens.model  ->  /home/me/tokens.model
  runs/a/tokens.model  ->  ./tokens.model, in the workdir runs/a
  tiny_pt, which is no path but a bundled asset  ->  tiny_pt
  """
  path = epath.Path(name).expanduser()
  if not name or not path.exists():
    return name
  path, home = storage.absolute(path), storage.absolute(workdir)
  if path.is_relative_to(home):
    return f'./{path.relative_to(home)}'
  return os.fspath(path)


def resolved(name: str, workdir: epath.PathLike) -> str:
  """Returns what is to be opened from here for a name that `portable` made."""
  inside = epath.Path(workdir) / name
  return (
    os.fspath(inside) if name.startswith('./') and inside.exists() else name
  )
