"""The samples that count of what draw and score have in store.

A store of samples is extensible: an experiment that asked for more may have
extended it since. Whoever reads one says how far it reads.
"""

from collections.abc import Iterator, Sequence

from etils import epath

from restpg_jax import types
from restpg_jax.io import records


def read(path: epath.PathLike, m: int) -> Iterator[types.Trajectory]:
  """The samples of j < m, by example and j."""
  return (s for s in records.read(path, types.Trajectory) if s.j < m)


def scored(
  folders: Sequence[epath.Path], rounds: Sequence[int]
) -> list[types.Trajectory]:
  """Of all rounds: j < rounds[n] of what the n-th folder holds."""
  return [
    s
    for folder, m in zip(folders, rounds, strict=True)
    for s in read(folder / 'scored.jsonl', m)
  ]
