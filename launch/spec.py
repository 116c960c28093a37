"""The spec of a launch: one TOML file for every launcher (example.toml)."""

import dataclasses
import difflib
import math
import pathlib
import re
import tomllib
import types
import typing
from collections.abc import Iterator
from typing import Any

NAME = re.compile(r'[a-z]([a-z0-9-]{0,38}[a-z0-9])?')
TOPOLOGY = re.compile(r'(v4|v5e|v5p|v6e):(\d+x\d+(?:x\d+)?)')
# What a shell, YAML and `#SBATCH` lines all read as one word.
WORD = re.compile(r'[\w./:@%+=,-]*')
BUCKET = re.compile(r'gs://[a-z0-9][\w.-]+(/.*)?')


class SpecError(ValueError):
  """A bad spec: the launcher prints the message and exits with 2."""


def key(remedy: str, default: Any = dataclasses.MISSING) -> Any:
  """Returns a field that says, where its key is missing, what belongs there."""
  return dataclasses.field(default=default, metadata={'remedy': remedy})


@dataclasses.dataclass(frozen=True)
class Tpu:
  """Says where a TPU VM is made (launch/tpu.py)."""

  zone: str = key("where the TPU is, for instance 'us-central2-b'")
  project: str = key("the cloud project; '' is gcloud's own", '')
  queued: bool = key('true asks by a queued resource', False)
  version: str = key("the TPU software version; '' is the chip's usual one", '')
  service_account: str = key("its e-mail address; '' is Compute Engine's", '')
  network: str = key("the VPC network; '' is 'default'", '')
  subnetwork: str = key("the subnetwork; '' where the network has one", '')


@dataclasses.dataclass(frozen=True)
class Gke:
  """Says in which cluster a JobSet runs (launch/gke.py)."""

  project: str = key('the cloud project of the cluster')
  location: str = key("region or zone, for instance 'us-central2-b'")
  cluster: str = key('the name of the cluster')
  image: str = key("where the container image lies: 'REGISTRY/PATH:TAG'")
  namespace: str = key('the namespace in Kubernetes', 'default')
  service_account: str = key("Kubernetes' service account", 'default')


@dataclasses.dataclass(frozen=True)
class Slurm:
  """Says which nodes a SLURM job takes (launch/slurm.py)."""

  nodes: int = key('the number of nodes')
  gpus: int = key('the number of GPUs of a node')
  folder: str = key('the absolute path of the installed clone, on all nodes')
  time: str = key("the longest time of one start, as 'HH:MM:SS'", '24:00:00')
  options: tuple[str, ...] = key("more of sbatch's, as ['--exclusive']", ())


@dataclasses.dataclass(frozen=True)
class Member:
  """Holds one member of a sweep: a name, and settings as flags."""

  name: str
  flags: tuple[str, ...]  # ('--config.draw.m=8', '--config.seed=1')


@dataclasses.dataclass(frozen=True)
class Spec:
  """Holds what is run, and where; paths of `config` are in the repository."""

  name: str = key("a short name in lower case, for instance 'paper'")
  config: str = key("the config file, for instance 'configs/paper.py'")
  workdir: str = key("where results go, for instance 'gs://my-bucket/restpg'")
  flags: tuple[str, ...] = key("more flags, as ['--config.seed=1']", ())
  topology: str = key("a slice as preflight has it: 'v4:4x4x4'", '')
  spot: bool = key('true takes cheaper machines that can be preempted', False)
  retries: int = key('how often an interrupted run is started again', 20)
  repo: str = key('the URL of the git repository', '')
  revision: str = key('a commit, tag or branch of it', 'main')
  tpu: Tpu | None = None
  gke: Gke | None = None
  slurm: Slurm | None = None
  members: tuple[Member, ...] = ()

  @property
  def chip(self) -> str:
    """Returns 'v4' of 'v4:4x4x4'."""
    return self.topology.partition(':')[0]

  @property
  def sides(self) -> str:
    """Returns '4x4x4' of 'v4:4x4x4'."""
    return self.topology.partition(':')[2]

  @property
  def chips(self) -> int:
    """Returns the number of chips: 64 of 'v4:4x4x4'."""
    return math.prod(map(int, self.sides.split('x')))

  @property
  def hosts(self) -> int:
    """Returns the number of machines: 16 of 'v4:4x4x4'.

    One has 4 chips, and 8 where a v5e or v6e slice is no larger than that.
    """
    single = 8 if self.chip in ('v5e', 'v6e') else 4
    return 1 if self.chips <= single else self.chips // 4


def command(spec: Spec, python: str = '.venv/bin/python') -> list[str]:
  """Returns the command that every host runs; JAX finds who it is."""
  return [
    *(python, '-m', 'restpg_jax.main', 'run'),
    *(f'--config={spec.config}', f'--workdir={spec.workdir}', *spec.flags),
  ]


def read(path: str) -> Spec:
  """Returns the spec in a TOML file; raises SpecError with a remedy."""
  try:
    table = tomllib.loads(pathlib.Path(path).read_text('utf-8'))
  except OSError as error:
    raise SpecError(f'{path}: {error.strerror}') from error
  except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
    raise SpecError(f'{path}: no TOML: {error}') from error
  try:
    members = _members(table.pop('members', []))
    spec = dataclasses.replace(_section(Spec, table, ''), members=members)
    _check(spec)
  except SpecError as error:
    raise SpecError(f'{path}: {error}') from error
  return spec


def needs(spec: Spec, section: str) -> None:
  """Raises SpecError where the spec lacks what a launcher needs."""
  if getattr(spec, section) is None:
    raise SpecError(f'no [{section}]: launch/example.toml has one to copy')
  if section == 'slurm':
    if not spec.workdir.startswith(('/', 'gs://')):
      raise SpecError(
        f"workdir = '{spec.workdir}': give an absolute path that all nodes "
        'share, or gs://BUCKET/PATH'
      )
    return
  if not BUCKET.fullmatch(spec.workdir):
    raise SpecError(
      f"workdir = '{spec.workdir}' is on each host's own disk: give "
      'gs://BUCKET/PATH'
    )
  for name in ('topology', 'repo'):
    if not getattr(spec, name):
      raise SpecError(_missing(Spec, name, ''))


def member(spec: Spec, index: int) -> Spec:
  """Returns the spec of one member of the sweep, with a workdir of its own.

  A workdir belongs to one run at a time, and members run side by side.
  """
  if not 0 <= index < len(spec.members):
    raise SpecError(
      f'--member={index}: the spec has {len(spec.members)} [[members]], '
      'counted from 0'
    )
  one = spec.members[index]
  name = f'{spec.name}-{one.name}'
  if not NAME.fullmatch(name):
    raise SpecError(f"name '{name}' has more than 40 letters: shorten it")
  return dataclasses.replace(
    spec,
    name=name,
    workdir=f'{spec.workdir.rstrip("/")}/{one.name}',
    flags=(*spec.flags, *one.flags),
    members=(),
  )


def _section(cls: type, table: dict[str, Any], where: str) -> Any:
  """Returns a dataclass of a table whose keys and types are as it has them."""
  hints = typing.get_type_hints(cls)
  fields = {f.name: f for f in dataclasses.fields(cls) if f.name != 'members'}
  values = {}
  for name, value in table.items():
    if name not in fields:
      close = difflib.get_close_matches(name, fields, n=1, cutoff=0.0)
      raise SpecError(f"unknown key {where}{name}; did you mean '{close[0]}'?")
    values[name] = _value(hints[name], value, where + name, fields[name])
  for name, field in fields.items():
    if name not in values and field.default is dataclasses.MISSING:
      raise SpecError(_missing(cls, name, where))
  return cls(**values)


def _missing(cls: type, name: str, where: str) -> str:
  fields = {field.name: field for field in dataclasses.fields(cls)}
  return f'missing key {where}{name}: {fields[name].metadata["remedy"]}'


def _value(
  hint: Any, value: Any, where: str, field: 'dataclasses.Field[Any]'
) -> Any:
  """Returns the value of a key, a table as its dataclass."""
  if isinstance(hint, types.UnionType):  # a section, or None
    if not isinstance(value, dict):
      raise SpecError(f'{where} is a table: write [{where}]')
    return _section(typing.get_args(hint)[0], value, f'{where}.')
  if typing.get_origin(hint) is tuple:
    fits = isinstance(value, list) and all(isinstance(v, str) for v in value)
    value = tuple(value) if fits else value
  else:
    fits = type(value) is hint  # Python takes True for a number
  if not fits:
    raise SpecError(f'{where} = {value!r}: {field.metadata["remedy"]}')
  return value


def _members(tables: Any) -> tuple[Member, ...]:
  """Returns the members; two that are the same experiment are refused."""
  if not isinstance(tables, list) or not all(
    isinstance(table, dict) for table in tables
  ):
    raise SpecError('members: write each as a table [[members]]')
  members: list[Member] = []
  for index, table in enumerate(tables):
    name = table.pop('name', str(index))
    flags = tuple(f'--config.{key}={text}' for key, text in _flat(table, ''))
    if not isinstance(name, str) or not re.fullmatch(r'[a-z0-9-]{1,20}', name):
      raise SpecError(
        f'members, name = {name!r}: up to 20 small letters, digits and -'
      )
    for other in members:
      if name == other.name:
        raise SpecError(f"members: two are called '{name}'; rename one")
      if set(flags) == set(other.flags):
        raise SpecError(
          f"members '{other.name}' and '{name}' have the same settings: "
          'remove one'
        )
    members.append(Member(name, flags))
  return tuple(members)


def _flat(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
  """Yields ('draw.m', '8') of `draw.m = 8` and of `"draw.m" = 8`."""
  for name, value in table.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{name}.')
    elif isinstance(value, list):
      yield prefix + name, ','.join(map(_text, value))
    else:
      yield prefix + name, _text(value)


def _text(value: Any) -> str:
  return str(value).lower() if isinstance(value, bool) else str(value)


def _check(spec: Spec) -> None:
  """Raises SpecError for a value that no launcher can use."""
  if not NAME.fullmatch(spec.name):
    raise SpecError(
      f"name = '{spec.name}': small letters, digits and -, beginning with a "
      'letter, at most 40'
    )
  if spec.topology and not TOPOLOGY.fullmatch(spec.topology):
    raise SpecError(
      f"topology = '{spec.topology}': a kind of chip (v4, v5e, v5p, v6e) and "
      "the sides of a slice, for instance 'v4:4x4x4'"
    )
  if spec.topology and spec.chips < 1:
    raise SpecError(f"topology = '{spec.topology}' has no chips")
  if spec.retries < 0:
    raise SpecError(f'retries = {spec.retries}: 0 or more')
  for flag in spec.flags:
    if not flag.startswith('--') or '\n' in flag:
      raise SpecError(f"flags: '{flag}': write --KEY=VALUE, a string each")
    if re.match(r'--(config|workdir)(=|$)', flag):
      raise SpecError(f"flags: '{flag}': it is a key of the spec itself")
  if spec.slurm and min(spec.slurm.nodes, spec.slurm.gpus) < 1:
    raise SpecError('slurm.nodes and slurm.gpus: 1 or more')
  if spec.slurm and not spec.slurm.folder.startswith('/'):
    raise SpecError(f"slurm.folder = '{spec.slurm.folder}': an absolute path")
  for where, value in _words(spec):
    if not WORD.fullmatch(value) or value.startswith('-'):
      raise SpecError(f"{where} = '{value}': one word, without - in front")


def _words(spec: Spec) -> Iterator[tuple[str, str]]:
  """Yields what becomes a part of commands and manifests as it stands."""
  yield from (('repo', spec.repo), ('revision', spec.revision))
  yield from (('config', spec.config), ('workdir', spec.workdir))
  for name in ('tpu', 'gke', 'slurm'):
    section = getattr(spec, name)
    for field in dataclasses.fields(section) if section else ():
      value = getattr(section, field.name)
      if isinstance(value, str):
        yield f'{name}.{field.name}', value
