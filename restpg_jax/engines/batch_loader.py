"""The batches of each training step, and which it read when it diverged."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from etils import epath

from restpg_jax import errors
from restpg_jax.io import records
from restpg_jax.models import size as sizes
from restpg_jax.models import splash
from restpg_jax.parallel import layout as layouts
from restpg_jax.training import batches, packing

SAMPLE = 8  # steps, by which the shapes of a run are chosen


@dataclasses.dataclass(frozen=True)
class StepBatches:
  """The examples of an optimizer step, packed into micro-batches."""

  number: int  # of the step, from 0
  rows: list[batches.TrainingRow]  # its examples
  groups: list[packing.MicroBatch]  # how they lie in micro-batches
  batches: list[batches.Batch]  # these, on their devices

  @property
  def targets(self) -> np.float32:
    """The number that the losses of all micro-batches are divided by."""
    return np.float32(max(1, batches.targets(self.rows)))

  @property
  def tokens(self) -> int:
    """The number of tokens of all examples."""
    return sum(len(row.tokens) for row in self.rows)

  @property
  def slots(self) -> int:
    """The number of token positions of all micro-batches, padding included."""
    return packing.slots(self.groups)


@dataclasses.dataclass(frozen=True)
class BatchLoader:
  """Makes the batches of a step: a pure function of the seed and the step."""

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
    model: sizes.Size,
    layout: layouts.Layout,
    *,
    attention: str,
    seed: int,
    size: int,
  ) -> 'BatchLoader':
    """Builds a loader with the shapes that pack these rows best.

    Raises InputError for an example that is longer than a row may be.
    """
    check_row_length(outputs, layout.compute.row_length)
    sampled_steps = [
      batches.rows_of_step(len(outputs), seed=seed, step=n, size=size)
      for n in range(SAMPLE)
    ]
    lengths = [output.length for output in outputs]
    work, shapes = packing_of(lengths, sampled_steps, model, layout, attention)
    parts = layout.context_parallel if attention == 'splash' else 1
    return cls(layout, outputs, seed, size, shapes, work, parts)

  def step(self, n: int) -> StepBatches:
    """Returns step n, counted from 0."""
    return self.build(n, *self.plan(n))

  def plan(
    self, n: int
  ) -> tuple[list[batches.TrainingRow], list[packing.MicroBatch]]:
    """Returns the examples of a step, and how they lie in micro-batches."""
    indices = batches.rows_of_step(
      len(self.outputs), seed=self.seed, step=n, size=self.size
    )
    rows = [self.outputs[i].row() for i in indices]
    lengths = [row.length for row in rows]
    return rows, packing.pack(lengths, self.shapes, self.work)

  def build(
    self,
    n: int,
    rows: list[batches.TrainingRow],
    groups: list[packing.MicroBatch],
  ) -> StepBatches:
    """Puts the micro-batches of the plan of step n on their devices."""
    on_devices = [
      build_batch(rows, group, self.layout, self.parts) for group in groups
    ]
    return StepBatches(n, rows, groups, on_devices)


def packing_of(
  lengths: Sequence[packing.Length],
  steps: Sequence[Sequence[int]],
  model: sizes.Size,
  layout: layouts.Layout,
  attention: str,
) -> tuple[packing.PackingCost, tuple[packing.BatchShape, ...]]:
  """Returns the cost of micro-batches, and the shapes that pack steps best.

  `steps` are indices into `lengths`: those of a few steps stand for the run.
  """
  work = packing.PackingCost(
    layout.parts, model.attention_share(), layout.context_parallel
  )
  min_length = (
    splash.multiple(layout.context_parallel) if attention == 'splash' else 16
  )
  return work, packing.choose_shapes(
    lengths,
    steps,
    work,
    rows=layout.compute.rows,
    length=layout.compute.row_length,
    multiple=min_length,
  )


def build_batch(
  rows: Sequence[batches.TrainingRow],
  group: packing.MicroBatch,
  layout: layouts.Layout,
  parts: int,
) -> batches.Batch:
  """Puts a micro-batch on its devices; each process makes its own rows."""
  own = layout.own_rows(group.shape.rows)
  packed = batches.pack_rows(
    [[rows[n] for n in group.rows[b]] for b in own],
    dataclasses.replace(group.shape, rows=len(own)),
  )
  if parts > 1:
    order = splash.turns(group.shape.length, parts)
    packed = batches.load_balanced(packed, order)
  return layout.batch(packed, group.shape.rows)


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
  out: epath.Path,
  metrics: dict[str, float],
  step: StepBatches,
  *,
  after: int,
) -> errors.InputError:
  """Writes replay.jsonl, and returns what to raise for metrics that are NaN."""
  path, number = out / 'replay.jsonl', step.number + 1
  lines = [
    ReplayLine(number, after, m, b, **dataclasses.asdict(step.rows[n]))
    for m, group in enumerate(step.groups)
    for b, row in enumerate(group.rows)
    for n in row
  ]
  records.write(path, lines)
  values = ', '.join(f'{name} {value}' for name, value in metrics.items())
  ids = [line.id for line in lines]
  more = f' and {len(ids) - 3} more' if ids[3:] else ''
  return errors.InputError(
    f'step {number} of training gave {values}; it read '
    f'{", ".join(ids[:3])}{more}: all of it is in {path}. Lower '
    'train.learning_rate or mend the examples'
  )
