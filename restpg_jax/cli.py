"""The command line: verbs, flags, and a config file with typed overrides.

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
# Flags that belong to one verb: the fields of these.
OWN = {
  'convert': config.ConvertArgs,
  'generate': config.GenerateArgs,
  'preflight': config.PreflightArgs,
  'prepare': config.PrepareArgs,
}


@dataclasses.dataclass(frozen=True)
class Command:
  """A command line that makes sense."""

  verb: str
  workdir: str
  cfg: config.Config | None  # None: no --config was given
  until: str = ''
  export: config.ConvertArgs = config.ConvertArgs()  # for the verb convert
  writing: config.GenerateArgs = config.GenerateArgs()  # for the verb generate
  flight: config.PreflightArgs = (
    config.PreflightArgs()
  )  # for the verb preflight
  preparing: config.PrepareArgs = config.PrepareArgs()  # for the verb prepare


def wants_help(argv: Sequence[str]) -> bool:
  return any(HELP.match(argument) for argument in argv)


def parse_command(argv: Sequence[str], verbs: Sequence[str]) -> Command:
  """Of the arguments behind the program's name; the first verb is default."""
  values = flags.FlagValues()
  values.set_gnu_getopt(True)  # flags may stand on either side of the verb
  flags.DEFINE_string('workdir', '', 'results', flag_values=values)
  flags.DEFINE_string('until', '', 'last stage', flag_values=values)
  for name in dict.fromkeys(name for verb in OWN for name in own(verb)):
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
    words = values(argv)[1:]
  except (flags.Error, ValueError) as error:
    raise _explained(error) from error
  if len(words) > 1 or (words and words[0] not in verbs):
    raise errors.InputError(
      f'{" ".join(words)}: the verbs are {", ".join(verbs)}'
    )
  for message in _mistakes(values.config, '') if given else ():
    raise errors.InputError(f'--{message}')
  verb = words[0] if words else verbs[0]
  _check_own(verb, values)
  return Command(
    verb=verb,
    workdir=os.path.expanduser(values.workdir),
    cfg=_at_home(values.config) if given else None,
    until=values.until,
    export=_asked(config.ConvertArgs, values),
    writing=_asked(config.GenerateArgs, values),
    flight=_asked(config.PreflightArgs, values),
    preparing=_asked(config.PrepareArgs, values),
  )


def load_config(name: str) -> config.Config:
  """configs/x.py  ->  its get_config(); configs/x.py:arg  ->  get_config(arg).

  >>> load('configs/baselines.py:sft').methods
  ('sft',)
  """
  scheme, path, argument = FILE.fullmatch(name).groups()
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
    where = _line_in(error, path)
    raise errors.InputError(
      f'{path}{where}: {type(error).__name__}: {error}'
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
  """What a config file defines."""
  if not storage.remote(path):
    return runpy.run_path(path)
  names = {'__name__': '<run_path>', '__file__': path}
  exec(compile(epath.Path(path).read_bytes(), path, 'exec'), names)
  return names


def keys(section: type, prefix: str = '') -> dict[str, type]:
  """{'seed': int, 'data.path': str, ...}: all that can be overridden."""
  found = {}
  for name, kind in typing.get_type_hints(section).items():
    if dataclasses.is_dataclass(kind):
      found |= keys(kind, f'{prefix}{name}.')
    else:
      found[prefix + name] = kind
  return found


def _flag(field: str) -> str:
  """Of a field of Export; `from` is a word of Python's own."""
  return 'from' if field == 'source' else field


def own(verb: str) -> list[str]:
  """The flags of a verb that has some of its own."""
  if verb not in OWN:
    return []
  return [_flag(field.name) for field in dataclasses.fields(OWN[verb])]


def _check_own(verb: str, values: flags.FlagValues) -> None:
  for other in OWN:
    names = own(other)
    if any(values[n].present for n in names if n not in own(verb)):
      *most, last = (f'--{name}' for name in names)
      raise errors.InputError(
        f'{", ".join(most)} and {last} belong to the verb {other}'
      )


def _asked(cls: type, values: flags.FlagValues):
  """`cls` with those of its flags that were given."""
  names = [field.name for field in dataclasses.fields(cls)]
  given = {n: values[_flag(n)] for n in names if values[_flag(n)].present}
  return _at_home(cls(**{name: flag.value for name, flag in given.items()}))


def _at_home(section: Any):
  """With `~` expanded in all paths: in --to=~/x the shell leaves it."""
  changed = {}
  for field in dataclasses.fields(section):
    value = getattr(section, field.name)
    if config.is_path(field):
      changed[field.name] = os.path.expanduser(value)
    elif dataclasses.is_dataclass(value):
      changed[field.name] = _at_home(value)
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
  """--config.methods=sft,rest_pg  ->  --config.methods=('sft', 'rest_pg').

  --config.draw.rounds=16,32  ->  --config.draw.rounds=(16, 32)
  """
  match = OVERRIDE.match(argument)
  if not match or match['text'] is None or match['text'].startswith(('(', '[')):
    return argument
  kind = keys(config.Config).get(match['key'])
  if typing.get_origin(kind) is not tuple:
    return argument
  words = [w.strip(' \'"') for w in match['text'].split(',') if w.strip()]
  try:
    values = tuple(map(typing.get_args(kind)[0], words))
  except ValueError as error:
    raise errors.InputError(
      f'{argument}: the value must be {_name(kind)}'
    ) from error
  return f'--config.{match["key"]}={values!r}'


def _mistakes(section: Any, prefix: str) -> Iterator[str]:
  """What a config file set that does not exist or has the wrong type."""
  hints = typing.get_type_hints(type(section))
  for name, value in vars(section).items():
    key, kind = prefix + name, hints.get(name)
    if kind is None:
      yield f'unknown setting config.{key}{_nearest(key)}'
    elif dataclasses.is_dataclass(kind) and isinstance(value, kind):
      yield from _mistakes(value, f'{key}.')
    elif not _fits(value, kind):
      yield f'config.{key}={value!r}: the value must be {_name(kind)}'


def _fits(value: Any, kind: Any) -> bool:
  if typing.get_origin(kind) is tuple:
    inner = typing.get_args(kind)[0]
    return isinstance(value, tuple) and all(_fits(v, inner) for v in value)
  if kind is float:
    kind = int | float
  return isinstance(value, kind) and (
    kind is bool or not isinstance(value, bool)
  )


def _nearest(key: str) -> str:
  """'train.stepz'  ->  '; did you mean config.train.steps?'."""
  known = keys(config.Config)
  close = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
  last = [k for k in known if k.split('.')[-1] == key.split('.')[-1]]
  inside = [k for k in known if k.startswith(f'{key}.')]
  if inside:
    return f'; it holds {", ".join(f"config.{k}" for k in inside)}'
  return f'; did you mean config.{(last or close)[0]}?'


def _line_in(error: Exception, path: str) -> str:
  """Where in the file `path` it happened: ', line 12', or ''."""
  if isinstance(error, SyntaxError) and error.filename == path:
    return f', line {error.lineno}'
  frames = traceback.extract_tb(error.__traceback__)
  lines = [frame.lineno for frame in frames if frame.filename == path]
  return f', line {lines[-1]}' if lines else ''


def _explained(error: Exception) -> errors.InputError:
  """absl's error in the user's terms."""
  if isinstance(error.__context__, errors.InputError):
    return error.__context__  # load's; absl only wrapped it
  message = ' '.join(str(error).split())
  match = re.match(r'flag --config\.([\w.]+)=(.*?): ', message)
  kind = match and keys(config.Config).get(match[1])
  if not kind:
    return errors.InputError(message)
  return errors.InputError(
    f'--config.{match[1]}={match[2]}: the value must be {_name(kind)}'
  )


def _name(kind: Any) -> str:
  return str(kind) if typing.get_args(kind) else kind.__name__
