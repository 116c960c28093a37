"""Gives each input the k documents of its user that fit it best."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from restpg_jax import assets, config, effective, errors, types
from restpg_jax.data import copies, longlamp, rows, shuffling, world
from restpg_jax.engines import embedder
from restpg_jax.io import artifacts, encoders, fingerprints, records
from restpg_jax.parallel import layout as layouts
from restpg_jax.retrieval import bm25, chance, dense, question, recency

VERSION = 4  # 3: texts of retrievers by name; 4: equal vectors are a tie
Devices = layouts.Layout | None
Folder = epath.Path | None
PIECE = 1024  # examples that are ranked together: an encoder wants many texts
# Queries -> for each the indices of its documents, best first.
Retriever = Callable[[Sequence[question.RetrievalQuery]], Iterable[list[int]]]


@dataclasses.dataclass(frozen=True)
class RetrieveSettings:
  """The settings that decide the examples of a split."""

  data: config.Data
  retrieval: config.Retrieval
  split: str
  seed: int


@artifacts.stage(
  'restpg_jax.stages.retrieve.retrieve', version=VERSION, hosts=artifacts.SHARES
)
def retrieve(
  *, out: epath.Path, cfg: RetrieveSettings, layout: layouts.Layout
) -> dict[str, Any]:
  """Writes examples.jsonl, with the best k texts of a profile in its place, and
  skipped.jsonl, rows that were passed over, if there are any.

  Of several hosts each computes the vectors of its share of the examples, which
  is what takes long, and the first one ranks.
  """
  hosts = layout.hosts
  if hosts.count > 1 and cfg.retrieval.name == 'contriever':
    store_vectors(out, cfg, layout)
  if not hosts.gather():
    return {}
  retriever = build_retriever(
    cfg.retrieval, seed=cfg.seed, layout=layout, out=out
  )
  skipped = []
  examples, counts = load_examples(cfg.data, cfg.split, skipped)
  examples = without_copies(examples, cfg.data, counts)
  if cfg.retrieval.shuffle:
    examples, counts['shuffled'] = shuffling.shuffled(
      examples, share=cfg.retrieval.shuffle, seed=cfg.seed
    )
  num_examples = records.write(
    out / 'examples.jsonl',
    with_contexts(examples, retriever, k=cfg.retrieval.k),
  )
  if skipped:
    records.write(out / 'skipped.jsonl', skipped)
    counts['skipped_rows'] = counts.get('skipped_rows', 0) + len(skipped)
  return {'expected': counts['rows'], 'made': num_examples} | {
    name: n for name, n in counts.items() if n and name != 'rows'
  }


def store_vectors(
  out: epath.Path, cfg: RetrieveSettings, layout: layouts.Layout
) -> None:
  """Computes the vectors of this host's share, which stay beside the stage."""
  retriever = build_retriever(
    cfg.retrieval, seed=cfg.seed, layout=layout, out=out
  )
  examples, _ = load_examples(cfg.data, cfg.split, [])
  own = (e for e in examples if layout.hosts.owns(e.id))
  for _ in with_contexts(own, retriever, k=cfg.retrieval.k):
    pass  # the vectors are kept by the way


def retrieve_settings(
  data: config.Data, retrieval: config.Retrieval, split: str, seed: int
) -> RetrieveSettings:
  """Returns the settings that decide something: few retrievers use a seed."""
  retrieval = effective.retrieval(retrieval, split)
  by_chance = retrieval.name == 'random' or retrieval.shuffle
  return RetrieveSettings(
    effective.data(data), retrieval, split, seed if by_chance else 0
  )


def load_examples(
  data: config.Data,
  split: str,
  skipped: list[rows.Skipped] | None = None,
  tasks: Sequence[str] = (),
) -> tuple[Iterator[types.Example], dict[str, int]]:
  """Returns examples of data.path or, where that is empty, synthetic ones.

  The counts, and `skipped` where rows may be, fill up as examples are taken.
  With `tasks`, only the examples of these are read.
  """
  if data.path:
    return longlamp.read_examples(
      data.path,
      setting=data.setting,
      split=split,
      limit=data.limit,
      max_text=data.max_text,
      unusable=rows.unusable(data.on_error, [] if skipped is None else skipped),
      tasks=tasks,
    )
  total, num_tasks = getattr(data.world, split), len(types.TASKS)
  rows_by_task = {
    task: world.rows(
      task,
      split,
      seed=data.world.seed,
      count=total // num_tasks + (n < total % num_tasks),
    )
    for n, task in enumerate(types.TASKS)
    if not tasks or task in tasks
  }
  return longlamp.parse_rows(rows_by_task, split=split, limit=data.limit)


def without_copies(
  examples: Iterable[types.Example], data: config.Data, counts: dict[str, int]
) -> Iterator[types.Example]:
  """Leaves out what data.dedupe and data.drop_leaks name; adds to `counts`."""
  if not (data.dedupe or data.drop_leaks):
    return iter(examples)
  return copies.removed(
    examples, dedupe=data.dedupe, drop_leaks=data.drop_leaks, counts=counts
  )


def with_contexts(
  examples: Iterable[types.Example],
  retriever: Retriever,
  *,
  k: int,
  piece: int = PIECE,
) -> Iterator[types.Example]:
  """Gives each example k documents, or as many as there are, best first."""
  remaining = iter(examples)
  while some := list(itertools.islice(remaining, piece)):
    orders = retriever([retrieval_query(example) for example in some])
    for example, order in zip(some, orders, strict=True):
      context = tuple(example.profile[n].text for n in order[:k])
      yield dataclasses.replace(example, profile=(), context=context)


def retrieval_query(example: types.Example) -> question.RetrievalQuery:
  """Returns the benchmark's query for a task, and what to compare it with."""
  return question.RetrievalQuery(
    example.id,
    longlamp.query(example.task, example.input),
    [document.key for document in example.profile],
  )


def build_retriever(
  settings: config.Retrieval,
  *,
  seed: int,
  layout: Devices,
  out: Folder,
) -> Retriever:
  """Builds the retriever by name; `out` is the folder of the calling stage.

  Only `contriever` computes and keeps something: the others take None.

  Raises InputError for a name that is not in RETRIEVERS.
  """
  check_retriever_name(settings.name)
  return RETRIEVERS[settings.name](settings, seed, layout, out)


def by_bm25(
  settings: config.Retrieval, seed: int, layout: Devices, out: Folder
) -> Retriever:
  """Ranks by the words that query and document share."""
  del settings, seed, layout, out
  return lambda queries: (bm25.rank_by_bm25(q.query, q.keys) for q in queries)


def by_recency(
  settings: config.Retrieval, seed: int, layout: Devices, out: Folder
) -> Retriever:
  """Ranks the latest documents first."""
  del settings, seed, layout, out
  return lambda queries: (
    recency.rank_by_recency(q.query, q.keys) for q in queries
  )


def by_chance(
  settings: config.Retrieval, seed: int, layout: Devices, out: Folder
) -> Retriever:
  """Ranks at random, the same way for the same seed and example."""
  del settings, layout, out
  return lambda queries: (chance.rank_at_random(q, seed=seed) for q in queries)


def nothing(
  settings: config.Retrieval, seed: int, layout: Devices, out: Folder
) -> Retriever:
  """Gives no documents: the policy writes as for anybody."""
  del settings, seed, layout, out
  return lambda queries: ([] for _ in queries)


def by_vectors(
  settings: config.Retrieval, seed: int, layout: Devices, out: Folder
) -> Retriever:
  """Ranks by the vectors of Contriever, or of any encoder like it.

  Vectors stand beside the stage's folder, for all stages that use the encoder.
  """
  del seed
  if layout is None or out is None:
    raise ValueError('vectors need devices and a folder to be kept in')
  checkpoint = assets.path(settings.encoder)
  files = encoders.encoder_files(checkpoint)
  content = fingerprints.content(checkpoint, files)
  folder = f'vectors-{embedder.VERSION}-{content[:12]}'
  encode = embedder.Embedder(checkpoint, layout, out.parent / folder)
  return functools.partial(dense.rank_by_vectors, embed=encode)


RETRIEVERS = {
  'contriever': by_vectors,
  'bm25': by_bm25,
  'recency': by_recency,
  'random': by_chance,
  'none': nothing,
}


def check_retrieval(settings: config.Retrieval) -> None:
  """Raises InputError for settings that no run can have."""
  check_retriever_name(settings.name)
  if settings.name == 'contriever' and not settings.encoder:
    raise errors.InputError(
      'retrieval.name is contriever: give the folder of its weights as '
      'retrieval.encoder'
    )
  if settings.k < 1:
    raise errors.InputError(
      f'retrieval.k is {settings.k}; it must be at least 1'
    )
  if not 0 <= settings.shuffle <= 1:
    raise errors.InputError(
      f'retrieval.shuffle is {settings.shuffle:g}; it must be from 0 to 1'
    )


def check_retriever_name(name: str) -> None:
  """Raises InputError for a name that is not in RETRIEVERS."""
  if name not in RETRIEVERS:
    raise errors.InputError(
      f'retrieval.name is {name!r}; known are {", ".join(RETRIEVERS)}'
    )
