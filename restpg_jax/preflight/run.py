"""Before a run: does every program fit, how long and how dear will it be?

All that the run compiles is compiled, for this machine or for TPUs that nobody
has to own; no weight, no tokenizer and no data is read. Memory is what the
compiler states, seconds and hours are arithmetic (models/flops.py).
"""

import dataclasses
from collections.abc import Sequence

from etils import epath

from restpg_jax import cautions, config, errors, restpg, validate
from restpg_jax.engines import model_size
from restpg_jax.io import records
from restpg_jax.parallel import chips
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import duration, memory
from restpg_jax.preflight import workload as work

GIB = 2**30
FILE = 'preflight.json'


@dataclasses.dataclass(frozen=True)
class StageHours:
  """Of the run."""

  method: str  # the first of those that share it
  name: str
  hours: float  # at least, on all chips together


def run_preflight(
  cfg: config.Config, flight: config.PreflightArgs, workdir: str
) -> None:
  """Prints what it finds and writes it as preflight.json.

  Raises InputError where a program does not fit.
  """
  price = _number('price', flight.price) if flight.price else None
  efficiency = _number('efficiency', flight.efficiency)
  if efficiency > 1:
    raise errors.InputError(f'--efficiency={efficiency:g}: at most 1')
  restpg.check_config(cfg)
  restpg.check_splits(cfg)
  devices = chips.described(flight.topology) if flight.topology else ()
  layout = layouts.Layout.of_run(cfg, devices)
  validate.check_policy(cfg, layout)
  cautions.warn_of_cautions(cfg, **restpg.kinds(cfg))
  chip = chips.CHIPS.get(layout.kind)
  usable = layout.usable / GIB
  print(f'{layout.devices} x {layout.kind}, {usable:.2f} GiB usable each')
  print(HEAD, flush=True)
  rows = []
  for row in memory.compile_all(cfg, stages(cfg), devices):
    rows.append(row)
    print(program_line(row), flush=True)
  found = {
    'topology': flight.topology or layout.kind,
    'devices': layout.devices,
    'usable': round(usable, 2),
    'programs': [dataclasses.asdict(row) for row in rows],
    'stages': [],
  }
  bad = [row.program for row in rows if row.fault]
  if chip and not bad:
    hours_of = stage_hours(cfg, layout, chip)
    found['stages'] = [dataclasses.asdict(stage) for stage in hours_of]
    found['assumed'] = work.assumed(cfg)
    found['efficiency'], found['price'] = efficiency, price
    print(stage_table(hours_of, layout.devices, efficiency, price))
    print(found['assumed'])
  path = epath.Path(workdir or '.') / FILE
  path.parent.mkdir(parents=True, exist_ok=True)
  records.write_json(path, found)
  print(path)
  if bad:
    raise errors.InputError(
      f'{", ".join(bad)}: not to be had on {found["topology"]}; '
      f'{path} says what would be'
    )


def stages(cfg: config.Config) -> list[str]:
  """Those of `fit` that this run has."""
  methods = [restpg.METHODS[name] for name in cfg.methods]
  has = {
    'reason': any(m.reasoning for m in methods),
    'draw': any(m.em for m in methods) and cfg.iterations > 0,
    'judge': cfg.reward.name == 'judge',
    'test_judge': has_test_judge(cfg),
    'embed': bool(model_size.encoder_names(cfg)),
  }
  return [n for n in (*memory.DRAWINGS, *memory.OTHERS) if has.get(n, True)]


def has_test_judge(cfg: config.Config) -> bool:
  """Whether the test set is judged by a program of its own."""
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
  cfg: config.Config, layout, chip: chips.Chip
) -> list[StageHours]:
  """Every stage of all methods, those that they share once."""
  of_run = duration.RunCost(cfg, layout, chip, memory.split_sizes(cfg))
  known = {}  # what a stage is made from -> its hours
  alike = {}  # what decides its seconds -> these

  def step(name, function, *came_from, cfg=None, after=None):
    del after  # what follows a stage is for the host
    key = repr((name, cfg, came_from))
    if key not in known:
      splits = [m.name for m in came_from if m.name.startswith('retrieve/')]
      split = splits[0].removeprefix('retrieve/') if splits else ''
      asked = function, repr(cfg), split
      if asked not in alike:
        alike[asked] = duration.stage_seconds(of_run, function, cfg, split)
      known[key] = StageHours(method, name, round(alike[asked] / 3600, 4))
    return AbstractArtifact(name, list(known).index(key))

  for method in cfg.methods:
    list(restpg.restpg(cfg, restpg.METHODS[method], step))
  return [stage for stage in known.values() if stage.hours]


@dataclasses.dataclass(frozen=True)
class AbstractArtifact:
  """Stands for what a stage would make."""

  name: str
  number: int  # among all that differ


HEAD = (
  f'{"GiB a device":<15}{"compiled for":<41}{"args":>6}{"temp":>6}{"total":>7}'
  f'{"TFLOP":>9}{"/model":>7}{"ms":>9}'
)


def program_line(row: memory.ProgramReport) -> str:
  """Of the table under HEAD."""

  def number(x, form):
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
  found: Sequence[StageHours],
  chips: int,
  efficiency: float,
  price: float | None,
) -> str:
  """Hours of each stage and of all."""
  rows = [*found, StageHours('all', '', sum(stage.hours for stage in found))]
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
  """0.0182  ->  '1.1 min', 5.3  ->  '5.30 h'."""
  return f'{60 * hours:.1f} min' if hours < 1 else f'{hours:.2f} h'


def _number(name: str, text: str) -> float:
  try:
    found = float(text)
  except ValueError:
    found = 0.0
  if not 0 < found < float('inf'):
    raise errors.InputError(f'--{name}={text}: it must be a number above 0')
  return found
