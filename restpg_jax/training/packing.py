"""Chooses which examples share a row, and how long rows are.

A step trains exactly its batch of examples, whatever their lengths: they are
laid into rows of L tokens, side by side, and the rows into micro-batches of B.
Only a few shapes (B, L, T) are ever compiled; each step takes the cheapest.
All of it is a pure function of lengths.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from restpg_jax import integers

# Numbers of rows of a device that are tried.
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32)
LENGTHS = (1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 2, 3, 4)  # of the longest example
SHAPES = 3  # at most; each is compiled
GAIN = 0.01  # share of the work that one more shape must save
TOKENS = 4096  # of a device in a micro-batch, unless an example is longer
LAUNCH = 128  # tokens that a device could do while a micro-batch is set up
SLACK = 1.25  # room for targets in a row, over their share of all tokens


class Length(NamedTuple):
  """The length of an example."""

  tokens: int
  targets: int


@dataclasses.dataclass(frozen=True)
class BatchShape:
  """The shape of a micro-batch: B rows of L tokens, T of them targets."""

  rows: int
  length: int
  targets: int


class MicroBatch(NamedTuple):
  """A micro-batch: the examples in each of its rows, by number."""

  shape: BatchShape
  rows: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class PackingCost:
  """The cost of micro-batches, in slots that see nothing but themselves."""

  devices: int  # among which the rows are split; each may be several:
  attention: float  # added to a slot for each token of its row
  context_parallel: int = 1  # devices that have a part of each row

  def batch_cost(self, shape: BatchShape) -> float:
    """Returns the cost of one micro-batch."""
    slots = shape.rows * shape.length * (1 + self.attention * shape.length)
    return slots + LAUNCH * self.devices * self.context_parallel

  def step_cost(self, step: Sequence[MicroBatch]) -> float:
    return sum(self.batch_cost(group.shape) for group in step)


def pack(
  lengths: Sequence[Length], shapes: Sequence[BatchShape], cost: PackingCost
) -> list[MicroBatch]:
  """Returns a step as cheap as these shapes allow, in one of them or in two.

  The second takes what the first would not fill a micro-batch with. An example
  that fits no shape is our own mistake.
  """
  steps = []
  for shape in shapes:
    if all(fits(one, shape) for one in lengths):
      steps.append(groups(lengths, range(len(lengths)), shape))
      whole = [g for g in steps[-1] if g.rows[-1]]
      used = {n for group in whole for row in group.rows for n in row}
      rest = [n for n in range(len(lengths)) if n not in used]
      steps += [
        whole + groups(lengths, rest, other)
        for other in shapes
        if rest and all(fits(lengths[n], other) for n in rest)
      ]
  return min(steps, key=cost.step_cost)


def groups(
  lengths: Sequence[Length], numbers: Sequence[int], shape: BatchShape
) -> list[MicroBatch]:
  """Returns micro-batches of one shape, the fullest rows first."""
  rows = [
    tuple(numbers[n] for n in row)
    for row in in_rows([lengths[n] for n in numbers], shape)
  ]
  rows.sort(key=lambda row: -sum(lengths[n].tokens for n in row))
  rows += [()] * (-len(rows) % shape.rows)
  starts = range(0, len(rows), shape.rows)
  return [MicroBatch(shape, tuple(rows[n : n + shape.rows])) for n in starts]


def slots(step: Sequence[MicroBatch]) -> int:
  """Returns the tokens that the arrays of a step hold, padding included."""
  return sum(group.shape.rows * group.shape.length for group in step)


def in_rows(
  lengths: Sequence[Length], shape: BatchShape
) -> list[tuple[int, ...]]:
  """Returns the examples of each row, by best fit, the longest first.

  Each goes into the fullest row with room for it:

  tokens 5, 3, 4, 2 into rows of 8  ->  (0, 1), (2, 3)
  """
  rows: list[list[int]] = []
  left: list[Length] = []
  order = sorted(range(len(lengths)), key=lambda n: (-lengths[n].tokens, n))
  for n in order:
    one = lengths[n]
    room = [
      (free.tokens, row)
      for row, free in enumerate(left)
      if one.tokens <= free.tokens and one.targets <= free.targets
    ]
    if room:
      _, row = min(room)
    else:
      row = len(rows)
      rows.append([])
      left.append(Length(shape.length, shape.targets))
    rows[row].append(n)
    left[row] = Length(
      left[row].tokens - one.tokens, left[row].targets - one.targets
    )
  return [tuple(row) for row in rows]


def fits(one: Length, shape: BatchShape) -> bool:
  """Says whether an example fits a row."""
  return one.tokens <= shape.length and one.targets <= shape.targets


def choose_shapes(
  lengths: Sequence[Length],
  steps: Iterable[Sequence[int]],
  cost: PackingCost,
  *,
  rows: int = 0,
  length: int = 0,
  multiple: int = 16,
) -> tuple[BatchShape, ...]:
  """Returns the few shapes that make a run cheap, judged by some of its steps.

  `lengths` are those of all examples, `steps` the numbers of the examples of
  each. rows (of a device) and length are taken as they are where they are not
  0. Lengths are multiples of `multiple` or of a larger power of two.
  """
  offered = candidates(
    lengths, cost, rows=rows, length=length, multiple=multiple
  )
  sample = [[lengths[n] for n in step] for step in steps]

  def total(shapes: Sequence[BatchShape]) -> float:
    return sum(cost.step_cost(pack(step, shapes, cost)) for step in sample)

  anything = [s for s in offered if all(fits(one, s) for one in lengths)]
  chosen = [min(anything, key=lambda s: total([s]))]
  while len(chosen) < SHAPES:
    known = total(chosen)
    more = min(offered, key=lambda s: total([*chosen, s]))
    if total([*chosen, more]) > (1 - GAIN) * known:
      break
    chosen.append(more)
  return tuple(chosen)


def candidates(
  lengths: Sequence[Length],
  cost: PackingCost,
  *,
  rows: int,
  length: int,
  multiple: int,
) -> list[BatchShape]:
  """Returns shapes to choose from, among them some that hold every example."""
  longest = max(one.tokens for one in lengths)
  multiple = _coarse_multiple(longest, multiple)
  enough = length or integers.round_up(longest, multiple)
  tried = {
    integers.round_up(math.ceil(share * longest), multiple) for share in LENGTHS
  }
  room = max(TOKENS * cost.context_parallel, (rows or 1) * enough)
  shapes = []
  for L in [length] if length else sorted(tried):
    T = target_capacity(lengths, L)
    for b in [rows] if rows else ROWS:
      if b * L <= room:
        shapes.append(BatchShape(b * cost.devices, L, T))
  return shapes


def largest(
  longest: int,
  *,
  rows: int,
  length: int,
  multiple: int,
  context_parallel: int = 1,
) -> BatchShape:
  """Returns the most that a device, or those that share its rows, has to hold.

  No example has more than `longest` tokens. No micro-batch of choose_shapes is
  larger, and every token may be a target.
  """
  max_tokens = TOKENS * context_parallel
  if not length:
    length = integers.round_up(longest, _coarse_multiple(longest, multiple))
    if rows:  # they may be longer than any example
      share = integers.cdiv(max_tokens, rows)
      length = max(length, integers.round_up(share, multiple))
  return BatchShape(rows or integers.cdiv(max_tokens, length), length, length)


def target_capacity(lengths: Sequence[Length], length: int) -> int:
  """Returns the room for targets in a row of so many tokens."""
  tokens = sum(one.tokens for one in lengths)
  targets = sum(one.targets for one in lengths)
  share = math.ceil(SLACK * targets / tokens * length)
  longest = max(
    (one.targets for one in lengths if one.tokens <= length), default=0
  )
  return min(integers.round_up(max(share, longest, 1), 16), length)


def _coarse_multiple(longest: int, multiple: int) -> int:
  """Returns a power of two up to 512: 280 -> 16, 2,000 -> 128, 6,656 -> 512.

  It is about a twentieth of the longest example, but at least `multiple`.
  """
  return max(multiple, min(512, 2 ** math.ceil(math.log2(longest / 20))))
