"""The settings by name, and what values they may have.

The same checks serve flags, config files and the members of sweeps.
"""

import dataclasses
import difflib
import typing
from collections.abc import Iterator
from typing import Any

from restpg_jax import config


def keys(section: type, prefix: str = '') -> dict[str, type]:
  """Returns all settings: {'seed': int, 'data.path': str, ...}."""
  types = {}
  for name, hint in typing.get_type_hints(section).items():
    if _is_section(hint):
      types |= keys(hint, f'{prefix}{name}.')
    else:
      types[prefix + name] = hint
  return types


def mistake(key: str, value: Any) -> str:
  """Says what is wrong with an override: an unknown setting, another type."""
  hint = keys(config.Config).get(key)
  if hint is None:
    return f'unknown setting config.{key}{nearest(str(key))}'
  if not fits(value, hint):
    return f'config.{key}={value!r}: the value must be {type_name(hint)}'
  return ''


def mistakes(section: Any, prefix: str) -> Iterator[str]:
  """Yields a message for each field that is unknown or has the wrong type."""
  hints = typing.get_type_hints(type(section))
  for name, value in vars(section).items():
    key, hint = prefix + name, hints.get(name)
    if hint is None:
      yield f'unknown setting config.{key}{nearest(key)}'
    elif _is_section(hint) and isinstance(value, hint):
      yield from mistakes(value, f'{key}.')
    elif not fits(value, hint):
      yield f'config.{key}={value!r}: the value must be {type_name(hint)}'


def fits(value: Any, hint: Any) -> bool:
  """Returns whether a value has a setting's type; 1 is a float, True no int."""
  if typing.get_origin(hint) is tuple:
    inner = typing.get_args(hint)[0]
    return isinstance(value, tuple) and all(fits(v, inner) for v in value)
  if hint is float:
    hint = int | float
  # Python takes True for the number 1.
  return isinstance(value, hint) and (
    hint is bool or not isinstance(value, bool)
  )


def nearest(key: str) -> str:
  """Returns for 'train.stepz' '; did you mean config.train.steps?'."""
  known = keys(config.Config)
  close = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
  last = [k for k in known if k.split('.')[-1] == key.split('.')[-1]]
  inside = [k for k in known if k.startswith(f'{key}.')]
  if inside:
    return f'; it holds {", ".join(f"config.{k}" for k in inside)}'
  return f'; did you mean config.{(last or close)[0]}?'


def type_name(hint: Any) -> str:
  """Returns 'int' for int, 'tuple[int, ...]' for that."""
  return str(hint) if typing.get_args(hint) else hint.__name__


def _is_section(hint: Any) -> bool:
  return isinstance(hint, type) and dataclasses.is_dataclass(hint)
