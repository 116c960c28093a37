"""Groups texts to be judged into batches of a few compiled shapes.

The candidates of one input share how their prompts begin, and a batch holds
what they share once. A shape follows from a candidate's own lengths, so that
its numbers are the same, bit for bit, whoever is judged beside it.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from restpg_jax import integers

STEP = 32  # tokens: the closest two lengths that are compiled
# Lengths of rests, and of the prefixes in front of such rests, as shares of the
# longest prompt. Each pair is a compile of the whole model, so they are few;
# and the answers to an input read its prefix once for each length of rest that
# they have, so more lengths save little: docs/performance.md has both.
SHARES = (
  (1 / 32, (1 / 16, 1 / 9, 1 / 4)),
  (1 / 18, (1 / 16, 1 / 8, 1 / 4)),
  (1 / 10, (1 / 9, 1 / 5)),
  (1 / 5, (1 / 8, 2 / 5, 1)),
  (1 / 2, (4 / 5,)),
)
PREFIXES = 8  # a batch has room for, at most


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A prompt in two parts."""

  prefix: tuple[int, ...]  # shared with others; may be empty
  rest: Sequence[int]  # at least one token


@dataclasses.dataclass(frozen=True)
class Room:
  """What a device is given at once."""

  prefixes: int  # P
  candidates: int  # C

  @classmethod
  def of(cls, candidates: int) -> 'Room':
    return cls(min(PREFIXES, candidates), candidates)


def parted(ids: Sequence[int], like: Sequence[int]) -> Candidate:
  """Splits `ids` where it stops being as `like`: 1 2 3 4, 1 2 5 -> 1 2 | 3 4.

  The rest keeps a token even where all are alike.
  """
  alike = 0
  while alike < min(len(ids) - 1, len(like)) and ids[alike] == like[alike]:
    alike += 1
  return Candidate(tuple(ids[:alike]), ids[alike:])


def compiled_lengths(limit: int) -> tuple[tuple[int, int], ...]:
  """Returns the pairs of lengths, of prefix and rest, that are compiled.

  At most 12, by rising rests and then prefixes, for prompts of at most `limit`
  tokens: 192 -> (32, 32), (64, 32), (32, 64), (96, 64), (192, 64), (160, 96).
  """

  def length(share: float) -> int:
    return integers.round_up(math.ceil(share * limit), STEP)

  pairs = {
    (length(rest), length(prefix))
    for rest, prefixes in SHARES
    for prefix in prefixes
  }
  return tuple((prefix, rest) for rest, prefix in sorted(pairs))


def fitting(
  lengths: Sequence[tuple[int, int]], prefix: int, rest: int
) -> tuple[int, int] | None:
  """Returns the first of these lengths that hold a prefix and a rest, if any.

  A rest is padded for every candidate, a prefix for all that share it: so the
  shortest rest comes first.
  """
  return next((p for p in lengths if prefix <= p[0] and rest <= p[1]), None)


def fitted(
  candidate: Candidate, lengths: Sequence[tuple[int, int]]
) -> Candidate:
  """Returns the candidate, parted elsewhere where no lengths hold it.

  That is where its rest is more than half of the limit; what then becomes its
  prefix is shared with no other. `lengths` are those of compiled_lengths for a
  limit that the candidate's tokens do not exceed.
  """
  if fitting(lengths, len(candidate.prefix), len(candidate.rest)):
    return candidate
  ids = *candidate.prefix, *candidate.rest
  _, R = max(lengths)  # behind the longest prefix
  return Candidate(ids[:-R], ids[-R:])


def shape(
  candidate: Candidate, lengths: Sequence[tuple[int, int]]
) -> tuple[int, int]:
  """Returns which of the lengths a candidate of `fitted` is padded to."""
  pair = fitting(lengths, len(candidate.prefix), len(candidate.rest))
  if not pair:
    raise ValueError(
      f'a prompt of {len(candidate.prefix)} + {len(candidate.rest)} tokens '
      f'fits none of {lengths}'
    )
  return pair


def batches(
  candidates: Sequence[Candidate],
  lengths: Sequence[tuple[int, int]],
  room: Callable[[tuple[int, int]], Room],
  devices: int,
) -> Iterator[list[list[int]]]:
  """Yields the indices of candidates of one shape, a list for each device.

  The candidates are those of `fitted`, and padded to these lengths.
  A device gets at most what it has room for; devices get about equally many.
  """
  first = {}
  for n, candidate in enumerate(candidates):
    first.setdefault(candidate.prefix, n)

  def sort_key(n: int) -> tuple[tuple[int, int], int]:
    return shape(candidates[n], lengths), first[candidates[n].prefix]

  order = sorted(range(len(candidates)), key=sort_key)
  for padded, group in itertools.groupby(order, lambda n: sort_key(n)[0]):
    indices = [(n, sort_key(n)[1]) for n in group]
    parts = list(_parts(indices, room(padded), devices))
    for start in range(0, len(parts), devices):
      yield parts[start : start + devices]


def candidate_arrays(
  batch: Sequence[Candidate], room: Room, lengths: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Returns the arrays of a batch, padded with 0.

  prefix [P, S], its length [P], rest [C, R], its length [C], and which prefix
  it is behind [C]; `lengths` are S and R.
  """
  S, R = lengths
  prefix_PS = np.zeros((room.prefixes, S), np.int32)
  rest_CR = np.zeros((room.candidates, R), np.int32)
  prefix_length_P = np.zeros(room.prefixes, np.int32)
  rest_length_C, behind_C = np.zeros((2, room.candidates), np.int32)
  prefixes = {}
  for n, candidate in enumerate(batch):
    p = behind_C[n] = prefixes.setdefault(candidate.prefix, len(prefixes))
    prefix_length_P[p] = len(candidate.prefix)
    prefix_PS[p, : prefix_length_P[p]] = candidate.prefix
    rest_length_C[n] = len(candidate.rest)
    rest_CR[n, : rest_length_C[n]] = candidate.rest
  return prefix_PS, prefix_length_P, rest_CR, rest_length_C, behind_C


def _parts(
  indices: Sequence[tuple[int, int]], room: Room, devices: int
) -> Iterator[list[int]]:
  """Cuts (candidate, prefix) in order, wherever a device's share is full."""
  rounds = integers.cdiv(len(indices), devices * room.candidates)
  max_size = integers.cdiv(len(indices), devices * rounds)
  part, prefixes = [], set()
  for index, prefix in indices:
    if len(part) == max_size or len(prefixes | {prefix}) > room.prefixes:
      yield part
      part, prefixes = [], set()
    part.append(index)
    prefixes.add(prefix)
  yield part
