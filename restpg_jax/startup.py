"""Checks, before a run over several hosts begins, that they mean one run."""

import dataclasses
import hashlib
import os
import pathlib
import platform
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any

from etils import epath

from restpg_jax import config, errors
from restpg_jax.io import artifacts
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import watch

CLOCKS = 60.0  # seconds that clocks may differ
VISIBLE = 60.0  # seconds until a shared folder shows a file to all hosts
TOKEN = 'token'  # a file in WORKDIR/hosts


def check_together(
  hosts: hosts_lib.Hosts,
  workdir: epath.Path,
  *,
  settings: Mapping[str, str],
  marks: Mapping[str, str],
  seconds: float,
) -> None:
  """Raises InputError, the same on all hosts, unless they mean the same run.

  They must have the same `settings` (see settings_of), code and versions, the
  same files (`marks` are the fingerprints of the planned stages by name), one
  workdir, and clocks that agree. Raises hosts.Ended where one of them does not
  come within so many seconds.
  """
  if hosts.count == 1:
    return
  facts = hosts.meet(
    'start',
    seconds=seconds,
    machine=socket.gethostname(),
    code=code_digest(),
    versions=artifacts.versions() | {'system': platform.system()},
    settings=dict(settings),
    marks=dict(marks),
  )
  if difference := difference_of(facts):
    raise errors.InputError(difference)
  clocks = hosts.meet('clocks', seconds=seconds, time=time.time())
  times = [clock['time'] for clock in clocks]
  for n, here in enumerate(times):
    if abs(here - times[0]) > CLOCKS:
      raise errors.InputError(
        f'host {n} ({facts[n]["machine"]}): its clock is '
        f'{here - times[0]:+,.0f} s off that of host 0; set it (NTP)'
      )
  _check_one_workdir(hosts, workdir, [fact['machine'] for fact in facts])


def settings_of(section: Any, prefix: str = '') -> dict[str, Any]:
  """Returns all settings by name, without paths: what they name counts."""
  settings = {}
  for field in dataclasses.fields(section):
    value = getattr(section, field.name)
    if dataclasses.is_dataclass(value):
      settings |= settings_of(value, f'{prefix}{field.name}.')
    elif not config.is_path(field):
      settings[prefix + field.name] = repr(value)
  return settings


def code_digest() -> str:
  """Returns a hash of the package's Python files."""
  folder = pathlib.Path(__file__).parent
  content = hashlib.sha256()
  files = [
    pathlib.Path(inner, name)
    for inner, _, names in os.walk(folder)
    for name in names
    if name.endswith('.py')
  ]
  for path in sorted(files):
    content.update(str(path.relative_to(folder)).encode() + b'\0')
    content.update(path.read_bytes())
  return content.hexdigest()[:12]


def difference_of(facts: list[dict[str, Any]]) -> str:
  """Says which host differs in what from the first; '' where none does."""
  first = facts[0]
  for n, fact in enumerate(facts):
    host = f'host {n} ({fact["machine"]})'
    for name, value in first['versions'].items():
      if fact['versions'].get(name) != value:
        return (
          f'{host} has {name} {fact["versions"].get(name)}, host 0 has '
          f'{value}; install the same versions on all hosts'
        )
    if fact['code'] != first['code']:
      return (
        f'{host} has another version of restpg_jax: its files hash to '
        f'{fact["code"]}, those of host 0 to {first["code"]}; bring all hosts '
        'to the same commit'
      )
    for name, value in first['settings'].items():
      if fact['settings'].get(name) != value:
        return (
          f'{host} has config.{name}={fact["settings"].get(name)}, host 0 has '
          f'{value}; give all hosts the same config and flags'
        )
    for name, mark in first['marks'].items():
      if fact['marks'].get(name) != mark:
        return (
          f'{host}: the files that the stage {name} reads (data, weights, '
          'tokenizer or templates) are not those of host 0; give all hosts the '
          'same files, or a folder that they share'
        )
  return ''


def _check_one_workdir(
  hosts: hosts_lib.Hosts, workdir: epath.Path, names: list[str]
) -> None:
  """Raises InputError for hosts that do not see what the first one writes."""
  path = workdir / watch.FOLDER / TOKEN
  if hosts.first:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(uuid.uuid4().hex)
  (token, *_) = hosts.meet(
    'token', token=path.read_text() if hosts.first else ''
  )

  def seen() -> bool:
    try:
      return path.read_text() == token['token']
    except OSError:  # it is not there, or half of it
      return False

  # A machine of the first host's own need not wait for a shared folder.
  sees = hosts.until(seen, VISIBLE if names[hosts.index] != names[0] else 5.0)
  blind = [
    n
    for n, fact in enumerate(hosts.meet('workdir', sees=sees))
    if not fact['sees']
  ]
  if blind:
    raise errors.InputError(
      f'--workdir={workdir} is not the same place for all: '
      f'{hosts_lib.listed(blind)} cannot see what host 0 writes there; give a '
      'folder that all hosts share, or gs://...'
    )
