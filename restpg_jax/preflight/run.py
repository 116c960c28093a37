"""Tells before a run whether its programs fit, and what it takes and costs.

All that the run compiles is compiled, for this machine or for TPUs that nobody
has to own; no weight, no tokenizer and no data is read. Memory is what the
compiler states, seconds and hours are arithmetic (models/flops.py).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from restpg_jax import cautions, config, errors, restpg, validate
from restpg_jax.engines import model_size
from restpg_jax.io import artifacts, records
from restpg_jax.parallel import chips
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import draw_workloads, duration, memory
from restpg_jax.preflight import workload as work

GIB = 2**30
FILE = 'preflight.json'


@dataclasses.dataclass(frozen=True)
class StageHours:
  """Holds the hours of one stage of the run."""

  method: str  # the first of those that share it
  name: str
  hours: float  # at least, on all chips together


@dataclasses.dataclass(frozen=True)
class AbstractArtifact:
  """Stands for what a stage would make."""

  name: str
  number: int  # among all that differ


def run_preflight(
  cfg: config.Config, args: config.PreflightArgs, workdir: str
) -> None:
  """Prints what the run needs and writes it as preflight.json.

  Raises InputError for wrong flags and where a program does not fit.
  """
  price = _number('price', args.price) if args.price else None
  efficiency = _number('efficiency', args.efficiency)
  if efficiency > 1:
    raise errors.InputError(f'--efficiency={efficiency:g}: at most 1')
  restpg.check_config(cfg)
  restpg.check_splits(cfg)
  devices = chips.described(args.topology) if args.topology else ()
  layout = layouts.Layout.of_run(cfg, devices)
  validate.check_policy(cfg, layout)
  cautions.warn_of_cautions(cfg, **restpg.kinds(cfg))
  chip = chips.CHIPS.get(layout.device_kind)
  usable = layout.usable / GIB
  print(
    f'{layout.devices} x {layout.device_kind}, {usable:.2f} GiB usable each'
  )
  print(HEAD, flush=True)
  rows = []
  for row in memory.compile_all(cfg, stages(cfg), devices):
    rows.append(row)
    print(program_line(row), flush=True)
  report = {
    'topology': args.topology or layout.device_kind,
    'devices': layout.devices,
    'usable': round(usable, 2),
    'programs': [dataclasses.asdict(row) for row in rows],
    'stages': [],
  }
  bad = [row.program for row in rows if row.fault]
  if chip and not bad:
    hours = stage_hours(cfg, layout, chip)
    report['stages'] = [dataclasses.asdict(stage) for stage in hours]
    report['assumed'] = work.assumed(cfg)
    report['efficiency'], report['price'] = efficiency, price
    print(stage_table(hours, layout.devices, efficiency, price))
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


def stages(cfg: config.Config) -> list[str]:
  """Returns the stages of this run that compile programs."""
  methods = [restpg.METHODS[name] for name in cfg.methods]
  has = {
    'reason': any(m.reasoning for m in methods),
    'draw': any(m.em for m in methods) and cfg.iterations > 0,
    'judge': cfg.reward.name == 'judge',
    'test_judge': has_test_judge(cfg),
    'embed': bool(model_size.encoder_names(cfg)),
  }
  return [
    n
    for n in (*memory.DRAW_WORKLOADS, *memory.OTHER_PROGRAMS)
    if has.get(n, True)
  ]


def has_test_judge(cfg: config.Config) -> bool:
  """Says whether the test set is judged by a program of its own."""
  if cfg.reward.name != 'judge':
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
      known[key] = StageHours(method, name, round(alike[workload] / 3600, 4))
    return AbstractArtifact(name, list(known).index(key))

  for method in cfg.methods:
    list(restpg.restpg(cfg, restpg.METHODS[method], step))
  return [stage for stage in known.values() if stage.hours]


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
      f'{stage.method:<15}{stage.name:<18}{_time(stage.hours):>16}'
      f'{_time(likely):>16}'
      f'{likely * chips:>12,.0f}{cost}'
    )
  return '\n'.join(lines)


def _time(hours: float) -> str:
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
