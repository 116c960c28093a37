"""What each step of training reads, and what it read when it went wrong."""

import dataclasses
from collections.abc import Sequence

from restpg_jax import errors
from restpg_jax.io import records
from restpg_jax.models import decoder, packed
from restpg_jax.training import batches, packing

SAMPLE = 8  # steps on which the shapes of a run are chosen


@dataclasses.dataclass(frozen=True)
class Feed:
  """Batches of a run: each a pure function of the seed and the step."""

  outputs: Sequence[batches.Output]
  seed: int
  size: int  # examples a step
  shapes: tuple[packing.Shape, ...]
  work: packing.Work

  @classmethod
  def of(
    cls,
    outputs: Sequence[batches.Output],
    model: decoder.Size,
    layout,
    *,
    attention: str,
    seed: int,
    size: int,
  ) -> 'Feed':
    """With the shapes that pack these rows best on these devices."""
    check(outputs, layout.compute.row_length)
    work = packing.Work(layout.parts, model.attention_share())
    some = [
      batches.rows_of_step(len(outputs), seed=seed, step=n, size=size)
      for n in range(SAMPLE)
    ]
    shapes = packing.shapes(
      [output.length for output in outputs],
      some,
      work,
      rows=layout.compute.rows,
      length=layout.compute.row_length,
      least=packed.LANES if attention == 'splash' else 16,
    )
    return cls(outputs, seed, size, shapes, work)

  def step(self, n: int) -> tuple[list[batches.Row], list[packing.Group]]:
    """The examples of a step, and how they lie in micro-batches."""
    numbers = batches.rows_of_step(
      len(self.outputs), seed=self.seed, step=n, size=self.size
    )
    chosen = [self.outputs[i].row() for i in numbers]
    lengths = [row.length for row in chosen]
    return chosen, packing.pack(lengths, self.shapes, self.work)


def batch(
  chosen: Sequence[batches.Row], group: packing.Group, layout
) -> batches.Batch:
  """A micro-batch on its devices; each process makes its own rows."""
  own = layout.own_rows(group.shape.rows)
  made = batches.pack(
    [[chosen[n] for n in group.rows[b]] for b in own],
    dataclasses.replace(group.shape, rows=len(own)),
  )
  return layout.batch(made, group.shape.rows)


def check(outputs: Sequence[batches.Output], row_length: int) -> None:
  """Raises InputError for an example that is longer than a row may be."""
  longest = max(outputs, key=lambda output: output.length.tokens)
  if row_length and longest.length.tokens > row_length:
    raise errors.InputError(
      f'compute.row_length={row_length} is too short for {longest.id}, which '
      f'has {longest.length.tokens} tokens; raise it, or set 0'
    )


@dataclasses.dataclass(frozen=True)
class Read:
  """A line of replay.jsonl: an example that a step read, and where it lay."""

  step: int
  after: int  # the checkpoint that all steps up to this one follow; 0: start
  micro_batch: int
  row: int
  id: str
  tokens: tuple[int, ...]
  weights: tuple[float, ...]


def diverged(
  out,
  step: int,
  found: dict[str, float],
  chosen: Sequence[batches.Row],
  groups: Sequence[packing.Group],
  *,
  after: int,
) -> errors.InputError:
  """Writes replay.jsonl; what to raise where `found` is no number any more."""
  path = out / 'replay.jsonl'
  lines = [
    Read(step, after, m, b, **dataclasses.asdict(chosen[n]))
    for m, group in enumerate(groups)
    for b, row in enumerate(group.rows)
    for n in row
  ]
  records.write(path, lines)
  said = ', '.join(f'{name} {value}' for name, value in found.items())
  ids = [line.id for line in lines]
  more = f' and {len(ids) - 3} more' if ids[3:] else ''
  return errors.InputError(
    f'step {step} of training gave {said}; it read {", ".join(ids[:3])}{more}: '
    f'all of it is in {path}. Lower train.learning_rate or mend the examples'
  )
