"""Reads the members of a sweep: each an experiment with a config of its own."""

import contextlib
import copy
import dataclasses
import functools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from restpg_jax import cli, config, errors, restpg, sweeps, variants
from restpg_jax.engines import input_files
from restpg_jax.io import fingerprints

# The values between commas: a and b, (16, 32), 'a,b' in quotes.
VALUE = re.compile(r"""(?:\([^()]*\)|\[[^\[\]]*\]|'[^']*'|"[^"]*"|[^,])+""")
BRACKETS = re.compile(r"""\(.*\)|\[.*\]|'.*'|".*\"""", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Member:
  """One experiment of a sweep."""

  index: int  # from 0, as the sweep yields them
  overrides: sweeps.Overrides  # {'draw.m': 8, 'seed': 1}
  cfg: config.Config

  @property
  def label(self) -> str:
    """Returns its settings as reports call them: 'm 8, seed 1'."""
    settings = [
      f'{variants.short_label(key)} {variants.value_text(value)}'
      for key, value in self.overrides.items()
    ]
    return ', '.join(settings) or 'as it is'

  @contextlib.contextmanager
  def named(self) -> Iterator[None]:
    """Puts the member before what an InputError of the block says."""
    try:
      yield
    except errors.InputError as error:
      raise errors.InputError(
        f'member {self.index} ({self.label}): {error}'
      ) from error


def read_members(
  cfg: config.Config,
  file: str,
  axes: Iterable[tuple[str, str]] = (),
  overridden: Collection[str] = (),
) -> list[Member]:
  """Returns the members of sweep() in a config file, times those of the flags.

  axes: ('draw.m', '8,16') for --sweep.draw.m=8,16; overridden: settings that
  --config flags have set already. Raises InputError for what no sweep can have.
  """
  of_file = cli.load_sweep(file)
  of_flags = [{key: _values(key, text)} for key, text in axes]
  if of_file is None and not of_flags:
    raise errors.InputError(
      f'{file}: it has no function sweep, and there is no --sweep.KEY=A,B'
    )
  parts = [] if of_file is None else [of_file]
  try:
    listed = list(sweeps.product(*parts, *of_flags))
  except ValueError as error:
    raise errors.InputError(
      f'--sweep: {error}; leave it out of the flags, or of sweep() in {file}'
    ) from error
  if not listed:
    raise errors.InputError(f'{file}: sweep() gave no member')
  for key in overridden:
    if any(key in member for member in listed):
      raise errors.InputError(
        f'--config.{key}: the sweep sets it; leave that flag out'
      )
  return [Member(n, o, _changed(cfg, o)) for n, o in enumerate(listed)]


def pick(members: Sequence[Member], index: str) -> Sequence[Member]:
  """Returns the member of --index=K, all where that is ''."""
  if not index:
    return members
  if not re.fullmatch(r'\d{1,9}', index) or int(index) >= len(members):
    raise errors.InputError(
      f'--index={index}: the members are 0 to {len(members) - 1}; --list shows '
      'them'
    )
  return [members[int(index)]]


def check_distinct(
  members: Iterable[Member],
  reads: fingerprints.Reads | None = input_files.READS,
) -> None:
  """Raises InputError where two members are the same experiment.

  They are where they differ in nothing that decides a result. Where `reads` is
  None, no file is read, and two files of one content are two.
  """
  known: dict[frozenset, Member] = {}
  for member in members:
    # What is measured beside decides nothing, as in experiments.py.
    experiment = frozenset(
      (step.method, step.name, step.fingerprint, step.extent)
      for step in restpg.planned_steps(member.cfg, reads)
      if not step.name.endswith('/measure')
    )
    if other := known.get(experiment):
      raise errors.InputError(
        f'members {other.index} ({other.label}) and {member.index} '
        f'({member.label}) are the same experiment; leave one out'
      )
    known[experiment] = member


def _values(key: str, text: str) -> list[Any]:
  """Returns '8,16' in the type of the setting: [8, 16].

  Of a tuple '(16,32),8' is [(16, 32), (8,)].
  """
  values = [value.strip() for value in VALUE.findall(text)]
  try:
    return [cli.parsed(key, _without_brackets(value)) for value in values]
  except errors.InputError as error:
    raise errors.InputError(f'--sweep.{key}={text}: {error}') from error


def _without_brackets(value: str) -> str:
  return value[1:-1] if BRACKETS.fullmatch(value) else value


def _changed(cfg: config.Config, overrides: sweeps.Overrides) -> config.Config:
  """Returns a config of its own with these settings."""
  changed = copy.deepcopy(cfg)
  for key, value in overrides.items():
    *sections, last = key.split('.')
    setattr(functools.reduce(getattr, sections, changed), last, value)
  return cli.expand_paths(changed)
