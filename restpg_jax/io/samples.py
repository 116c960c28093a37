"""Reads, of the samples that draw and score have stored, those that count.

A store of samples is extensible: an experiment that needs more may have
extended it since. Whoever reads one says up to which sample index.
"""

import itertools
from collections.abc import Iterator, Sequence

from etils import epath

from restpg_jax import types
from restpg_jax.io import records


def read_samples(path: epath.PathLike, m: int) -> Iterator[types.Trajectory]:
  """Yields the samples with j < m, in the order of example and j."""
  return (s for s in records.read(path, types.Trajectory) if s.j < m)


def count(folders: Sequence[epath.Path], rounds: Sequence[int]) -> int:
  """Returns the number of samples with j < rounds[n] in folders[n], summed."""
  return sum(
    1
    for folder, m in zip(folders, rounds, strict=True)
    for _ in read_samples(folder / 'scored.jsonl', m)
  )


def by_example(
  folders: Sequence[epath.Path], rounds: Sequence[int]
) -> Iterator[list[types.Trajectory]]:
  """Yields, by example, the samples of all rounds: j < rounds[n] of folders[n].

  The first round has every example, the later ones some, in the same order: so
  the folders are merged as streams, one example in memory at a time.
  """
  if not folders:
    return
  first, *later = map(_grouped, folders, rounds)
  ahead = [next(groups, None) for groups in later]
  for example, samples in first:
    for n, group in enumerate(ahead):
      if group and group[0] == example:
        samples += group[1]
        ahead[n] = next(later[n], None)
    yield samples


def _grouped(
  folder: epath.Path, m: int
) -> Iterator[tuple[str, list[types.Trajectory]]]:
  samples = read_samples(folder / 'scored.jsonl', m)
  for example, group in itertools.groupby(samples, lambda s: s.example_id):
    yield example, list(group)


def key(sample: types.Trajectory) -> tuple[str, int]:
  """Returns the key of a sample in a store: example and sample index j."""
  return sample.example_id, sample.j
