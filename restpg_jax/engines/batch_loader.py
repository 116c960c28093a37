"""What each step of training reads, and what it read when it went wrong."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from restpg_jax import errors
from restpg_jax.io import records
from restpg_jax.models import decoder, splash
from restpg_jax.parallel import layout as layouts
from restpg_jax.training import batches, packing

SAMPLE = 8  # steps on which the shapes of a run are chosen


@dataclasses.dataclass(frozen=True)
class StepBatches:
  """What an optimizer step reads."""

  rows: list[batches.TrainingRow]  # its examples
  groups: list[packing.MicroBatch]  # how they lie in micro-batches
  batches: list[batches.Batch]  # these, on their devices

  @property
  def targets(self) -> np.float32:
    """What the losses of all micro-batches are divided by."""
    return np.float32(max(1, batches.targets(self.rows)))

  @property
  def tokens(self) -> int:
    return sum(len(row.tokens) for row in self.rows)

  @property
  def slots(self) -> int:
    return packing.slots(self.groups)


@dataclasses.dataclass(frozen=True)
class BatchLoader:
  """Steps of a run: each a pure function of the seed and its number."""

  layout: layouts.Layout
  outputs: Sequence[batches.TrainingExample]
  seed: int
  size: int  # examples a step
  shapes: tuple[packing.BatchShape, ...]
  work: packing.PackingCost
  parts: int = 1  # of a row that `splash` wants in turns

  @classmethod
  def of(
    cls,
    outputs: Sequence[batches.TrainingExample],
    model: decoder.Size,
    layout,
    *,
    attention: str,
    seed: int,
    size: int,
  ) -> 'BatchLoader':
    """With the shapes that pack these rows best on these devices."""
    check_row_length(outputs, layout.compute.row_length)
    some = [
      batches.rows_of_step(len(outputs), seed=seed, step=n, size=size)
      for n in range(SAMPLE)
    ]
    lengths = [output.length for output in outputs]
    work, shapes = packing_of(lengths, some, model, layout, attention)
    parts = layout.context_parallel if attention == 'splash' else 1
    return cls(layout, outputs, seed, size, shapes, work, parts)

  def step(self, n: int) -> StepBatches:
    return self.made(*self.plan(n))

  def plan(
    self, n: int
  ) -> tuple[list[batches.TrainingRow], list[packing.MicroBatch]]:
    """The examples of a step, and how they lie in micro-batches."""
    numbers = batches.rows_of_step(
      len(self.outputs), seed=self.seed, step=n, size=self.size
    )
    rows = [self.outputs[i].row() for i in numbers]
    lengths = [row.length for row in rows]
    return rows, packing.pack(lengths, self.shapes, self.work)

  def made(
    self, rows: list[batches.TrainingRow], groups: list[packing.MicroBatch]
  ) -> StepBatches:
    made = [batch(rows, group, self.layout, self.parts) for group in groups]
    return StepBatches(rows, groups, made)


def packing_of(
  lengths: Sequence[packing.Length],
  some: Sequence[Sequence[int]],
  model: decoder.Size,
  layout,
  attention: str,
) -> tuple[packing.PackingCost, tuple[packing.BatchShape, ...]]:
  """What micro-batches cost there, and the shapes of them that pack some steps
  of a run best."""
  work = packing.PackingCost(
    layout.parts, model.attention_share(), layout.context_parallel
  )
  least = (
    splash.multiple(layout.context_parallel) if attention == 'splash' else 16
  )
  return work, packing.choose_shapes(
    lengths,
    some,
    work,
    rows=layout.compute.rows,
    length=layout.compute.row_length,
    least=least,
  )


def batch(
  chosen: Sequence[batches.TrainingRow],
  group: packing.MicroBatch,
  layout,
  parts: int,
) -> batches.Batch:
  """A micro-batch on its devices; each process makes its own rows."""
  own = layout.own_rows(group.shape.rows)
  made = batches.pack_rows(
    [[chosen[n] for n in group.rows[b]] for b in own],
    dataclasses.replace(group.shape, rows=len(own)),
  )
  if parts > 1:
    made = batches.load_balanced(made, splash.turns(group.shape.length, parts))
  return layout.batch(made, group.shape.rows)


def check_row_length(
  outputs: Sequence[batches.TrainingExample], row_length: int
) -> None:
  """Raises InputError for an example that is longer than a row may be."""
  longest = max(outputs, key=lambda output: output.length.tokens)
  if row_length and longest.length.tokens > row_length:
    raise errors.InputError(
      f'compute.row_length={row_length} is too short for {longest.id}, which '
      f'has {longest.length.tokens} tokens; raise it, or set 0'
    )


@dataclasses.dataclass(frozen=True)
class ReplayLine:
  """A line of replay.jsonl: an example that a step read, and where it lay."""

  step: int
  after: int  # the checkpoint that all steps up to this one follow; 0: start
  micro_batch: int
  row: int
  id: str
  tokens: tuple[int, ...]
  weights: tuple[float, ...]


def divergence_error(
  out,
  number: int,
  found: dict[str, float],
  step: StepBatches,
  *,
  after: int,
) -> errors.InputError:
  """Writes replay.jsonl; what to raise where `found` is no number any more."""
  path = out / 'replay.jsonl'
  lines = [
    ReplayLine(number, after, m, b, **dataclasses.asdict(step.rows[n]))
    for m, group in enumerate(step.groups)
    for b, row in enumerate(group.rows)
    for n in row
  ]
  records.write(path, lines)
  said = ', '.join(f'{name} {value}' for name, value in found.items())
  ids = [line.id for line in lines]
  more = f' and {len(ids) - 3} more' if ids[3:] else ''
  return errors.InputError(
    f'step {number} of training gave {said}; it read {", ".join(ids[:3])}{more}'
    f': all of it is in {path}. Lower train.learning_rate or mend the examples'
  )
