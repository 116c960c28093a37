"""Texts to be judged, in batches of a few compiled shapes.

The candidates of one input share how their prompts begin, and a batch holds
what they share once. A shape follows from a candidate's own lengths, so that
its numbers are the same, bit for bit, whoever is judged beside it.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

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
  """What a device is handed at once."""

  prefixes: int  # P
  candidates: int  # C

  @classmethod
  def of(cls, candidates: int) -> 'Room':
    return cls(min(PREFIXES, candidates), candidates)


def parted(ids: Sequence[int], like: Sequence[int]) -> Candidate:
  """In two where `ids` stops being as `like`: 1 2 3 4, 1 2 5  ->  1 2 | 3 4.

  A token is left to the rest even where all are alike.
  """
  alike = 0
  while alike < min(len(ids) - 1, len(like)) and ids[alike] == like[alike]:
    alike += 1
  return Candidate(tuple(ids[:alike]), ids[alike:])


def round_to_steps(length: int, steps: int) -> int:
  """The compiled length that is used; 8 steps: 1 -> 32, 350 -> 352.

  From STEP on in steps of STEP, as soon as `steps` of them are not enough in
  those of a power of two: 8 steps: .. 480, 512, 576, 640 .. 1024, 1152 ..
  """
  below = 1 << max(length - 1, 1).bit_length() - 1
  step = max(STEP, below // steps)
  return max(1, -(-length // step)) * step


def shape(candidate: Candidate) -> tuple[int, int]:
  """Compiled lengths of prefix and rest."""
  return (
    round_to_steps(len(candidate.prefix), PREFIX_STEPS),
    round_to_steps(len(candidate.rest), REST_STEPS),
  )


def batches(
  candidates: Sequence[Candidate],
  room: Callable[[tuple[int, int]], Room],
  devices: int,
) -> Iterator[list[list[int]]]:
  """Places of candidates of one shape, for each device what it has room for.

  Devices are given like numbers of them.
  """
  first = {}
  for n, candidate in enumerate(candidates):
    first.setdefault(candidate.prefix, n)

  def by(n):
    return shape(candidates[n]), first[candidates[n].prefix]

  order = sorted(range(len(candidates)), key=by)
  for of, places in itertools.groupby(order, key=lambda n: by(n)[0]):
    parts = list(_parts([(n, by(n)[1]) for n in places], room(of), devices))
    for start in range(0, len(parts), devices):
      yield parts[start : start + devices]


def candidate_arrays(
  batch: Sequence[Candidate], room: Room, of: tuple[int, int]
):
  """prefix [P, S], its length [P], rest [C, R], its length [C] and which
  prefix it is behind [C]; all is padded with 0."""
  S, R = of
  prefix_PS = np.zeros((room.prefixes, S), np.int32)
  rest_CR = np.zeros((room.candidates, R), np.int32)
  prefix_length_P = np.zeros(room.prefixes, np.int32)
  rest_length_C, behind_C = np.zeros((2, room.candidates), np.int32)
  places = {}
  for n, candidate in enumerate(batch):
    p = behind_C[n] = places.setdefault(candidate.prefix, len(places))
    prefix_length_P[p] = len(candidate.prefix)
    prefix_PS[p, : prefix_length_P[p]] = candidate.prefix
    rest_length_C[n] = len(candidate.rest)
    rest_CR[n, : rest_length_C[n]] = candidate.rest
  return prefix_PS, prefix_length_P, rest_CR, rest_length_C, behind_C


def _parts(
  places: Sequence[tuple[int, int]], room: Room, devices: int
) -> Iterator[list[int]]:
  """(place, prefix) in order, cut wherever a device's share is full."""
  rounds = -(-len(places) // (devices * room.candidates))
  most = -(-len(places) // (devices * rounds))
  part, prefixes = [], set()
  for place, prefix in places:
    if len(part) == most or len(prefixes | {prefix}) > room.prefixes:
      yield part
      part, prefixes = [], set()
    part.append(place)
    prefixes.add(prefix)
  yield part
