"""Profiles given to the wrong users: what personalisation is worth (Fig. 5)."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from restpg_jax import types


def shuffled(
  examples: Sequence[types.Example], *, share: float, seed: int
) -> tuple[list[types.Example], int]:
  """A share of each task's examples get the profile of another user; the
  request and the gold text stay. Returns how many did.

  Profiles go round among the examples that chance has chosen; who would meet
  their own gets the next one, or keeps it where there is no other.
  """
  of_task = collections.defaultdict(list)
  for n, example in enumerate(examples):
    of_task[example.task].append(n)
  rng = np.random.default_rng([seed, len(examples)])
  found, count = list(examples), 0
  for places in of_task.values():
    chosen = rng.permutation(places)[: round(share * len(places))].tolist()
    others = chosen if len(chosen) > 1 else places
    for n in chosen:
      start = others.index(n)
      turns = others[start + 1 :] + others[:start]
      mine = examples[n].profile
      other = next((o for o in turns if examples[o].profile != mine), None)
      if other is not None:
        profile = examples[other].profile
        found[n] = dataclasses.replace(examples[n], profile=profile)
        count += 1
  return found, count
