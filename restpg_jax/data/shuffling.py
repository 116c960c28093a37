"""Profiles given to the wrong users: what personalisation is worth (Fig. 5)."""

import collections
import dataclasses
import hashlib
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from restpg_jax import types


def shuffled(
  examples: Iterable[types.Example], *, share: float, seed: int
) -> tuple[Iterator[types.Example], int]:
  """A share of each task's examples get the profile of another user; the
  request and the gold text stay. Returns how many do.

  All examples are read before the first is given back: they wait on disk.
  """
  kept, tasks, digests = _OnDisk(), [], []
  for example in examples:
    kept.add(example)
    tasks.append(example.task)
    digests.append(hashlib.sha256(repr(example.profile).encode()).digest())
  others = shuffle_plan(tasks, digests, share=share, seed=seed)

  def found():
    for n in range(len(tasks)):
      example = kept[n]
      if n in others:
        profile = kept[others[n]].profile
        example = dataclasses.replace(example, profile=profile)
      yield example

  return found(), len(others)


def shuffle_plan(
  tasks: Sequence[str], profiles: Sequence[object], *, share: float, seed: int
) -> dict[int, int]:
  """Who gets whose profile, by number; equal ones are the same user's.

  Profiles go round among the examples that chance has chosen; who would meet
  their own gets the next one, or keeps it where there is no other.
  """
  of_task = collections.defaultdict(list)
  for n, task in enumerate(tasks):
    of_task[task].append(n)
  rng = np.random.default_rng([seed, len(tasks)])
  found = {}
  for places in of_task.values():
    chosen = rng.permutation(places)[: round(share * len(places))].tolist()
    others = chosen if len(chosen) > 1 else places
    for n in chosen:
      start = others.index(n)
      turns = others[start + 1 :] + others[:start]
      other = next((o for o in turns if profiles[o] != profiles[n]), None)
      if other is not None:
        found[n] = other
  return found


class _OnDisk:
  """Things by number, in a file that goes when this goes."""

  def __init__(self):
    self._file = tempfile.TemporaryFile()  # noqa: SIM115
    self._starts = []

  def add(self, thing: object) -> None:
    self._starts.append(self._file.tell())
    pickle.dump(thing, self._file)

  def __getitem__(self, number: int):
    self._file.seek(self._starts[number])
    return pickle.load(self._file)
