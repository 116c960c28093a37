"""Gives profiles to the wrong users, to measure personalisation (Fig. 5)."""

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
  """Gives a share of each task's examples the profile of another user.

  The request and the gold text stay. Returns all examples and the number of
  those that changed. All are read before the first is returned, since any may
  get any profile; they wait on disk.
  """
  # Of the profiles only digests stay in memory.
  stored, tasks, digests = _OnDisk(), [], []
  for example in examples:
    stored.add(example)
    tasks.append(example.task)
    digests.append(hashlib.sha256(repr(example.profile).encode()).digest())
  donors = shuffle_plan(tasks, digests, share=share, seed=seed)

  def shuffled_examples() -> Iterator[types.Example]:
    for n in range(len(tasks)):
      example = stored[n]
      if n in donors:
        profile = stored[donors[n]].profile
        example = dataclasses.replace(example, profile=profile)
      yield example

  return shuffled_examples(), len(donors)


def shuffle_plan(
  tasks: Sequence[str], profiles: Sequence[object], *, share: float, seed: int
) -> dict[int, int]:
  """Returns whose profile each changed example gets, by number.

  Profiles go round among randomly chosen examples. Equal profiles are taken for
  the same user's: who would get their own gets the next one, or keeps it where
  there is no other.
  """
  by_task = collections.defaultdict(list)
  for n, task in enumerate(tasks):
    by_task[task].append(n)
  rng = np.random.default_rng([seed, len(tasks)])
  donors = {}
  for positions in by_task.values():
    chosen = rng.permutation(positions)[
      : round(share * len(positions))
    ].tolist()
    others = chosen if len(chosen) > 1 else positions
    for n in chosen:
      start = others.index(n)
      turns = others[start + 1 :] + others[:start]
      other = next((o for o in turns if profiles[o] != profiles[n]), None)
      if other is not None:
        donors[n] = other
  return donors


class _OnDisk:
  """Pickled examples by number, in a file that is deleted with this object."""

  def __init__(self) -> None:
    self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this
    self._starts = []

  def add(self, value: types.Example) -> None:
    self._starts.append(self._file.tell())
    pickle.dump(value, self._file)

  def __getitem__(self, number: int) -> types.Example:
    self._file.seek(self._starts[number])
    return pickle.load(self._file)
