"""Compiles the programs of a run to see whether they fit its devices."""

import copy
import dataclasses
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import jax

from restpg_jax import config, errors
from restpg_jax.engines import trainer
from restpg_jax.parallel import chips
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import draw_workloads, programs
from restpg_jax.sampling import budget as sampling_budget

GIB = 2**30
MAX_FAULT = 200  # characters of a compiler's message
COMPILED_AT_ONCE = 2  # programs; the compiler takes 4 GB for each of a 7B


@dataclasses.dataclass(frozen=True)
class ProgramReport:
  """Holds what a program needs of a device, by its compiler; sizes are GiB."""

  program: str
  shape: str = ''
  arguments: float | None = None  # None: the compiler gave up, see `fault`
  temporaries: float | None = None
  total: float | None = None
  tflop: float | None = None  # that it computes, a call
  ratio: float | None = None  # of that to what the method needs
  seconds: float | None = None  # a call, at least; None: an unknown chip
  compile_seconds: float | None = None  # here, beside another program
  fault: str = ''  # why it does not fit
  remedy: str = ''  # the nearest setting with which it does


# The stages that compile, by name: those that draw, and others.
DRAW_WORKLOADS = {
  'reason': draw_workloads.reason_workload,
  'draw': draw_workloads.draw_workload,
  'answer': draw_workloads.answer_workload,
}
OTHER_PROGRAMS = {
  'judge': programs.judge_programs,
  'test_judge': programs.test_judge_programs,
  'train': programs.train_programs,
  'embed': programs.encoder_programs,
}


def stage_programs(
  cfg: config.Config, stage: str, layout: layouts.Layout
) -> list[programs.Program]:
  """Returns the programs of a stage."""
  if stage in OTHER_PROGRAMS:
    return OTHER_PROGRAMS[stage](cfg, layout)
  workload = DRAW_WORKLOADS[stage](cfg, draw_workloads.split_sizes(cfg))
  return programs.draw_programs(workload, layout)


def compile_all(
  cfg: config.Config, names: Sequence[str], devices: Sequence[Any]
) -> Iterator[ProgramReport]:
  """Yields a report of each program of these stages.

  A program that does not fit comes with a remedy.
  """
  layout = layouts.Layout.of(cfg.compute, devices, cfg.train.batch_size)
  stages = [
    (name, *stage_programs_or_fault(cfg, name, layout)) for name in names
  ]
  # XLA compiles beside Python: two programs at a time on two cores.
  with futures.ThreadPoolExecutor(COMPILED_AT_ONCE) as pool:
    rows = [
      (name, pool.submit(compile_program, program, layout))
      for name, programs_of_stage, _ in stages
      for program in programs_of_stage
    ]
    for name, _, fault in stages:
      if fault:
        yield ProgramReport(
          name, fault=fault, remedy=nearest(cfg, name, devices)
        )
    for name, row in rows:
      row = row.result()
      if row.fault:
        remedy = nearest(cfg, name, devices)
        row = dataclasses.replace(row, remedy=remedy)
      yield row


def stage_programs_or_fault(
  cfg: config.Config, name: str, layout: layouts.Layout
) -> tuple[list[programs.Program], str]:
  """Returns the programs of a stage, or none and why.

  Sampling divides memory among its slots before it compiles.
  """
  try:
    return stage_programs(cfg, name, layout), ''
  except sampling_budget.TooLittle as e:
    return [], errors.detail(e)


def compile_program(
  program: programs.Program, layout: layouts.Layout
) -> ProgramReport:
  """Compiles a program.

  The report has a fault where the compiler, or the sum of what it states, says
  that there is too little memory.
  """
  parts, fault, compiling, have = (
    {},
    '',
    None,
    f'of {layout.usable / GIB:.2f} GiB',
  )
  if program.held > layout.usable:  # needs no compiler, which takes its time
    fault = f'weights alone need {program.held / GIB:.2f} {have}'
  else:
    try:
      start = time.monotonic()
      compiled = program.lower().compile()
      compiling = round(time.monotonic() - start, 1)
      parts = _parts(compiled.memory_analysis())
    except (jax.errors.JaxRuntimeError, NotImplementedError) as e:
      # Too little memory, or a shape that this compiler stumbles over.
      fault = errors.detail(e).split('. ')[0][:MAX_FAULT]
  if parts and parts['total'] > layout.usable:
    fault = f'needs {parts["total"] / GIB:.2f} {have}'
  sizes = {name: round(size / GIB, 4) for name, size in parts.items()}
  chip, cost = chips.CHIPS.get(layout.device_kind), program.work
  seconds = chip and max(
    program.passes * cost.hardware / chip.flops, cost.bytes / chip.bandwidth
  )
  return ProgramReport(
    program.name,
    program.shape,
    arguments=sizes.get('arguments'),
    temporaries=sizes.get('temporaries'),
    total=sizes.get('total'),
    tflop=round(cost.hardware / 1e12, 3),
    ratio=round(cost.hardware / cost.model, 2) if cost.model else None,
    seconds=seconds and round(seconds, 5),
    compile_seconds=compiling,
    fault=fault,
  )


def _parts(memory: Any) -> dict[str, int]:
  """Sums bytes on a device; what is donated counts once.

  `memory` is what XLA calls CompiledMemoryStats.
  """
  arguments = memory.argument_size_in_bytes
  temporaries = memory.temp_size_in_bytes
  outputs = memory.output_size_in_bytes - memory.alias_size_in_bytes
  code = memory.generated_code_size_in_bytes
  total = arguments + temporaries + outputs + code
  return dict(arguments=arguments, temporaries=temporaries, total=total)


def nearest(cfg: config.Config, stage: str, devices: Sequence[Any]) -> str:
  """Returns the first of `changes` with which all programs of a stage fit."""
  for name, value in changes(cfg, stage, devices):
    other = copy.deepcopy(cfg)
    section, setting = name.split('.')
    setattr(getattr(other, section), setting, value)
    try:
      layout = layouts.Layout.of(other.compute, devices, other.train.batch_size)
      tried = stage_programs(other, stage, layout)
    except errors.InputError:
      continue
    if not any(compile_program(program, layout).fault for program in tried):
      return f'{name}={value}'
  return 'nothing that was tried; take more or larger chips'


def changes(
  cfg: config.Config, stage: str, devices: Sequence[Any]
) -> Iterator[tuple[str, float | str]]:
  """Yields settings that need less memory, the smallest change first."""
  compute = cfg.compute
  layout = layouts.Layout.of(compute, devices, cfg.train.batch_size)
  if stage == 'embed':
    return
  if stage == 'train':
    if trainer.remat_of(layout) != 'full':
      yield 'compute.remat', 'full'
    if compute.rows > 1:
      yield 'compute.rows', 1
    for name in ('fsdp', 'model'):
      now = layout.mesh.shape[name]
      more = (now * n for n in (2, 4) if now * n <= layout.devices)
      yield from ((f'compute.{name}', n) for n in more)
    return
  if stage in ('judge', 'test_judge'):
    halves = (('compute.judged', compute.judged // n) for n in (2, 4, 8, 16))
    yield from ((name, n) for name, n in halves if n)
  elif compute.prompts:
    halves = (('compute.prompts', compute.prompts // n) for n in (2, 4, 8))
    yield from ((name, n) for name, n in halves if n)
  else:
    # As much as sampling takes by itself, or less.
    unset = dataclasses.replace(compute, memory=0.0)
    largest = layouts.Layout.of(unset, devices).memory
    shares = (largest, largest * 0.9, largest * 0.75)
    yield from (
      ('compute.memory', float(f'{share / GIB:.3g}'))
      for share in shares
      if share != layout.memory
    )
  if stage == 'test_judge':  # nothing else need be shared
    now = cfg.evaluate.shards or compute.shards
    more = (now * n for n in (2, 4, 8) if now * n <= layout.devices)
    yield from (('evaluate.shards', n) for n in more)
  else:
    yield from (('compute.shards', compute.shards * n) for n in (2, 4, 8))
