"""Runs the members of a sweep one after another in one workdir.

What they have in common is made once: a stage is found by what decides its
result (io/artifacts.py), whichever member needs it first.
"""

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from restpg_jax import members, outcomes, restpg
from restpg_jax.io import artifacts
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layout_lib

FOLDER = 'sweep'  # of WORKDIR: a folder for each member that failed


@dataclasses.dataclass(frozen=True)
class MemberResult:
  """How a member has ended."""

  member: members.Member
  seconds: float
  keys: Mapping[str, str]  # of its records in WORKDIR/methods, by method
  fault: str = ''  # one line; '': it is done


def run_members(
  chosen: Sequence[members.Member],
  workdir: epath.PathLike,
  *,
  until: str = '',
  hosts: hosts_lib.Hosts | None = None,
) -> list[MemberResult]:
  """Runs members one after another; returns how each has ended.

  One that fails does not stop the others, unless several hosts run together:
  then nobody knows where the other hosts are in it. What ends a process, such
  as an interrupt, ends all. Raises InputError, before anything is computed, for
  a member that no run can have.
  """
  hosts = hosts or hosts_lib.Hosts()
  layouts = []
  for member in chosen:
    with member.named():
      restpg.check_run(member.cfg, workdir, until)
      own = hosts.at(f'member{member.index}')  # barriers
      layouts.append(restpg.layout_of(member.cfg, own))
  members.check_distinct(chosen)
  results = []
  with restpg.held(workdir, hosts):
    for number, (member, layout) in enumerate(
      zip(chosen, layouts, strict=True), 1
    ):
      if hosts.first:
        print(
          f'member {member.index}, {number} of {len(chosen)}: {member.label}',
          flush=True,
        )
      results.append(_run_member(member, workdir, layout, until))
  return results


def _run_member(
  member: members.Member,
  workdir: epath.PathLike,
  layout: layout_lib.Layout,
  until: str,
) -> MemberResult:
  """Runs one member; what it raises is a fault of its own where it can be."""
  start, keys, fault = time.monotonic(), {}, ''
  try:
    keys = restpg.run_held(member.cfg, workdir, layout=layout, until=until)
  except artifacts.Until:
    pass
  except Exception as error:
    if layout.hosts.count > 1:
      raise
    folder = epath.Path(workdir) / FOLDER / str(member.index)
    outcome = outcomes.outcome_of(error, str(folder))
    if outcome.code not in (outcomes.FAILED, outcomes.BAD_INPUT):
      raise
    fault = outcome.line.removeprefix('error: ')
    print(f'member {member.index} failed: {fault}', file=sys.stderr, flush=True)
  return MemberResult(member, time.monotonic() - start, keys, fault)


def sweep_table(
  results: Sequence[MemberResult], report: Mapping[str, Any] | None
) -> str:
  """Returns a line for each member: its methods' rewards, or why it failed.

  report: what results.json holds, for the macro means of the last iterations;
  None: there is none.
  """
  labels = {} if report is None else report['experiments']
  rewards = {
    key: reward
    for label, key in labels.items()
    if report
    and (reward := report['methods'][label]['macro']['reward']) is not None
  }
  width = max([len('settings'), *(len(r.member.label) for r in results)])
  lines = [f'{"member":>6}  {"settings":<{width}}  {"minutes":>8}  reward']
  for result in results:
    end = ', '.join(
      f'{method} {rewards[key]:.4f}'
      for method, key in result.keys.items()
      if key in rewards
    )
    if result.fault:
      end = f'failed: {result.fault}'
    lines.append(
      f'{result.member.index:>6}  {result.member.label:<{width}}  '
      f'{result.seconds / 60:>8.1f}  {end or "stopped"}'
    )
  return '\n'.join(lines)
