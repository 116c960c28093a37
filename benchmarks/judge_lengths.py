"""What the few compiled lengths of the judge cost in padding.

  python benchmarks/judge_lengths.py [--inputs=4000] [--rounds=0]

Prompts as long as those of the paper's Table 2 (preflight/judging.py), judged
by `configs/paper.py`: 32 answers an input as in an E-step, one as in an
evaluation, and 32 that are all equally long. Prints, for the lengths that are
compiled and for the grid of lengths that was compiled before (prefixes in 4
steps, rests in 8 between powers of two): how many of them occur, the tokens of
an input that are needed and computed, and the share of the computed ones that
nobody needed. A prefix is read once for each length of rest that the answers to
its input have.

With --rounds both go through the bundled tiny_it on this machine, 4 inputs with
32 answers, all lengths divided by 8, in alternating rounds: seconds of each,
the first of which compile, and how far log-probabilities are apart.
"""

import time
from unittest import mock

import common.as_command  # noqa: F401
import numpy as np
from common import flags, models, timing

from restpg_jax import assets, cli, config, integers
from restpg_jax.engines import generator, label_scorer
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import judging
from restpg_jax.rewards import judge
from restpg_jax.sampling import candidates

INPUTS = 4  # that this machine judges


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--inputs', type=int, default=4000)
  parser.add_argument('--rounds', type=int, default=0)
  parser.add_argument('--config', default='configs/paper.py')
  args = parser.parse_args()
  cfg = cli.load_config(args.config)
  limit = cfg.reward.max_input
  ways = {
    'few': candidates.compiled_lengths(limit),
    'grid': grid(limit),
  }
  many = judging.judged_lengths(cfg, args.inputs, 32)
  alike = np.repeat(many.rest_NA[:, :1], 32, axis=1)
  print(
    f'{"":18}{"":6}{"lengths":>8}{"needed":>9}{"prefixes":>9}{"rests":>9}'
    f'{"padding":>9}'
  )
  for title, judged in {
    '32 answers': many,
    '1 answer': judging.judged_lengths(cfg, args.inputs, 1),
    '32 equally long': judging.JudgedLengths(many.prefix_N, alike),
  }.items():
    for way, lengths in ways.items():
      found = judging.computed_tokens(judged, lengths)
      print(
        f'{title:18}{way:6}{len(found.lengths):8}{found.needed:9,.0f}'
        f'{found.prefixes:9,.0f}{found.rests:9,.0f}{found.padding:9.1%}',
        flush=True,
      )

  if args.rounds:
    compare(judging.judged_lengths(cfg, INPUTS, 32), limit // 8, args.rounds)


def compare(judged: judging.JudgedLengths, limit: int, rounds: int) -> None:
  model = generator.load(
    assets.path('tiny_it'),
    models.TOKENIZER,
    layouts.Layout.of(config.Compute()),
  )
  rng = np.random.default_rng(0)

  def draw(length: int) -> tuple[int, ...]:
    vocabulary = model.tokenizer.vocab_size
    return tuple(rng.integers(models.FIRST_WORD, vocabulary, length).tolist())

  texts = []
  for prefix, rest_A in zip(judged.prefix_N, judged.rest_NA, strict=True):
    shared = draw(prefix // 8)
    texts += [candidates.Candidate(shared, draw(1 + n // 8)) for n in rest_A]
  ways = {
    'few': Way(model, candidates.compiled_lengths(limit)),
    'grid': Way(model, grid(limit)),
  }
  logp = {}
  for name, way in ways.items():
    start = time.perf_counter()
    logp[name] = way(texts)
    print(f'{name}, the first: {time.perf_counter() - start:.1f} s', flush=True)
  print(f'apart {np.abs(logp["few"] - logp["grid"]).max():.1e}')
  labels = [values.argmax(axis=1) for values in logp.values()]
  print(f'{np.sum(labels[0] != labels[1])} of {len(texts)} labels differ')
  seconds = timing.alternate(ways, rounds, texts)
  for name, each in seconds.items():
    print(f'{name}: {timing.medians(each).wall:.2f} s')
  ratio = timing.ratios(seconds['grid'], seconds['few'])
  print(f'grid / few: {ratio.wall:.2f}, of CPU seconds {ratio.cpu:.2f}')


class Way:
  def __init__(self, model: generator.LoadedModel, lengths):
    self.model, self.lengths = model, lengths

  def __call__(self, texts) -> np.ndarray:
    logp = np.zeros((len(texts), len(judge.LABELS)))
    labels = [str(label) for label in judge.LABELS]
    with mock.patch.object(
      candidates, 'compiled_lengths', lambda limit: self.lengths
    ):
      for scores in label_scorer.label_logp(self.model, texts, labels, limit=0):
        for n, row in scores:
          logp[n] = row
    return logp


def grid(limit: int) -> list[tuple[int, int]]:
  """Returns all pairs of lengths that were compiled before."""
  prefixes, rests = (
    sorted({round_to_steps(n, steps) for n in range(limit + 1)})
    for steps in (4, 8)
  )
  return [(S, R) for R in rests for S in prefixes]


def round_to_steps(length: int, steps: int) -> int:
  below = 1 << max(length - 1, 1).bit_length() - 1
  return integers.round_up(max(length, 1), max(candidates.STEP, below // steps))


if __name__ == '__main__':
  main()
