"""Which examples share a row, and how long rows are.

A step trains exactly its batch of examples, whatever their lengths: they are
laid into rows of L tokens, side by side, and the rows into micro-batches of B.
Only a few shapes (B, L, T) are ever compiled; each step takes the cheapest.
All of it is a pure function of lengths.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Of a device, that are tried.
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32)
LENGTHS = (1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 2, 3, 4)  # of the longest example
SHAPES = 3  # at most; each is compiled
GAIN = 0.01  # share of the work that one more shape must save
TOKENS = 4096  # of a device in a micro-batch, unless an example is longer
LAUNCH = 128  # tokens that a device could do while a micro-batch is set up
SLACK = 1.25  # room for targets in a row, over their share of all tokens


class Length(NamedTuple):
  """Of an example."""

  tokens: int
  targets: int


@dataclasses.dataclass(frozen=True)
class BatchShape:
  """Of a micro-batch: B rows of L tokens, of which T may be targets."""

  rows: int
  length: int
  targets: int


class MicroBatch(NamedTuple):
  """A micro-batch: numbers of the examples in each of its rows."""

  shape: BatchShape
  rows: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class PackingCost:
  """What micro-batches cost, in slots that see nothing but themselves."""

  devices: int  # among which the rows are split; each may be several:
  attention: float  # what a slot costs more for each token of its row
  context_parallel: int = 1  # devices that have a part of each row

  def of(self, shape: BatchShape) -> float:
    """Of one micro-batch."""
    slots = shape.rows * shape.length * (1 + self.attention * shape.length)
    return slots + LAUNCH * self.devices * self.context_parallel

  def of_step(self, step: Sequence[MicroBatch]) -> float:
    return sum(self.of(group.shape) for group in step)


def pack(
  lengths: Sequence[Length], shapes: Sequence[BatchShape], work: PackingCost
) -> list[MicroBatch]:
  """A step as cheap as these shapes allow, in one of them or in two.

  The second takes what the first would not fill a micro-batch with.
  """
  ways = []
  for shape in shapes:
    if all(fits(one, shape) for one in lengths):
      ways.append(groups(lengths, range(len(lengths)), shape))
      whole = [g for g in ways[-1] if g.rows[-1]]
      used = {n for group in whole for row in group.rows for n in row}
      rest = [n for n in range(len(lengths)) if n not in used]
      ways += [
        whole + groups(lengths, rest, other)
        for other in shapes
        if rest and all(fits(lengths[n], other) for n in rest)
      ]
  return min(ways, key=work.of_step)


def groups(
  lengths: Sequence[Length], numbers: Sequence[int], shape: BatchShape
) -> list[MicroBatch]:
  """Micro-batches of one shape, the fullest rows first, empty ones last."""
  rows = [
    tuple(numbers[n] for n in row)
    for row in in_rows([lengths[n] for n in numbers], shape)
  ]
  rows.sort(key=lambda row: -sum(lengths[n].tokens for n in row))
  rows += [()] * (-len(rows) % shape.rows)
  starts = range(0, len(rows), shape.rows)
  return [MicroBatch(shape, tuple(rows[n : n + shape.rows])) for n in starts]


def slots(step: Sequence[MicroBatch]) -> int:
  """Tokens that the arrays of a step hold, padding included."""
  return sum(group.shape.rows * group.shape.length for group in step)


def in_rows(
  lengths: Sequence[Length], shape: BatchShape
) -> list[tuple[int, ...]]:
  """Best fit, the longest first: each into the fullest row with room for it.

  tokens 5, 3, 4, 2 into rows of 8  ->  (0, 1), (2, 3)
  """
  rows, left = [], []
  order = sorted(range(len(lengths)), key=lambda n: (-lengths[n].tokens, n))
  for n in order:
    one = lengths[n]
    room = [
      (have.tokens, row)
      for row, have in enumerate(left)
      if one.tokens <= have.tokens and one.targets <= have.targets
    ]
    if room:
      _, row = min(room)
    else:
      row = len(rows)
      rows.append([])
      left.append(Length(shape.length, shape.targets))
    rows[row].append(n)
    left[row] = Length(
      *(have - need for have, need in zip(left[row], one, strict=True))
    )
  return [tuple(row) for row in rows]


def fits(one: Length, shape: BatchShape) -> bool:
  return one.tokens <= shape.length and one.targets <= shape.targets


def choose_shapes(
  lengths: Sequence[Length],
  steps: Iterable[Sequence[int]],
  work: PackingCost,
  *,
  rows: int = 0,
  length: int = 0,
  least: int = 16,
) -> tuple[BatchShape, ...]:
  """The few that make a run cheap, found on some of its steps.

  lengths: of all examples; steps: numbers of those of a step. rows (of a
  device) and length are taken as they are where they are not 0. Lengths are
  multiples of `least` or of a larger power of two.
  """
  offered = candidates(lengths, work, rows=rows, length=length, least=least)
  sample = [[lengths[n] for n in step] for step in steps]

  def cost(chosen):
    return sum(work.of_step(pack(step, chosen, work)) for step in sample)

  anything = [s for s in offered if all(fits(one, s) for one in lengths)]
  chosen = [min(anything, key=lambda s: cost([s]))]
  while len(chosen) < SHAPES:
    known = cost(chosen)
    more = min(offered, key=lambda s: cost([*chosen, s]))
    if cost([*chosen, more]) > (1 - GAIN) * known:
      break
    chosen.append(more)
  return tuple(chosen)


def candidates(
  lengths: Sequence[Length],
  work: PackingCost,
  *,
  rows: int,
  length: int,
  least: int,
) -> list[BatchShape]:
  """Shapes that may be chosen, among them some that hold every example."""
  longest = max(one.tokens for one in lengths)
  multiple = _multiple(longest, least)
  enough = length or _up(longest, multiple)
  tried = {_up(share * longest, multiple) for share in LENGTHS}
  room = max(TOKENS * work.context_parallel, (rows or 1) * enough)
  found = []
  for L in [length] if length else sorted(tried):
    T = places(lengths, L)
    for b in [rows] if rows else ROWS:
      if b * L <= room:
        found.append(BatchShape(b * work.devices, L, T))
  return found


def largest(
  longest: int, *, rows: int, length: int, least: int, context_parallel: int = 1
) -> BatchShape:
  """What a device, or so many sharing its rows, may have to hold if no example
  has more than so many tokens: no micro-batch of `shapes` has more, and every
  place may be a target."""
  most = TOKENS * context_parallel
  if not length:
    length = _up(longest, _multiple(longest, least))
    if rows:  # they may be longer than any example
      length = max(length, _up(most / rows, least))
  return BatchShape(rows or -(-most // length), length, length)


def places(lengths: Sequence[Length], length: int) -> int:
  """Room for targets in a row of so many tokens."""
  tokens, targets = (sum(of) for of in zip(*lengths, strict=True))
  share = math.ceil(SLACK * targets / tokens * length)
  longest = max(
    (one.targets for one in lengths if one.tokens <= length), default=0
  )
  return min(_up(max(share, longest, 1), 16), length)


def _multiple(longest: int, least: int) -> int:
  """280 -> 16, 2,000 -> 128, 6,656 -> 512: a power of two, of 16 to 512."""
  return max(least, min(512, 2 ** math.ceil(math.log2(longest / 20))))


def _up(n: float, multiple: int) -> int:
  return -(-math.ceil(n) // multiple) * multiple
