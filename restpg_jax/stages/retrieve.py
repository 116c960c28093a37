"""Each input with the k documents of its user that fit it best."""

import dataclasses

from restpg_jax import config, errors, types
from restpg_jax.data import longlamp, world
from restpg_jax.io import records
from restpg_jax.retrieval import bm25, recency

VERSION = 2  # 2: BM25Plus
# rank(query, keys of the documents) -> indices, best first
RETRIEVERS = {'bm25': bm25.rank, 'recency': recency.rank}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides the examples of a split."""

  data: config.Data
  retrieval: config.Retrieval
  split: str


def retrieve(*, out, cfg: Settings, layout) -> dict:
  """examples.jsonl: profiles are replaced by their best k texts."""
  del layout
  rank = choose(RETRIEVERS, cfg.retrieval.name, 'retrieval.name')
  examples, counts = read(cfg.data, cfg.split)
  made = records.write(
    out / 'examples.jsonl',
    (with_context(e, rank, cfg.retrieval.k) for e in examples),
  )
  return {'expected': len(examples), 'made': made} | {
    name: n for name, n in counts.items() if n and name != 'rows'
  }


def read(data: config.Data, split: str) -> tuple[list[types.Example], dict]:
  """From data.path if that is set, else from the synthetic world."""
  if data.path:
    return longlamp.read(
      data.path, setting=data.setting, split=split, limit=data.limit
    )
  total = getattr(data.world, split)
  tasks = len(types.TASKS)
  rows = {
    task: world.rows(
      task,
      split,
      seed=data.world.seed,
      count=total // tasks + (n < total % tasks),
    )
    for n, task in enumerate(types.TASKS)
  }
  return longlamp.parse(rows, split=split, limit=data.limit)


def with_context(example: types.Example, rank, k: int) -> types.Example:
  """k documents or as many as there are, best first."""
  documents = example.profile
  order = []
  if documents:
    query = longlamp.query(example.task, example.input)
    order = rank(query, [d.key for d in documents])[:k]
  context = tuple(documents[n].text for n in order)
  return dataclasses.replace(example, profile=(), context=context)


def choose(table: dict, name: str, setting: str):
  """table[name]; raises InputError with the known names."""
  if name not in table:
    raise errors.InputError(
      f'{setting} is {name!r}; known are {", ".join(table)}'
    )
  return table[name]
