"""The samples that count of what draw and score have in store.

A store of samples is extensible: an experiment that asked for more may have
extended it since. Whoever reads one says how far it reads.
"""

import itertools
from collections.abc import Iterator, Sequence

from etils import epath

from restpg_jax import types
from restpg_jax.io import records


def read_samples(path: epath.PathLike, m: int) -> Iterator[types.Trajectory]:
  """The samples of j < m, by example and j."""
  return (s for s in records.read(path, types.Trajectory) if s.j < m)


def count(folders: Sequence[epath.Path], rounds: Sequence[int]) -> int:
  """How many all rounds hold, of whatever example and in whatever order."""
  return sum(
    1
    for folder, m in zip(folders, rounds, strict=True)
    for _ in read_samples(folder / 'scored.jsonl', m)
  )


def by_example(
  folders: Sequence[epath.Path], rounds: Sequence[int]
) -> Iterator[list[types.Trajectory]]:
  """Of each example what all rounds hold: j < rounds[n] of the n-th folder.

  The first round has every example, the later ones some, in the same order.
  """
  if not folders:
    return
  first, *later = map(_grouped, folders, rounds)
  ahead = [next(groups, None) for groups in later]
  for example, found in first:
    for n, group in enumerate(ahead):
      if group and group[0] == example:
        found += group[1]
        ahead[n] = next(later[n], None)
    yield found


def _grouped(
  folder: epath.Path, m: int
) -> Iterator[tuple[str, list[types.Trajectory]]]:
  found = read_samples(folder / 'scored.jsonl', m)
  for example, group in itertools.groupby(found, lambda s: s.example_id):
    yield example, list(group)


def key(sample: types.Trajectory) -> tuple[str, int]:
  """What a sample is found by."""
  return sample.example_id, sample.j
