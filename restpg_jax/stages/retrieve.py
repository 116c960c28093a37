"""Each input with the k documents of its user that fit it best."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from etils import epath

from restpg_jax import assets, config, effective, errors, types
from restpg_jax.data import copies, longlamp, rows, shuffling, world
from restpg_jax.engines import embedder
from restpg_jax.io import artifacts, encoders, fingerprints, records
from restpg_jax.retrieval import bm25, chance, dense, question, recency

VERSION = 4  # 3: texts of retrievers by name; 4: equal vectors are a tie
PIECE = 1024  # examples whose documents are ranked together
# Questions -> for each the indices of its documents, best first.
Retriever = Callable[[Sequence[question.RetrievalQuery]], Iterable[list[int]]]


@dataclasses.dataclass(frozen=True)
class RetrieveSettings:
  """What decides the examples of a split."""

  data: config.Data
  retrieval: config.Retrieval
  split: str
  seed: int


@artifacts.stage('restpg_jax.stages.retrieve.retrieve', version=VERSION)
def retrieve(*, out, cfg: RetrieveSettings, layout) -> dict:
  """examples.jsonl: profiles are replaced by their best k texts; skipped.jsonl:
  rows that were passed over, if there are any."""
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
  made = records.write(
    out / 'examples.jsonl',
    with_contexts(examples, retriever, k=cfg.retrieval.k),
  )
  if skipped:
    records.write(out / 'skipped.jsonl', skipped)
    counts['skipped_rows'] = counts.get('skipped_rows', 0) + len(skipped)
  return {'expected': counts['rows'], 'made': made} | {
    name: n for name, n in counts.items() if n and name != 'rows'
  }


def retrieve_settings(
  data: config.Data, retrieval: config.Retrieval, split: str, seed: int
) -> RetrieveSettings:
  """Those that decide something; a seed is not for every retriever."""
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
) -> tuple[Iterator[types.Example], dict]:
  """From data.path if that is set, else from the synthetic world.

  The counts, and `skipped` where rows may be, fill up as examples are taken.
  With `tasks`, of these alone, however the others are.
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
  total, number = getattr(data.world, split), len(types.TASKS)
  of_tasks = {
    task: world.rows(
      task,
      split,
      seed=data.world.seed,
      count=total // number + (n < total % number),
    )
    for n, task in enumerate(types.TASKS)
    if not tasks or task in tasks
  }
  return longlamp.parse_rows(of_tasks, split=split, limit=data.limit)


def without_copies(
  examples: Iterable[types.Example], data: config.Data, counts: dict[str, int]
) -> Iterator[types.Example]:
  """Those that data.dedupe and data.drop_leaks name; adds to counts."""
  if not (data.dedupe or data.drop_leaks):
    return iter(examples)
  how = dict(dedupe=data.dedupe, drop_leaks=data.drop_leaks)
  return copies.removed(examples, counts=counts, **how)


def with_contexts(
  examples: Iterable[types.Example],
  retriever: Retriever,
  *,
  k: int,
  piece: int = PIECE,
) -> Iterator[types.Example]:
  """k documents each, or as many as there are, best first."""
  examples = iter(examples)
  while some := list(itertools.islice(examples, piece)):
    orders = retriever([retrieval_query(example) for example in some])
    for example, order in zip(some, orders, strict=True):
      context = tuple(example.profile[n].text for n in order[:k])
      yield dataclasses.replace(example, profile=(), context=context)


def retrieval_query(example: types.Example) -> question.RetrievalQuery:
  return question.RetrievalQuery(
    example.id,
    longlamp.query(example.task, example.input),
    [document.key for document in example.profile],
  )


def build_retriever(
  cfg: config.Retrieval, *, seed: int, layout, out: epath.Path | None
) -> Retriever:
  """By name from RETRIEVERS; `out` is the folder of the stage that asks."""
  return lookup(RETRIEVERS, cfg.name, 'retrieval.name')(cfg, seed, layout, out)


def by_bm25(cfg, seed, layout, out) -> Retriever:
  """The words that request and document share."""
  del cfg, seed, layout, out
  return lambda questions: (
    bm25.rank_by_bm25(q.query, q.keys) for q in questions
  )


def by_recency(cfg, seed, layout, out) -> Retriever:
  """The latest documents."""
  del cfg, seed, layout, out
  return lambda questions: (
    recency.rank_by_recency(q.query, q.keys) for q in questions
  )


def by_chance(cfg, seed, layout, out) -> Retriever:
  del cfg, layout, out
  return lambda questions: (
    chance.rank_at_random(q, seed=seed) for q in questions
  )


def nothing(cfg, seed, layout, out) -> Retriever:
  """No documents: what a policy writes for anybody."""
  del cfg, seed, layout, out
  return lambda questions: ([] for _ in questions)


def by_vectors(cfg: config.Retrieval, seed, layout, out) -> Retriever:
  """Contriever, or any encoder of its kind.

  Vectors stand beside the stage's folder, for all stages that use the encoder.
  """
  del seed
  checkpoint = assets.path(cfg.encoder)
  content = fingerprints.content(
    checkpoint, encoders.encoder_files(checkpoint)
  )[:12]
  folder = f'vectors-{embedder.VERSION}-{content}'
  encode = embedder.Embedder(checkpoint, layout, out.parent / folder)
  return functools.partial(dense.ranked, embed=encode)


RETRIEVERS = {
  'contriever': by_vectors,
  'bm25': by_bm25,
  'recency': by_recency,
  'random': by_chance,
  'none': nothing,
}


def check_retrieval(cfg: config.Retrieval) -> None:
  """Raises InputError for settings that no run can have."""
  lookup(RETRIEVERS, cfg.name, 'retrieval.name')
  if cfg.name == 'contriever' and not cfg.encoder:
    raise errors.InputError(
      'retrieval.name is contriever: give the folder of its weights as '
      'retrieval.encoder'
    )
  if cfg.k < 1:
    raise errors.InputError(f'retrieval.k is {cfg.k}; it must be at least 1')
  if not 0 <= cfg.shuffle <= 1:
    raise errors.InputError(
      f'retrieval.shuffle is {cfg.shuffle:g}; it must be from 0 to 1'
    )


def lookup(table: dict, name: str, setting: str):
  """table[name]; raises InputError with the known names."""
  if name not in table:
    raise errors.InputError(
      f'{setting} is {name!r}; known are {", ".join(table)}'
    )
  return table[name]
