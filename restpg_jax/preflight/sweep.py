"""Lists the members of a sweep: what each reuses, makes and takes.

It is arithmetic, as in duration.py; nothing is compiled and nothing is made.
"""

import collections
import dataclasses
from collections.abc import Iterable, Sequence

from etils import epath

from restpg_jax import config, errors, members, restpg, verb_args
from restpg_jax.engines import input_files
from restpg_jax.io import artifacts
from restpg_jax.parallel import chips, mesh
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import draw_workloads, duration, run, tally
from restpg_jax.preflight import workload as work


@dataclasses.dataclass(frozen=True)
class StageState:
  """Says what becomes of a stage of a member."""

  step: restpg.PlannedStep
  before: int | None  # how far it reaches already; None: it is not there

  @property
  def missing(self) -> bool:
    """Returns whether something of it is missing."""
    return self.before is None or self.before < self.step.extent


@dataclasses.dataclass(frozen=True)
class MemberCost:
  """Says what a member adds to those before it."""

  name: str
  settings: str
  reuses: int  # stages that are there, or made by an earlier member
  makes: int
  names: str  # of what it makes
  tally: tally.Tally


def list_members(
  listed: Sequence[members.Member], args: verb_args.PreflightArgs, workdir: str
) -> None:
  """Prints a table of members, in the order in which they run.

  What is finished in the workdir is there; '' means a new one. Raises
  InputError for wrong flags, and for members that no sweep can have.
  """
  price, efficiency = run.price_and_efficiency(args)
  for member in listed:
    with member.named():
      restpg.check_config(member.cfg)
      restpg.check_splits(member.cfg)
  members.check_distinct(listed, reads=None)
  devices = chips.described(args.topology) if args.topology else ()
  costs = member_costs(listed, devices, workdir)
  first = layouts.Layout.of(listed[0].cfg.compute, devices)
  print(member_table(costs, first.devices, efficiency, price))
  if first.device_kind not in chips.CHIPS:
    print(
      f'no hours: the peak of {first.device_kind} is not known; '
      '--topology=v4:4x4x4 has those of TPUs'
    )
  print(work.assumed(listed[0].cfg))


def member_costs(
  listed: Sequence[members.Member],
  devices: Sequence[mesh.Device] = (),
  workdir: epath.PathLike = '',
) -> list[MemberCost]:
  """Returns what each member costs after those before it, then two sums.

  These are of all members, and of all if each had a workdir of its own.
  """
  there: dict[str, int] = {}  # fingerprint of a plan -> how far it reaches
  costs, apart = [], tally.Tally()
  for member in listed:
    steps = _unique(restpg.planned_steps(member.cfg, reads=None))
    there = _finished(member.cfg, steps, workdir) | there
    states = [StageState(s, there.get(s.fingerprint)) for s in steps]
    missing = [state for state in states if state.missing]
    there |= {s.step.fingerprint: s.step.extent for s in missing}
    cost = _run_cost(member.cfg, devices)
    costs.append(
      MemberCost(
        str(member.index),
        member.label,
        len(states) - len(missing),
        len(missing),
        ', '.join(missing_names(states)) or 'nothing',
        _sum(
          tally.stage_tally(member.cfg, s.step, before=s.before or 0, run=cost)
          for s in missing
        ),
      )
    )
    apart += _sum(tally.stage_tally(member.cfg, s, run=cost) for s in steps)
  stages = sum(cost.reuses + cost.makes for cost in costs)
  makes = sum(cost.makes for cost in costs)
  together = _sum(cost.tally for cost in costs)
  return [
    *costs,
    MemberCost('all', '', stages - makes, makes, '', together),
    MemberCost('apart', 'each in a workdir', 0, stages, '', apart),
  ]


def missing_names(states: Sequence[StageState]) -> list[str]:
  """Returns what is made: ['e_step1/draw from 8 to 16', 'm_step1', ..].

  A phase of which nothing is there is named by its first part.
  """
  phases: dict[str, list[StageState]] = collections.defaultdict(list)
  for state in states:
    phases[state.step.name.partition('/')[0]].append(state)
  names = []
  for phase, inside in phases.items():
    if all(state.before is None for state in inside):
      names.append(phase)
    else:
      names += [_missing_name(state) for state in inside if state.missing]
  return names


def _missing_name(state: StageState) -> str:
  if state.before is None:
    return state.step.name
  return f'{state.step.name} from {state.before} to {state.step.extent}'


def member_table(
  costs: Sequence[MemberCost],
  num_chips: int,
  efficiency: float,
  price: float | None,
) -> str:
  """Returns a line for each, and one of what it makes.

  efficiency: the share of a chip's peak that is likely; price: of a chip-hour,
  None: no column of costs. Where no hours are known there are no such columns.
  """
  width = max(len('settings'), *(len(cost.settings) for cost in costs))
  timed = any(cost.tally.seconds for cost in costs)
  lines = [
    f'{"member":<7}{"settings":<{width}}{"reuses":>8}{"makes":>7}'
    f'{"samples":>13}{"scored":>13}{"steps":>10}'
    + timed * f'{f"at {efficiency:.0%}":>12}{"chip-hours":>12}'
    + (timed and price is not None) * f'{"cost":>12}'
  ]
  for cost in costs:
    likely = cost.tally.seconds / 3600 / efficiency
    line = (
      f'{cost.name:<7}{cost.settings:<{width}}{cost.reuses:>8}{cost.makes:>7}'
      f'{cost.tally.samples:>13,}{cost.tally.scored:>13,}'
      f'{cost.tally.steps:>10,}'
    )
    if timed:
      line += f'{run.time_text(likely):>12}{likely * num_chips:>12,.0f}'
    if timed and price is not None:
      line += f'{likely * num_chips * price:>12,.0f}'
    lines.append(line)
    if cost.names:
      lines.append(f'       makes {cost.names}')
  return '\n'.join(lines)


def _sum(tallies: Iterable[tally.Tally]) -> tally.Tally:
  return sum(tallies, tally.Tally())


def _unique(steps: Sequence[restpg.PlannedStep]) -> list[restpg.PlannedStep]:
  """Returns the stages of a run, each once: methods share some."""
  return list({step.fingerprint: step for step in steps}.values())


def _run_cost(
  cfg: config.Config, devices: Sequence[mesh.Device]
) -> duration.RunCost | None:
  """Returns what a run's seconds follow from; None on unknown chips."""
  layout = layouts.Layout.of(cfg.compute, devices, cfg.train.batch_size)
  chip = chips.CHIPS.get(layout.device_kind)
  inputs = draw_workloads.split_sizes(cfg)
  return chip and duration.RunCost(cfg, layout, chip, inputs)


def _finished(
  cfg: config.Config,
  steps: Sequence[restpg.PlannedStep],
  workdir: epath.PathLike,
) -> dict[str, int]:
  """Returns how far those of the steps reach that the workdir has finished.

  None has where the files that the run reads are not here: nobody can tell.
  """
  if not workdir or not epath.Path(workdir).is_dir():
    return {}
  try:
    real = restpg.planned_steps(cfg, input_files.READS)
  except errors.InputError:
    return {}
  marks = {(step.method, step.name): step.fingerprint for step in real}
  finished = {}
  for step in steps:
    mark = marks[step.method, step.name]
    folder = epath.Path(workdir) / f'{step.name}-{mark[:12]}'
    if (extent := artifacts.reached(folder)) is not None:
      finished[step.fingerprint] = extent
  return finished
