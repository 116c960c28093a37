"""The code of a 'package.module:function' that a setting names.

Its source is read, nothing is executed.
"""

import ast
import hashlib
import importlib.machinery
import sys

from restpg_jax import errors


def module_content(name: str) -> dict[str, str]:
  """What of the module decides results: the VERSION that it states at its top
  level or, without one, its source.

  Not what it imports: let it state a VERSION, and raise it, if that matters.
  Raises InputError where there is no such module.
  """
  module = name.partition(':')[0]
  spec = _spec(module)
  if spec is None or not spec.has_location:
    raise errors.InputError(
      f'{name}: there is no module {module}; install it, or put its folder '
      'into PYTHONPATH'
    )
  source = spec.loader.get_data(spec.origin)
  if version := _version(source, spec.origin):
    return {'version': version}
  return {'source': hashlib.sha256(source).hexdigest()}


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
  """As importlib.util.find_spec, which would import the packages around it."""
  spec, folders, name = None, None, ''
  for part in module.split('.'):
    if name and folders is None:
      return None  # what is around it is no package
    name = f'{name}.{part}' if name else part
    found = (finder.find_spec(name, folders) for finder in sys.meta_path)
    spec = next(filter(None, found), None)
    folders = spec and spec.submodule_search_locations
  return spec


def _version(source: bytes, path: str) -> str:
  """`VERSION = 2`  ->  '2'; '' where it is not stated so plainly."""
  if not path.endswith('.py'):
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
