"""Groups texts to be judged into batches of a few compiled shapes.

The candidates of one input share how their prompts begin, and a batch holds
what they share once. A shape follows from a candidate's own lengths, so that
its numbers are the same, bit for bit, whoever is judged beside it.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from restpg_jax import integers

STEP = 32  # tokens: the closest two lengths that are compiled
# Lengths that are compiled between a power of two and the next: more of them
# pad less and compile more. A rest is read for every candidate.
PREFIX_STEPS, REST_STEPS = 4, 8
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


def round_to_steps(length: int, steps: int) -> int:
  """Returns the compiled length that is used; 8 steps: 1 -> 32, 350 -> 352.

  From STEP on in steps of STEP, as soon as `steps` of them are not enough in
  those of a power of two: 8 steps: .. 480, 512, 576, 640 .. 1024, 1152 ..
  """
  below = 1 << max(length - 1, 1).bit_length() - 1
  step = max(STEP, below // steps)
  return integers.round_up(max(length, 1), step)


def shape(candidate: Candidate) -> tuple[int, int]:
  """Returns the compiled lengths of prefix and rest."""
  return (
    round_to_steps(len(candidate.prefix), PREFIX_STEPS),
    round_to_steps(len(candidate.rest), REST_STEPS),
  )


def batches(
  candidates: Sequence[Candidate],
  room: Callable[[tuple[int, int]], Room],
  devices: int,
) -> Iterator[list[list[int]]]:
  """Yields the indices of candidates of one shape, a list for each device.

  A device gets at most what it has room for; devices get about equally many.
  """
  first = {}
  for n, candidate in enumerate(candidates):
    first.setdefault(candidate.prefix, n)

  def sort_key(n: int) -> tuple[tuple[int, int], int]:
    return shape(candidates[n]), first[candidates[n].prefix]

  order = sorted(range(len(candidates)), key=sort_key)
  for lengths, group in itertools.groupby(order, lambda n: sort_key(n)[0]):
    indices = [(n, sort_key(n)[1]) for n in group]
    parts = list(_parts(indices, room(lengths), devices))
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
