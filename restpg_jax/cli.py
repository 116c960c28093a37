"""Parses the command line: verbs, flags, a config file, typed overrides.

The one door to absl's flags and ml_collections. All that a user can get wrong
here is an InputError of one line.
"""

import dataclasses
import difflib
import os
import re
import runpy
import traceback
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from etils import epath
from ml_collections import config_flags

from restpg_jax import config, errors, storage

HELP = re.compile(r'--?(h|help|helpfull|helpshort)$')
CONFIG = re.compile(r'--?config(=|$)')
FILE = re.compile(r'(\w+://|)([^:]*)(?::(.*))?', re.DOTALL)  # [gs://]PATH[:ARG]
OVERRIDE = re.compile(r'--?(?P<no>no)?config\.(?P<key>[^=]+)(=(?P<text>.*))?$')
# The flags that belong to one verb: the fields of its dataclass.
VERB_FLAGS = {
  'convert': config.ConvertArgs,
  'generate': config.GenerateArgs,
  'preflight': config.PreflightArgs,
  'prepare': config.PrepareArgs,
}
Args = typing.TypeVar('Args')  # one of config's *Args


@dataclasses.dataclass(frozen=True)
class Command:
  """A valid command line; the last four fields belong to one verb each."""

  verb: str
  workdir: str
  cfg: config.Config | None  # None: no --config was given
  until: str = ''
  convert: config.ConvertArgs = config.ConvertArgs()
  generate: config.GenerateArgs = config.GenerateArgs()
  preflight: config.PreflightArgs = config.PreflightArgs()
  prepare: config.PrepareArgs = config.PrepareArgs()


def wants_help(argv: Sequence[str]) -> bool:
  """Returns whether help is requested; other arguments may be wrong then."""
  return any(HELP.match(argument) for argument in argv)


def parse_command(argv: Sequence[str], verbs: Sequence[str]) -> Command:
  """Parses the arguments behind the program's name; the first verb is default.

  Raises InputError for an unknown verb, flag or setting, or a value of another
  type than the setting's.
  """
  values = flags.FlagValues()
  values.set_gnu_getopt(True)  # flags may stand on either side of the verb
  flags.DEFINE_string('workdir', '', 'results', flag_values=values)
  flags.DEFINE_string('until', '', 'last stage', flag_values=values)
  names = [name for verb in VERB_FLAGS for name in verb_flags(verb)]
  for name in dict.fromkeys(names):  # verbs share some, such as --to
    flags.DEFINE_string(name, '', 'of a verb', flag_values=values)
  argv = ['restpg', *(_tuples(argument) for argument in argv)]
  given = any(CONFIG.match(argument) for argument in argv)
  if given or any(OVERRIDE.match(argument) for argument in argv):
    _check_overrides(argv, given)
    config_flags.DEFINE_config_dataclass(
      'config',
      config.Config(),
      flag_values=values,
      sys_argv=argv,
      parse_fn=load_config,
    )
  try:
    positional = values(argv)[1:]
  except (flags.Error, ValueError) as error:
    raise _explained(error) from error
  if len(positional) > 1 or (positional and positional[0] not in verbs):
    raise errors.InputError(
      f'{" ".join(positional)}: the verbs are {", ".join(verbs)}'
    )
  for message in _mistakes(values.config, '') if given else ():
    raise errors.InputError(f'--{message}')
  verb = positional[0] if positional else verbs[0]
  _check_verb_flags(verb, values)
  return Command(
    verb=verb,
    workdir=os.path.expanduser(values.workdir),
    cfg=_expand_paths(values.config) if given else None,
    until=values.until,
    convert=_verb_args(config.ConvertArgs, values),
    generate=_verb_args(config.GenerateArgs, values),
    preflight=_verb_args(config.PreflightArgs, values),
    prepare=_verb_args(config.PrepareArgs, values),
  )


def load_config(name: str) -> config.Config:
  """Returns get_config() of configs/x.py, get_config(arg) of configs/x.py:arg.

  >>> load_config('configs/baselines.py:sft').methods
  ('sft',)
  """
  match = FILE.fullmatch(name)  # any text does
  scheme, path, argument = match.groups() if match else ('', '', None)
  path = os.path.expanduser(scheme + path)
  arguments = () if argument is None else (argument,)
  if not path:
    raise errors.InputError('missing --config=FILE; see --help')
  if not epath.Path(path).is_file():
    raise errors.InputError(f'{path}: no such config file')
  try:
    get_config = _names_in(path).get('get_config')
    cfg = get_config(*arguments) if get_config else None
  except Exception as error:  # whatever a user's file raises
    line = _line_in(error, path)
    raise errors.InputError(
      f'{path}{line}: {type(error).__name__}: {error}'
    ) from error
  if not get_config:
    raise errors.InputError(f'{path}: it has no function get_config')
  if not isinstance(cfg, config.Config):
    raise errors.InputError(
      f'{path}: get_config gave a {type(cfg).__name__}, '
      'not a restpg_jax.config.Config'
    )
  for message in _mistakes(cfg, ''):
    raise errors.InputError(f'{path}: {message}')
  return cfg


def _names_in(path: str) -> dict[str, Any]:
  """Returns the names that a config file defines."""
  if not storage.remote(path):
    return runpy.run_path(path)
  names = {'__name__': '<run_path>', '__file__': path}
  # runpy opens files of this machine only.
  exec(compile(epath.Path(path).read_bytes(), path, 'exec'), names)
  return names


def keys(section: type, prefix: str = '') -> dict[str, type]:
  """Returns all settings: {'seed': int, 'data.path': str, ...}."""
  types = {}
  for name, hint in typing.get_type_hints(section).items():
    if _is_section(hint):
      types |= keys(hint, f'{prefix}{name}.')
    else:
      types[prefix + name] = hint
  return types


def _is_section(hint: Any) -> bool:
  return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _flag(field: str) -> str:
  """Returns the flag of a field; `from` is a keyword of Python."""
  return 'from' if field == 'source' else field


def verb_flags(verb: str) -> list[str]:
  """Returns the flags that only this verb has."""
  if verb not in VERB_FLAGS:
    return []
  return [_flag(field.name) for field in dataclasses.fields(VERB_FLAGS[verb])]


def _check_verb_flags(verb: str, values: flags.FlagValues) -> None:
  allowed = verb_flags(verb)
  for other in VERB_FLAGS:
    names = verb_flags(other)
    if any(values[n].present for n in names if n not in allowed):
      *others, last = (f'--{name}' for name in names)
      raise errors.InputError(
        f'{", ".join(others)} and {last} belong to the verb {other}'
      )


def _verb_args(cls: type[Args], values: flags.FlagValues) -> Args:
  """Returns `cls` with those of its flags that were given."""
  names = typing.get_type_hints(cls)
  given = {n: values[_flag(n)] for n in names if values[_flag(n)].present}
  return _expand_paths(cls(**{n: flag.value for n, flag in given.items()}))


def _expand_paths(section: Any) -> Any:
  """Expands `~` in all paths: in --to=~/x the shell leaves it."""
  changed = {}
  for field in dataclasses.fields(section):
    value = getattr(section, field.name)
    if config.is_path(field):
      changed[field.name] = os.path.expanduser(value)
    elif dataclasses.is_dataclass(value):
      changed[field.name] = _expand_paths(value)
  return dataclasses.replace(section, **changed)


def _check_overrides(argv: Sequence[str], given: bool) -> None:
  known = keys(config.Config)
  for argument in argv:
    match = OVERRIDE.match(argument)
    if match and not given:
      raise errors.InputError(f'{argument} without --config=FILE')
    if match and match['key'] not in known:
      raise errors.InputError(
        f'unknown setting config.{match["key"]}{_nearest(match["key"])}'
      )


def _tuples(argument: str) -> str:
  """Rewrites the value of a tuple as ml_collections reads it.

  --config.methods=sft,rest_pg  ->  --config.methods=('sft', 'rest_pg')
  --config.draw.rounds=16,32  ->  --config.draw.rounds=(16, 32)
  """
  match = OVERRIDE.match(argument)
  if not match or match['text'] is None or match['text'].startswith(('(', '[')):
    return argument
  hint = keys(config.Config).get(match['key'])
  if typing.get_origin(hint) is not tuple:
    return argument
  texts = [t.strip(' \'"') for t in match['text'].split(',') if t.strip()]
  try:
    values = tuple(map(typing.get_args(hint)[0], texts))
  except ValueError as error:
    raise errors.InputError(
      f'{argument}: the value must be {_type_name(hint)}'
    ) from error
  return f'--config.{match["key"]}={values!r}'


def _mistakes(section: Any, prefix: str) -> Iterator[str]:
  """Yields a message for each field that is unknown or has the wrong type."""
  hints = typing.get_type_hints(type(section))
  for name, value in vars(section).items():
    key, hint = prefix + name, hints.get(name)
    if hint is None:
      yield f'unknown setting config.{key}{_nearest(key)}'
    elif _is_section(hint) and isinstance(value, hint):
      yield from _mistakes(value, f'{key}.')
    elif not _fits(value, hint):
      yield f'config.{key}={value!r}: the value must be {_type_name(hint)}'


def _fits(value: Any, hint: Any) -> bool:
  if typing.get_origin(hint) is tuple:
    inner = typing.get_args(hint)[0]
    return isinstance(value, tuple) and all(_fits(v, inner) for v in value)
  if hint is float:
    hint = int | float
  # Python takes True for the number 1.
  return isinstance(value, hint) and (
    hint is bool or not isinstance(value, bool)
  )


def _nearest(key: str) -> str:
  """Returns for 'train.stepz' '; did you mean config.train.steps?'."""
  known = keys(config.Config)
  close = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
  last = [k for k in known if k.split('.')[-1] == key.split('.')[-1]]
  inside = [k for k in known if k.startswith(f'{key}.')]
  if inside:
    return f'; it holds {", ".join(f"config.{k}" for k in inside)}'
  return f'; did you mean config.{(last or close)[0]}?'


def _line_in(error: Exception, path: str) -> str:
  """Returns where in the file `path` it happened: ', line 12', or ''."""
  if isinstance(error, SyntaxError) and error.filename == path:
    return f', line {error.lineno}'
  frames = traceback.extract_tb(error.__traceback__)
  lines = [frame.lineno for frame in frames if frame.filename == path]
  return f', line {lines[-1]}' if lines else ''


def _explained(error: Exception) -> errors.InputError:
  """Returns absl's error in the user's terms."""
  if isinstance(error.__context__, errors.InputError):
    return error.__context__  # of load_config; absl only wrapped it
  message = ' '.join(str(error).split())
  match = re.match(r'flag --config\.([\w.]+)=(.*?): ', message)
  hint = keys(config.Config).get(match[1]) if match else None
  if not match or not hint:
    return errors.InputError(message)
  return errors.InputError(
    f'--config.{match[1]}={match[2]}: the value must be {_type_name(hint)}'
  )


def _type_name(hint: Any) -> str:
  return str(hint) if typing.get_args(hint) else hint.__name__
