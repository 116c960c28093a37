"""Users' documents ranked at scale: does a user cost the same among many?

  python benchmarks/ranking.py [--users=1000,5000,10000,20000] [--documents=50]

Every user has 50 documents of their own, so that 20,000 of them have a million:
words by their rank (Zipf), lengths log-normal as LongLaMP's reviews (Table 2 of
the paper). They go through the stage's own code (stages/retrieve.py) with BM25,
1,024 users at a time. Making the texts is not counted. Each number of users is
ranked by a process of its own; printed are its seconds, milliseconds of a user
and the most memory it had.
"""

import json

import common.as_command  # noqa: F401
import numpy as np
from common import flags, memory, processes, timing

from restpg_jax import config, types
from restpg_jax.stages import retrieve

WORDS = 50_000
MEAN, DEVIATION = 304.54, 228.61  # words of a review
INPUT = 119  # words of a request


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--users', default='1000,5000,10000,20000')
  parser.add_argument('--documents', type=int, default=50, help='of a user')
  parser.add_argument('--child', action='store_true')
  args = parser.parse_args()
  if args.child:
    print(json.dumps(ranked(int(args.users), args.documents)))
    return
  heads = 'users', 'documents', 'seconds', 'ms a user', 'cores ms', 'peak GiB'
  print(''.join(f'{head:>11}' for head in heads))
  for users in map(int, args.users.split(',')):
    wall, cores, peak = processes.run(
      __file__, '--child', f'--users={users}', f'--documents={args.documents}'
    )
    print(
      f'{users:>11,}{users * args.documents:>11,}{wall:>11.1f}'
      f'{1e3 * wall / users:>11.2f}{1e3 * cores / users:>11.2f}{peak:>11.2f}',
      flush=True,
    )


def ranked(users: int, documents: int) -> tuple[float, float, float]:
  """Returns seconds by the clock and of all cores, and peak memory in GiB."""
  retriever = retrieve.by_bm25(config.Retrieval(), 0, None, None)
  wall = cores = 0.0
  for begin in range(0, users, retrieve.PIECE):
    piece = range(begin, min(users, begin + retrieve.PIECE))
    examples = [example(user, documents) for user in piece]
    with_contexts, seconds = timing.timed(
      lambda some: list(retrieve.with_contexts(some, retriever, k=5)), examples
    )
    assert all(len(e.context) == min(5, documents) for e in with_contexts)
    wall, cores = wall + seconds.wall, cores + seconds.cpu
  return wall, cores, memory.peak() / memory.GIB


def example(user: int, documents: int) -> types.Example:
  """Returns an example of a user, the same however many users there are."""
  rng = np.random.default_rng(user)
  spread = np.sqrt(np.log1p((DEVIATION / MEAN) ** 2))
  center = np.log(MEAN) - spread**2 / 2
  lengths = np.ceil(rng.lognormal(center, spread, documents)).astype(int)
  ranks = WORDS ** rng.random(INPUT + lengths.sum())  # density 1 / rank
  words = [f'w{rank}' for rank in ranks.astype(int).tolist()]
  texts, at = [], INPUT
  for length in lengths.tolist():
    text = ' '.join(words[at : at + length])
    texts.append(types.Document(text, text))
    at += length
  request = ' '.join(words[:INPUT])
  return types.Example(str(user), 'product_review', request, '', tuple(texts))


if __name__ == '__main__':
  main()
