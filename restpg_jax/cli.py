"""Parses the command line: verbs, flags, a config file, typed overrides.

The one door to absl's flags and ml_collections. All that a user can get wrong
here is an InputError of one line.
"""

import collections
import contextlib
import dataclasses
import functools
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

from restpg_jax import arguments, config, errors, overrides, storage, verb_args

HELP = re.compile(r'--?(h|help|helpfull|helpshort)$')
CONFIG = re.compile(r'--?config(=|$)')
FILE = re.compile(r'(\w+://|)([^:]*)(?::(.*))?', re.DOTALL)  # [gs://]PATH[:ARG]
OVERRIDE = re.compile(r'--?(?P<no>no)?config\.(?P<key>[^=]+)(=(?P<text>.*))?$')
AXIS = re.compile(r'--?sweep\.(?P<key>[^=]+)(=(?P<text>.*))?$', re.DOTALL)
# The flags that not all verbs have: the fields of these dataclasses.
VERB_FLAGS = {
  'run': (verb_args.ClusterFlags,),
  'convert': (verb_args.ConvertArgs,),
  'generate': (verb_args.GenerateArgs,),
  'audit': (verb_args.AuditArgs,),
  'judge': (verb_args.JudgeArgs,),
  'preflight': (verb_args.PreflightArgs,),
  'prepare': (verb_args.PrepareArgs,),
  'sweep': (
    verb_args.SweepArgs,
    verb_args.ClusterFlags,
    verb_args.PreflightArgs,
  ),
}
Args = typing.TypeVar('Args')  # one of verb_args


@dataclasses.dataclass(frozen=True)
class Command:
  """A valid command line; the fields from `cluster` on belong to verbs."""

  verb: str
  workdir: str
  cfg: config.Config | None  # None: no --config was given
  until: str = ''
  cluster: verb_args.ClusterFlags = verb_args.ClusterFlags()
  convert: verb_args.ConvertArgs = verb_args.ConvertArgs()
  generate: verb_args.GenerateArgs = verb_args.GenerateArgs()
  audit: verb_args.AuditArgs = verb_args.AuditArgs()
  judge: verb_args.JudgeArgs = verb_args.JudgeArgs()
  preflight: verb_args.PreflightArgs = verb_args.PreflightArgs()
  prepare: verb_args.PrepareArgs = verb_args.PrepareArgs()
  sweep: verb_args.SweepArgs = verb_args.SweepArgs()
  file: str = ''  # the value of --config
  overridden: tuple[str, ...] = ()  # settings that flags have set
  axes: tuple[tuple[str, str], ...] = ()  # of --sweep.KEY=TEXT


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
  hints = collections.ChainMap(*map(verb_flags, VERB_FLAGS))
  for name, hint in hints.items():  # verbs share some, such as --to
    if hint is bool:
      flags.DEFINE_boolean(name, False, 'of a verb', flag_values=values)
    else:
      flags.DEFINE_string(name, '', 'of a verb', flag_values=values)
  argv, axes = _axes(argv)
  argv = ['restpg', *(_tuples(argument) for argument in argv)]
  file = ''

  def load(name: str) -> config.Config:
    nonlocal file
    file = name
    return load_config(name)

  given = any(CONFIG.match(argument) for argument in argv)
  if given or any(OVERRIDE.match(argument) for argument in argv):
    _check_overrides(argv, given)
    config_flags.DEFINE_config_dataclass(
      'config',
      config.Config(),
      flag_values=values,
      sys_argv=argv,
      parse_fn=load,
    )
  try:
    positional = values(argv)[1:]
  except (flags.Error, ValueError) as error:
    raise _explained(error) from error
  if len(positional) > 1 or (positional and positional[0] not in verbs):
    raise errors.InputError(
      f'{" ".join(positional)}: the verbs are {", ".join(verbs)}'
    )
  for message in overrides.mistakes(values.config, '') if given else ():
    raise errors.InputError(f'--{message}')
  verb = positional[0] if positional else verbs[0]
  _check_verb_flags(verb, values)
  if axes and verb != 'sweep':
    raise errors.InputError(f'--sweep.{axes[0][0]} belongs to the verb sweep')
  return Command(
    verb=verb,
    workdir=os.path.expanduser(values.workdir),
    cfg=expand_paths(values.config) if given else None,
    until=values.until,
    cluster=_verb_args(verb_args.ClusterFlags, values),
    convert=_verb_args(verb_args.ConvertArgs, values),
    generate=_verb_args(verb_args.GenerateArgs, values),
    audit=_verb_args(verb_args.AuditArgs, values),
    judge=_verb_args(verb_args.JudgeArgs, values),
    preflight=_verb_args(verb_args.PreflightArgs, values),
    prepare=_verb_args(verb_args.PrepareArgs, values),
    sweep=_verb_args(verb_args.SweepArgs, values),
    file=file,
    overridden=tuple(m['key'] for m in map(OVERRIDE.match, argv) if m),
    axes=axes,
  )


def load_config(name: str) -> config.Config:
  """Returns get_config() of configs/x.py, get_config(arg) of configs/x.py:arg.

  What stands behind the colon may also be KEY=VALUE,FLAG (arguments.py).

  >>> load_config('configs/baselines.py:sft').methods
  ('sft',)
  """
  path, argument = _parts(name)
  if not path:
    raise errors.InputError('missing --config=FILE; see --help')
  if not epath.Path(path).is_file():
    raise errors.InputError(f'{path}: no such config file')
  with _explaining(path):
    get_config = _names_in(path).get('get_config')
  if not get_config:
    raise errors.InputError(f'{path}: it has no function get_config')
  try:
    positional, keywords = (
      ([], {})
      if argument is None
      else arguments.arguments_of(get_config, argument)
    )
  except ValueError as error:
    raise errors.InputError(f'{path}: get_config: {error}') from error
  with _explaining(path):
    cfg = get_config(*positional, **keywords)
  if not isinstance(cfg, config.Config):
    raise errors.InputError(
      f'{path}: get_config gave a {type(cfg).__name__}, '
      'not a restpg_jax.config.Config'
    )
  for message in overrides.mistakes(cfg, ''):
    raise errors.InputError(f'{path}: {message}')
  return cfg


def load_sweep(name: str) -> list[dict[str, Any]] | None:
  """Returns what sweep() of a config file yields; None where it has none.

  Raises InputError where a member is no dictionary of known settings.
  """
  path, _ = _parts(name)
  with _explaining(path):
    sweep = _names_in(path).get('sweep')
    members = list(sweep()) if sweep else None
  for n, member in enumerate(members or ()):
    if not isinstance(member, dict):
      raise errors.InputError(
        f'{path}: sweep() gave {member!r} as member {n}; each must be a '
        "dictionary of overrides, {'draw.m': 8}"
      )
    for key, value in member.items():
      if message := overrides.mistake(key, value):
        raise errors.InputError(f'{path}: member {n} of sweep(): {message}')
  return members


def parsed(key: str, text: str) -> Any:
  """Returns the text of an override as --config.KEY=TEXT reads it.

  Raises InputError for an unknown setting or a value of another type.
  """
  argv = [_tuples(f'--config.{key}={text}')]
  _check_overrides(argv, given=True)
  values = flags.FlagValues()
  config_flags.DEFINE_config_dataclass(
    'config', config.Config(), flag_values=values, sys_argv=argv
  )
  try:
    values(['restpg', *argv])
  except (flags.Error, ValueError) as error:
    raise _explained(error) from error
  *sections, last = key.split('.')
  value = getattr(functools.reduce(getattr, sections, values.config), last)
  if message := overrides.mistake(key, value):
    raise errors.InputError(f'--{message}')
  return value


@contextlib.contextmanager
def _explaining(path: str) -> Iterator[None]:
  """Makes whatever a user's file raises an InputError that says where."""
  try:
    yield
  except Exception as error:
    line = _line_in(error, path)
    raise errors.InputError(
      f'{path}{line}: {type(error).__name__}: {error}'
    ) from error


def _parts(name: str) -> tuple[str, str | None]:
  """'~/x.py:sft' -> ('/home/me/x.py', 'sft'); None without a colon."""
  match = FILE.fullmatch(name)  # any text does
  scheme, path, argument = match.groups() if match else ('', '', None)
  return os.path.expanduser(scheme + path), argument


def _axes(
  argv: Sequence[str],
) -> tuple[list[str], tuple[tuple[str, str], ...]]:
  """Returns the other arguments, and (KEY, TEXT) of each --sweep.KEY=TEXT."""
  matches = [AXIS.match(argument) for argument in argv]
  rest = [a for a, match in zip(argv, matches, strict=True) if not match]
  for match in matches:
    if match and not match['text']:
      raise errors.InputError(f'{match[0]}: give its values, A,B,C')
  return rest, tuple((m['key'], m['text']) for m in matches if m)


def _names_in(path: str) -> dict[str, Any]:
  """Returns the names that a config file defines."""
  if not storage.remote(path):
    return runpy.run_path(path)
  names = {'__name__': '<run_path>', '__file__': path}
  # runpy opens files of this machine only.
  exec(compile(epath.Path(path).read_bytes(), path, 'exec'), names)
  return names


def _flag(field: str) -> str:
  """Returns the flag of a field; `from` is a keyword of Python."""
  return 'from' if field == 'source' else field


def verb_flags(verb: str) -> dict[str, type]:
  """Returns the flags of a verb that not all have, with their types."""
  classes = VERB_FLAGS.get(verb, ())
  return {name: hint for cls in classes for name, hint in _flags(cls).items()}


def _flags(cls: type) -> dict[str, type]:
  hints = typing.get_type_hints(cls)
  return {_flag(name): hint for name, hint in hints.items()}


def _check_verb_flags(verb: str, values: flags.FlagValues) -> None:
  allowed = verb_flags(verb)
  for other, (cls, *_) in VERB_FLAGS.items():  # its own flags come first
    names = _flags(cls)
    if any(values[n].present for n in names if n not in allowed):
      *others, last = (f'--{name}' for name in names)
      raise errors.InputError(
        f'{", ".join(others)} and {last} belong to the verb {other}'
      )


def _verb_args(cls: type[Args], values: flags.FlagValues) -> Args:
  """Returns `cls` with those of its flags that were given."""
  names = typing.get_type_hints(cls)
  given = {n: values[_flag(n)] for n in names if values[_flag(n)].present}
  return expand_paths(cls(**{n: flag.value for n, flag in given.items()}))


def expand_paths(section: Any) -> Any:
  """Expands `~` in all paths: in --to=~/x the shell leaves it."""
  changed = {}
  for field in dataclasses.fields(section):
    value = getattr(section, field.name)
    if config.is_path(field):
      changed[field.name] = os.path.expanduser(value)
    elif dataclasses.is_dataclass(value):
      changed[field.name] = expand_paths(value)
  return dataclasses.replace(section, **changed)


def _check_overrides(argv: Sequence[str], given: bool) -> None:
  known = overrides.keys(config.Config)
  for argument in argv:
    match = OVERRIDE.match(argument)
    if match and not given:
      raise errors.InputError(f'{argument} without --config=FILE')
    if match and match['key'] not in known:
      raise errors.InputError(
        f'unknown setting config.{match["key"]}'
        f'{overrides.nearest(match["key"])}'
      )


def _tuples(argument: str) -> str:
  """Rewrites the value of a tuple as ml_collections reads it.

  --config.methods=sft,rest_pg  ->  --config.methods=('sft', 'rest_pg')
  --config.draw.rounds=16,32  ->  --config.draw.rounds=(16, 32)
  """
  match = OVERRIDE.match(argument)
  if not match or match['text'] is None or match['text'].startswith(('(', '[')):
    return argument
  hint = overrides.keys(config.Config).get(match['key'])
  if typing.get_origin(hint) is not tuple:
    return argument
  texts = [t.strip(' \'"') for t in match['text'].split(',') if t.strip()]
  try:
    values = tuple(map(typing.get_args(hint)[0], texts))
  except ValueError as error:
    raise errors.InputError(
      f'{argument}: the value must be {overrides.type_name(hint)}'
    ) from error
  return f'--config.{match["key"]}={values!r}'


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
  hint = overrides.keys(config.Config).get(match[1]) if match else None
  if not match or not hint:
    return errors.InputError(message)
  return errors.InputError(
    f'--config.{match[1]}={match[2]}: the value must be '
    f'{overrides.type_name(hint)}'
  )
