"""Tells before a run whether its programs fit, and what it takes and costs.

All that the run compiles is compiled, for this machine or for TPUs that nobody
has to own; no weight, no tokenizer and no data is read. Memory is what the
compiler states, seconds and hours are arithmetic (models/flops.py).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from restpg_jax import cautions, config, errors, restpg, validate, verb_args
from restpg_jax.engines import model_size
from restpg_jax.io import artifacts, records
from restpg_jax.parallel import chips
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import (
  compiling,
  draw_workloads,
  duration,
  hosts,
  memory,
)
from restpg_jax.preflight import workload as work
from restpg_jax.rewards import mixture

GIB = 2**30
FILE = 'preflight.json'


@dataclasses.dataclass(frozen=True)
class StageHours:
  """Holds the hours of one stage of the run."""

  method: str  # the first of those that share it
  name: str
  hours: float  # at least, on all chips together
  wait: float = 0.0  # at least, until the slowest host has done its share
  load: float = 0.0  # while hosts read weights


@dataclasses.dataclass(frozen=True)
class AbstractArtifact:
  """Stands for what a stage would make."""

  name: str
  number: int  # among all that differ


def run_preflight(
  cfg: config.Config, args: verb_args.PreflightArgs, workdir: str
) -> None:
  """Prints what the run needs and writes it as preflight.json.

  Raises InputError for wrong flags and where a program does not fit.
  """
  price, efficiency = price_and_efficiency(args)
  restpg.check_config(cfg)
  restpg.check_splits(cfg)
  devices = chips.described(args.topology) if args.topology else ()
  layout = layouts.Layout.of(cfg.compute, devices, cfg.train.batch_size)
  validate.check_policy(cfg.policy, cfg.train, layout)
  cautions.warn_of_cautions(cfg, **restpg.kinds(cfg))
  chip = chips.CHIPS.get(layout.device_kind)
  usable = layout.usable / GIB
  count = hosts.host_count(layout)
  print(
    f'{layout.devices} x {layout.device_kind}, {usable:.2f} GiB usable each'
    f', {count} {"host" if count == 1 else "hosts"}'
  )
  print(HEAD, flush=True)
  rows = []
  for row in memory.compile_all(cfg, stages(cfg), devices):
    rows.append(row)
    print(program_line(row), flush=True)
  report = {
    'topology': args.topology or layout.device_kind,
    'devices': layout.devices,
    'hosts': count,
    'usable': round(usable, 2),
    'programs': [dataclasses.asdict(row) for row in rows],
    'stages': [],
  }
  times = times_to_compile(cfg, rows, layout)
  report['compiled'] = [dataclasses.asdict(row) for row in times]
  print(compile_table(times))
  if 'train/update' in {time.program for time in times}:
    host = hosts.host_memory(cfg, layout)
    report['host'] = dataclasses.asdict(host) | {'peak': host.peak}
    print(host_line(host))
  bad = [row.program for row in rows if row.fault]
  if chip and not bad:
    hours = stage_hours(cfg, layout, chip)
    whole = whole_hours(hours, times, efficiency)
    report |= {
      'stages': [dataclasses.asdict(stage) for stage in hours],
      'assumed': work.assumed(cfg),
      'whole': whole,
      'efficiency': efficiency,
      'price': price,
    }
    print(stage_table(hours, layout.devices, efficiency, price))
    print(whole_line(whole, count))
    print(report['assumed'])
  path = epath.Path(workdir or '.') / FILE
  path.parent.mkdir(parents=True, exist_ok=True)
  records.write_json(path, report)
  print(path)
  if bad:
    raise errors.InputError(
      f'{", ".join(bad)}: not to be had on {report["topology"]}; '
      f'{path} says what would be'
    )


def times_to_compile(
  cfg: config.Config,
  rows: Sequence[memory.ProgramReport],
  layout: layouts.Layout,
) -> list[compiling.CompileTime]:
  """Returns the seconds that the programs of the run take to compile."""
  # A stage that cannot begin has one row, under its own name.
  faulty = {row.program for row in rows if row.fault}
  shapes = compiling.shapes(
    cfg,
    [name for name in stages(cfg) if name not in faulty],
    layout,
    [restpg.METHODS[name].reasoning for name in cfg.methods],
  )
  return compiling.compile_times(rows, shapes)


def stages(cfg: config.Config) -> list[str]:
  """Returns the stages of this run that compile programs."""
  methods = [restpg.METHODS[name] for name in cfg.methods]
  has = {
    'reason': any(m.reasoning for m in methods),
    'draw': any(m.em for m in methods) and cfg.iterations > 0,
    'judge': mixture.asks(cfg.reward, 'judge'),
    'test_judge': has_test_judge(cfg),
    'embed': bool(
      model_size.encoder_names(cfg.retrieval, cfg.evaluate, cfg.reward)
    ),
  }
  return [
    n
    for n in (*memory.DRAW_WORKLOADS, *memory.OTHER_PROGRAMS)
    if has.get(n, True)
  ]


def has_test_judge(cfg: config.Config) -> bool:
  """Says whether the test set is judged by a program of its own."""
  if not mixture.asks(cfg.reward, 'judge'):
    return 'judge' in cfg.evaluate.metrics
  test = cfg.evaluate
  return (
    test.dtype or cfg.reward.dtype,
    test.shards or cfg.compute.shards,
  ) != (
    cfg.reward.dtype,
    cfg.compute.shards,
  )


def stage_hours(
  cfg: config.Config, layout: layouts.Layout, chip: chips.Chip
) -> list[StageHours]:
  """Returns every stage of all methods, those that they share once."""
  run = duration.RunCost(cfg, layout, chip, draw_workloads.split_sizes(cfg))
  known: dict[str, StageHours] = {}  # by what a stage is made from
  alike: dict[tuple, float] = {}  # seconds, by what decides them
  waits: dict[tuple, float] = {}  # shares of them, for the slowest host

  def step(
    name: str,
    function: artifacts.Stage,
    *inputs: AbstractArtifact,
    cfg: Any = None,
    after: Any = None,
  ) -> AbstractArtifact:
    """Stands for a store's step: nothing is made, its seconds are computed."""
    del after  # what follows a stage is for the host
    key = repr((name, cfg, inputs))
    if key not in known:
      splits = [m.name for m in inputs if m.name.startswith('retrieve/')]
      split = splits[0].removeprefix('retrieve/') if splits else ''
      workload = function, repr(cfg), split
      if workload not in alike:
        alike[workload] = duration.stage_seconds(run, function, cfg, split)
      if (function, split) not in waits:
        waits[function, split] = hosts.wait_share(run, function, split)
      known[key] = _stage_hours(
        method,
        name,
        alike[workload],
        waits[function, split],
        hosts.load_seconds(run, function, cfg),
      )
    return AbstractArtifact(name, list(known).index(key))

  for method in cfg.methods:
    list(restpg.restpg(cfg, restpg.METHODS[method], step))
  return [stage for stage in known.values() if stage.hours]


def _stage_hours(
  method: str, name: str, seconds: float, wait: float, load: float
) -> StageHours:
  return StageHours(
    method,
    name,
    round(seconds / 3600, 4),
    round(wait * seconds / 3600, 4),
    round(load / 3600, 4),
  )


HEAD = (
  f'{"GiB a device":<15}{"compiled for":<41}{"args":>6}{"temp":>6}{"total":>7}'
  f'{"TFLOP":>9}{"/model":>7}{"ms":>9}'
)


def program_line(row: memory.ProgramReport) -> str:
  """Returns a line of the table under HEAD."""

  def number(x: float | None, form: str) -> str:
    return '-' if x is None else format(x, form)

  text = (
    f'{row.program:<15}{row.shape:<41}{number(row.arguments, ".2f"):>6}'
    f'{number(row.temporaries, ".2f"):>6}{number(row.total, ".2f"):>7}'
    f'{number(row.tflop, ",.2f"):>9}{number(row.ratio, ".2f"):>7}'
    f'{number(row.seconds and 1e3 * row.seconds, ",.1f"):>9}'
  )
  if not row.fault:
    return text
  return f'{text}\n  DOES NOT FIT: {row.fault}\n  fits with: {row.remedy}'


def compile_table(times: Sequence[compiling.CompileTime]) -> str:
  """Returns the table of programs that are compiled, and the seconds of all."""
  lines = [f'{"compiled":<15}{"shapes":>8}{"s each":>9}{"s":>9}']
  lines += [
    f'{row.program:<15}{row.shapes:>8}'
    f'{"-" if row.seconds is None else format(row.seconds, ",.1f"):>9}'
    f'{row.total:>9,.0f}'
    for row in times
  ]
  shapes, total = sum(t.shapes for t in times), sum(t.total for t in times)
  lines.append(
    f'{"all":<15}{shapes:>8}{"":>9}{total:>9,.0f}  by this machine, '
    f'{memory.COMPILED_AT_ONCE} at a time; other shapes as long'
  )
  return '\n'.join(lines)


def stage_table(
  stages: Sequence[StageHours],
  chips: int,
  efficiency: float,
  price: float | None,
) -> str:
  """Returns the table of hours, of each stage and of all.

  efficiency: the share of a chip's peak that is likely, in (0, 1]. price: of a
  chip-hour; None: no column of costs.
  """
  rows = [
    *stages,
    StageHours('all', '', sum(stage.hours for stage in stages)),
  ]
  lines = [
    f'{"method":<15}{"stage":<18}{"takes at least":>16}'
    f'{f"at {efficiency:.0%} of it":>16}{"chip-hours":>12}'
    + f'{"cost":>12}'
    * (price is not None)
  ]
  for stage in rows:
    likely = stage.hours / efficiency
    cost = '' if price is None else f'{likely * chips * price:>12,.0f}'
    lines.append(
      f'{stage.method:<15}{stage.name:<18}{time_text(stage.hours):>16}'
      f'{time_text(likely):>16}'
      f'{likely * chips:>12,.0f}{cost}'
    )
  return '\n'.join(lines)


def whole_hours(
  stages: Sequence[StageHours],
  times: Sequence[compiling.CompileTime],
  efficiency: float,
) -> dict[str, float]:
  """Returns hours of the run with all that it waits for, at an efficiency."""
  parts = {
    'stages': sum(stage.hours for stage in stages) / efficiency,
    'wait': sum(stage.wait for stage in stages) / efficiency,
    'load': sum(stage.load for stage in stages),
    'compile': sum(time.total for time in times) / 3600,
  }
  return {
    name: round(hours, 4)
    for name, hours in (parts | {'all': sum(parts.values())}).items()
  }


def whole_line(hours: dict[str, float], num_hosts: int) -> str:
  """Says what `whole_hours` found."""
  return (
    f'with {time_text(hours["wait"])} until the slowest of {num_hosts} has '
    f'done its share, {time_text(hours["load"])} of reading weights at '
    f'{hosts.READ / 1e9:g} GB/s a host\n'
    f'and {time_text(hours["compile"])} of compiling as on this machine: '
    f'{time_text(hours["all"])}'
  )


def host_line(host: hosts.HostMemory) -> str:
  """Says what a host needs of its own memory."""
  return (
    f'a host holds at most {host.peak:.1f} GiB: texts {host.examples:.1f}, '
    f'training rows {host.rows:.1f}, a model {host.weights:.1f}, '
    f'a checkpoint {host.checkpoint:.1f}'
  )


def price_and_efficiency(
  args: verb_args.PreflightArgs,
) -> tuple[float | None, float]:
  """Returns what the flags say; raises InputError for what they cannot."""
  price = _number('price', args.price) if args.price else None
  efficiency = _number('efficiency', args.efficiency)
  if efficiency > 1:
    raise errors.InputError(f'--efficiency={efficiency:g}: at most 1')
  return price, efficiency


def time_text(hours: float) -> str:
  """Writes 0.0182 as '1.1 min', 5.3 as '5.30 h'."""
  return f'{60 * hours:.1f} min' if hours < 1 else f'{hours:.2f} h'


def _number(name: str, text: str) -> float:
  """Reads the value of a flag; raises InputError unless it is above 0."""
  try:
    value = float(text)
  except ValueError:
    value = 0.0
  if not 0 < value < float('inf'):
    raise errors.InputError(f'--{name}={text}: it must be a number above 0')
  return value
