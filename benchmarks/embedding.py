"""Vectors of documents: ours beside sentence-transformers, and do they agree?

  python benchmarks/embedding.py DATA ENCODER [--splits=test] [--rounds=3]

DATA is a folder in LongLaMP's schema, ENCODER one with the safetensors of a
BERT-type sentence encoder. All texts of the profiles are read, those that
several requests of a user repeat too; both have the same weights, texts, limit
of tokens and cores. First: the smallest cosine of two vectors of one text, for
how many requests both rank the same five documents first, and where they do
not, how far apart the scores are that changed places. Then, in alternating
rounds, texts a second of

  theirs    sentence-transformers, which sorts texts by their length
  padded    ours with every text as long as the limit
  buckets   ours in a few lengths
  once      ours in a few lengths, equal texts read once: what a run does

and the median over the rounds of the ratio to `theirs`, by the clock and by the
seconds of all cores. `distinct`: `theirs` and `buckets` on the distinct texts
alone, where only models and batches differ. --rounds=0 only compares.

Needs the package sentence-transformers.
"""

import os
import tempfile

import common.as_command  # noqa: F401
import numpy as np
from common import flags, timing
from etils import epath

from restpg_jax import config
from restpg_jax.engines import embedder
from restpg_jax.io import vectors
from restpg_jax.parallel import layout as layouts
from restpg_jax.retrieval import dense
from restpg_jax.stages import retrieve


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('data')
  parser.add_argument('encoder')
  parser.add_argument('--setting', default='user')
  parser.add_argument('--splits', default='test')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--rows', type=int, default=0, help='of a task; 0: all')
  args = parser.parse_args()
  data = config.Data(path=args.data, setting=args.setting, limit=args.rows)
  queries = [
    retrieve.retrieval_query(example)
    for split in args.splits.split(',')
    for example in retrieve.load_examples(data, split)[0]
  ]
  texts = [t for query in queries for t in (query.query, *query.keys)]
  distinct = list(dict.fromkeys(texts))
  print(
    f'{len(queries)} requests, {len(texts):,} texts, {len(distinct):,} distinct'
  )
  ours, theirs = Ours(args.encoder), sentence_transformers(args.encoder)
  agree(queries, distinct, ours.once, theirs)
  if args.rounds:
    every = {
      'theirs': theirs,
      'padded': ours.padded,
      'buckets': ours.buckets,
      'once': ours.once,
    }
    table('all', every, texts, args.rounds)
    only = {'theirs': theirs, 'buckets': ours.buckets}
    table('distinct', only, distinct, args.rounds)


class Ours:
  """Our ways to embed, with no text embedded before."""

  def __init__(self, encoder: str):
    compute = config.Compute(cpu_devices=os.cpu_count() or 1)
    folder = epath.Path(tempfile.mkdtemp())
    self._embedder = embedder.Embedder(
      encoder, layouts.Layout.of(compute), folder
    )

  def once(self, texts):
    with tempfile.TemporaryDirectory() as folder:
      self._embedder._store = vectors.Vectors(folder)
      return self._embedder(texts)

  def buckets(self, texts):
    for _ in self._embedder._encode(texts):
      pass

  def padded(self, texts):
    step, embedder.STEP = embedder.STEP, 10**6
    self.buckets(texts)
    embedder.STEP = step


def sentence_transformers(encoder: str):
  import sentence_transformers

  model = sentence_transformers.SentenceTransformer(encoder, device='cpu')
  return lambda texts: model.encode(texts, show_progress_bar=False)


def table(name: str, engines, texts, rounds: int) -> None:
  for run in engines.values():  # programs are compiled
    run(texts)
  seconds = timing.alternate(engines, rounds, texts)
  print(f'{name:<10}{"texts/s":>9}{"ratio":>8}{"by cores":>10}')
  for engine, took in seconds.items():
    ratio = timing.ratios(seconds['theirs'], took)
    speed = len(texts) / timing.medians(took).wall
    print(
      f'{engine:<10}{speed:>9.1f}{ratio.wall:>8.2f}{ratio.cpu:>10.2f}',
      flush=True,
    )


def agree(queries, distinct, ours, theirs) -> None:
  """Prints how far the vectors agree, and the first five documents."""
  a, b = (np.asarray(run(distinct), np.float32) for run in (ours, theirs))
  cosine = np.sum(a * b, axis=1)
  cosine /= np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
  row = {text: n for n, text in enumerate(distinct)}
  first, second = (
    dense.rank_by_vectors(
      queries, lambda texts, x=x: x[[row[t] for t in texts]]
    )
    for x in (a, b)
  )
  differ = [
    n
    for n, (one, other) in enumerate(zip(first, second, strict=True))
    if one[:5] != other[:5]
  ]
  print(
    f'cosine at least {cosine.min():.8f}; the same five documents, in the same '
    f'order, for {len(queries) - len(differ)} of {len(queries)} requests',
    flush=True,
  )
  for n in differ:
    query = queries[n]
    one, other = next(
      pair for pair in zip(first[n], second[n], strict=True) if len({*pair}) > 1
    )
    gaps = [
      x[row[query.query]]
      @ (x[row[query.keys[one]]] - x[row[query.keys[other]]])
      for x in (a, b)
    ]
    print(
      f'  {query.id}: documents {one} and {other} changed places, their scores '
      f'are {gaps[0]:.1e} and {gaps[1]:.1e} apart'
    )


if __name__ == '__main__':
  main()
