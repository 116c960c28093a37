"""Whether the programs of a run fit its devices, found by compiling them."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from concurrent import futures

import jax

from restpg_jax import config, errors
from restpg_jax.engines import trainer
from restpg_jax.parallel import chips
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import programs
from restpg_jax.preflight import workload as work
from restpg_jax.sampling import budget as sampling_budget

GIB = 2**30
SAID = 200  # letters of a compiler's complaint
TOGETHER = 2  # programs that are compiled side by side; 4 GB each for a 7B


@dataclasses.dataclass(frozen=True)
class ProgramReport:
  """A program, compiled; GiB are those of a device."""

  program: str
  shape: str = ''
  arguments: float | None = None  # None: the compiler gave up, see `fault`
  temporaries: float | None = None
  total: float | None = None
  tflop: float | None = None  # that it computes, a call
  ratio: float | None = None  # of that to what the method needs
  seconds: float | None = None  # a call, at least; None: an unknown chip
  fault: str = ''  # why it cannot be had
  remedy: str = ''  # the nearest setting with which it can


# Stages whose programs a run compiles.
DRAWINGS = {
  'reason': programs.reason_workload,
  'draw': programs.draw_workload,
  'answer': programs.answer_workload,
}
OTHERS = {
  'judge': programs.judge_programs,
  'test_judge': programs.of_test_judge,
  'train': programs.train_programs,
  'embed': programs.encoder_programs,
}


def stage_programs(
  cfg: config.Config, stage: str, layout
) -> list[programs.Program]:
  """The programs of a stage."""
  if stage in OTHERS:
    return OTHERS[stage](cfg, layout)
  return programs.draw_programs(DRAWINGS[stage](cfg, split_sizes(cfg)), layout)


def split_sizes(cfg: config.Config) -> programs.SplitSizes:
  return programs.SplitSizes(
    work.examples(cfg, 'train'),
    work.examples(cfg, 'val', most=cfg.choose.examples),
    work.examples(cfg, 'test'),
  )


def compile_all(
  cfg: config.Config, names: Sequence[str], devices
) -> Iterator[ProgramReport]:
  """Each program of these stages; with a remedy where one cannot be had."""
  layout = layouts.Layout.of_run(cfg, devices)
  found = [
    (name, *stage_programs_or_fault(cfg, name, layout)) for name in names
  ]
  # XLA compiles beside Python: two programs at a time on two cores.
  with futures.ThreadPoolExecutor(TOGETHER) as pool:
    rows = [
      (name, pool.submit(compile_program, program, layout))
      for name, some, _ in found
      for program in some
    ]
    for name, _, fault in found:
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
  cfg: config.Config, name: str, layout
) -> tuple[list[programs.Program], str]:
  """The programs, or none and why: sampling counts before it compiles."""
  try:
    return stage_programs(cfg, name, layout), ''
  except sampling_budget.TooLittle as e:
    return [], errors.detail(e)


def compile_program(program: programs.Program, layout) -> ProgramReport:
  """Compiled; a fault if the compiler says or the sum shows that memory is
  too little."""
  parts, fault, have = {}, '', f'of {layout.usable / GIB:.2f} GiB'
  if program.held > layout.usable:  # needs no compiler, which takes its time
    fault = f'weights alone need {program.held / GIB:.2f} {have}'
  else:
    try:
      parts = _parts(program.lower().compile().memory_analysis())
    except (jax.errors.JaxRuntimeError, NotImplementedError) as e:
      # Too little memory, or a shape that this compiler stumbles over.
      fault = errors.detail(e).split('. ')[0][:SAID]
  if parts and parts['total'] > layout.usable:
    fault = f'needs {parts["total"] / GIB:.2f} {have}'
  chip, of = chips.CHIPS.get(layout.kind), program.work
  seconds = chip and max(
    program.passes * of.hardware / chip.flops, of.bytes / chip.bandwidth
  )
  return ProgramReport(
    program.name,
    program.shape,
    **{name: round(size / GIB, 4) for name, size in parts.items()},
    tflop=round(of.hardware / 1e12, 3),
    ratio=round(of.hardware / of.model, 2) if of.model else None,
    seconds=seconds and round(seconds, 5),
    fault=fault,
  )


def _parts(memory) -> dict[str, int]:
  """Bytes on a device; what is donated counts once."""
  arguments = memory.argument_size_in_bytes
  temporaries = memory.temp_size_in_bytes
  made = memory.output_size_in_bytes - memory.alias_size_in_bytes
  code = memory.generated_code_size_in_bytes
  total = arguments + temporaries + made + code
  return dict(arguments=arguments, temporaries=temporaries, total=total)


def nearest(cfg: config.Config, stage: str, devices) -> str:
  """The first change of `changes` with which all programs of a stage fit."""
  for name, value in changes(cfg, stage, devices):
    other = copy.deepcopy(cfg)
    section, setting = name.split('.')
    setattr(getattr(other, section), setting, value)
    try:
      layout = layouts.Layout.of_run(other, devices)
      found = stage_programs(other, stage, layout)
    except errors.InputError:
      continue
    if not any(compile_program(program, layout).fault for program in found):
      return f'{name}={value}'
  return 'nothing that was tried; take more or larger chips'


def changes(
  cfg: config.Config, stage: str, devices
) -> Iterator[tuple[str, float | str]]:
  """Settings that need less memory, the smallest change first."""
  compute, layout = cfg.compute, layouts.Layout.of_run(cfg, devices)
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
    # As sampling takes by itself, or less.
    most = dataclasses.replace(compute, memory=0.0)
    most = layouts.Layout.of(most, devices).memory
    shares = (most, most * 0.9, most * 0.75)
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
