"""The code of a 'package.module:function' that a setting names."""

import ast
import hashlib
import importlib.machinery
import sys
from typing import Any

from restpg_jax import errors


def module_content(name: str) -> dict[str, str]:
  """Returns what of the module decides results; nothing of it is executed.

  That is the VERSION which it states at its top level or, without one, the
  sha256 of its source. What it imports is not part of it: let it state a
  VERSION, and raise it, if that matters. Raises InputError where there is no
  such module.
  """
  module = name.partition(':')[0]
  spec = _spec(module)
  if spec is None or not spec.has_location:
    raise errors.InputError(
      f'{name}: there is no module {module}; install it, or put its folder '
      'into PYTHONPATH'
    )
  # By the loader: a module may lie in a zip archive, which only it can read.
  get_data, origin = getattr(spec.loader, 'get_data', None), spec.origin
  if get_data is None or origin is None:
    raise errors.InputError(f'{name}: the source of {module} cannot be read')
  source = get_data(origin)
  if version := _version(source, origin):
    return {'version': version}
  return {'source': hashlib.sha256(source).hexdigest()}


def function(setting: str, name: str) -> Any:
  """Imports the function. Raises InputError where that fails."""
  module, _, attribute = name.partition(':')
  try:
    imported = getattr(importlib.import_module(module), attribute)
  except Exception as error:  # whatever the module raises
    raise errors.InputError(
      f'{setting}={name}: {type(error).__name__}: {errors.detail(error)}'
    ) from error
  if not callable(imported):
    raise errors.InputError(f'{setting}={name}: {attribute} is no function')
  return imported


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
  """Finds a module as importlib.util.find_spec does, but imports no package.

  A package's own __init__ may be slow, or fail without an accelerator.
  """
  spec, folders, name = None, None, ''
  for part in module.split('.'):
    if name and folders is None:
      return None  # what is around it is no package
    name = f'{name}.{part}' if name else part
    specs = (finder.find_spec(name, folders) for finder in sys.meta_path)
    spec = next(filter(None, specs), None)
    folders = spec and spec.submodule_search_locations
  return spec


def _version(source: bytes, path: str) -> str:
  """`VERSION = 2`  ->  '2'; '' where it is not stated so plainly."""
  if not path.endswith('.py'):  # a compiled extension: its bytes are hashed
    return ''
  try:
    body = ast.parse(source).body
  except (SyntaxError, ValueError) as error:
    raise errors.InputError(
      f'{path}: no Python ({errors.detail(error)})'
    ) from error
  for statement in body:
    match statement:
      case (
        ast.Assign(targets=[ast.Name('VERSION')], value=ast.Constant(value))
        | ast.AnnAssign(target=ast.Name('VERSION'), value=ast.Constant(value))
      ):
        return repr(value)
  return ''
