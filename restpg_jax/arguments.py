"""Reads the arguments of a config file: configs/x.py:KEY=VALUE,FLAG."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

BOOLS = {'true': True, '1': True, 'false': False, '0': False}


def arguments_of(
  function: Callable[..., Any], text: str
) -> tuple[list[str], dict[str, Any]]:
  """Returns the text as positional and keyword arguments of a function.

  For `def get_config(method='sft', users=500, quick=False)`:

  'rest_pg'            ->  ['rest_pg'], {}
  'users=20,quick'     ->  [], {'users': 20, 'quick': True}

  Values get the type of the parameter's default. Where no part is KEY=VALUE or
  a flag, the whole text is the only argument. Raises ValueError for a key that
  the function lacks, and for a value of another type.
  """
  parameters = inspect.signature(function).parameters
  flags = {n for n, p in parameters.items() if isinstance(p.default, bool)}
  parts = [part.strip() for part in text.split(',')]
  if not any('=' in part or part in flags for part in parts):
    return [text], {}
  positional, keywords = [], {}
  for part in parts:
    key, equals, value = part.partition('=')
    if equals or key in flags:
      keywords[key] = _value(parameters, key, value if equals else 'true')
    elif keywords:
      raise ValueError(f'{part!r} must stand before {next(iter(keywords))}')
    else:
      positional.append(part)
  return positional, keywords


def _value(
  parameters: Mapping[str, inspect.Parameter], key: str, text: str
) -> Any:
  """Returns the text in the type of a parameter's default; str without one."""
  if key not in parameters:
    raise ValueError(
      f'there is no argument {key!r}; known are {", ".join(parameters)}'
    )
  kind = type(parameters[key].default)
  try:
    if kind is bool:
      return BOOLS[text.lower()]
    return kind(text) if kind in (int, float) else text
  except (KeyError, ValueError) as error:
    raise ValueError(f'{key}={text}: it must be {kind.__name__}') from error
