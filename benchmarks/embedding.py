"""Vectors of documents: ours beside sentence-transformers, and do they agree?

  python benchmarks/embedding.py DATA ENCODER [--rounds=5] [--users=0]

DATA is a folder in LongLaMP's schema, ENCODER one with the safetensors of a
BERT-type sentence encoder. All texts of a split's profiles are read, the users'
repeated ones too; both have the same weights, texts, limit of tokens and cores,
in alternating rounds. Two comparisons: all texts, of which ours reads equal
ones once, and the distinct texts alone, where only the batches differ.
First of all: the smallest cosine of two vectors of one text, and for how many
users both rank the same five documents first.

Needs the package sentence-transformers.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time

import numpy as np

from restpg_jax import config
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import embed, retrieve


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('data')
  parser.add_argument('encoder')
  parser.add_argument('--split', default='test')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--users', type=int, default=0, help='of a task; 0: all')
  args = parser.parse_args()
  data = config.Data(path=args.data, limit=args.users)
  examples, _ = retrieve.read(data, args.split)
  questions = [retrieve.asked(example) for example in examples]
  texts = [t for asked in questions for t in (asked.query, *asked.keys)]
  distinct = list(dict.fromkeys(texts))
  print(
    f'{len(questions)} users, {len(texts):,} texts, {len(distinct):,} distinct'
  )
  engines = {
    'ours': ours(args.encoder),
    'sentence-transformers': theirs(args.encoder),
  }
  agree(questions, distinct, engines)
  for name, some in (('all texts', texts), ('distinct texts', distinct)):
    seconds = {engine: [] for engine in engines}
    for _ in range(args.rounds):
      for engine, fresh in engines.items():
        run = fresh()
        began = time.monotonic()
        run(some)
        seconds[engine].append(time.monotonic() - began)
    speed = {e: len(some) / statistics.median(s) for e, s in seconds.items()}
    said = ', '.join(f'{e} {s:.1f}' for e, s in speed.items())
    ratio = speed['ours'] / speed['sentence-transformers']
    print(f'{name}: {said} texts/s; ratio {ratio:.2f}')


def ours(encoder: str):
  """Gives functions of texts that know none of them yet."""
  compute = config.Compute(cpu_devices=os.cpu_count())
  layout = layouts.Layout.of(compute)

  def fresh():
    folder = pathlib.Path(tempfile.mkdtemp())
    return embed.Embedder(encoder, layout, folder)

  return fresh


def theirs(encoder: str):
  import sentence_transformers

  model = sentence_transformers.SentenceTransformer(encoder, device='cpu')
  return lambda: lambda texts: model.encode(texts, show_progress_bar=False)


def agree(questions, distinct, engines) -> None:
  """Vectors of the two, text by text, and their first five documents."""
  place = {text: n for n, text in enumerate(distinct)}
  a, b = (fresh()(distinct) for fresh in engines.values())
  cosine = np.sum(a * b, axis=1)
  cosine /= np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
  same = sum(
    np.array_equal(*(_first(asked, x, place) for x in (a, b)))
    for asked in questions
  )
  print(
    f'cosine at least {cosine.min():.7f}; the same five documents, in the same '
    f'order, for {same} of {len(questions)} users'
  )


def _first(asked, vectors_ND, place) -> np.ndarray:
  keys = vectors_ND[[place[key] for key in asked.keys]]
  return np.argsort(-(keys @ vectors_ND[place[asked.query]]), kind='stable')[:5]


if __name__ == '__main__':
  main()
