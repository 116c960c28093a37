"""Packed training beside padded: how full rows are, and real tokens a second.

  python benchmarks/packing.py [--rounds=5] [--steps=3] [--shrink=16]

Lengths are those that preflight assumes for LongLaMP (preflight/workload.py,
from Table 2 of the paper), with five documents as long as outputs, cut at 5,120
+ 1,536 tokens. `full`: share of token slots that hold tokens, for some numbers
of devices that each take rows of their own (4 x 16: 4 times 16 that share
them), and for every example in a row of the longest there may be. Then, on this
machine, the same examples with all lengths divided by --shrink go through a
small model, float32, the same step, in alternating rounds:

  packed   as a run packs them
  padded   each in a row of the longest there may be, as many rows at a time

Prints real tokens a second of each and medians of the ratio, and how far the
losses of the two are apart.
"""

import dataclasses
import statistics

import common.as_command  # noqa: F401
import numpy as np
import optax
from common import flags, lengths, models, timing

from restpg_jax import config
from restpg_jax.engines import batch_loader, trainer
from restpg_jax.models import size as sizes
from restpg_jax.models import splash
from restpg_jax.parallel import layout as layouts
from restpg_jax.training import batches, optimizer, packing
from restpg_jax.training import step as steps

BATCH = 64
# Devices with rows of their own, and devices that have a part of each.
DEVICES = (
  *((1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (64, 1)),
  *((4, 4), (4, 8), (4, 16), (8, 8)),
)
GEMMA_2B = 1.9e-5  # sizes.Size.attention_share
SMALL = sizes.Size(
  layers=4,
  width=128,
  hidden=384,
  heads=4,
  kv_heads=1,
  head_size=32,
  vocabulary=1024,
)


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--steps', type=int, default=3, help='of a round')
  parser.add_argument('--shrink', type=int, default=16, help='of lengths')
  args = parser.parse_args()
  sizes = lengths.longlamp(200 * BATCH)
  show_lengths(sizes)
  show_full(sizes)
  compare(sizes, args)


def show_lengths(sizes) -> None:
  tokens = [size.tokens for size in sizes]
  print(
    f'{len(sizes)} examples of {statistics.fmean(tokens):,.0f} tokens on '
    f'average, half of them below {statistics.median(tokens):,.0f}, the '
    f'longest {max(tokens):,}'
  )


def show_full(sizes) -> None:
  """Prints how full the rows are of all steps of an epoch."""
  epoch = [
    batches.rows_of_step(len(sizes), seed=0, step=n, size=BATCH)
    for n in range(len(sizes) // BATCH)
  ]
  real = sum(size.tokens for size in sizes)
  print(f'\n{"devices":>10}{"full":>8}{"micro-batches":>15}  rows x tokens')
  for devices, context_parallel in DEVICES:
    work = packing.PackingCost(devices, GEMMA_2B, context_parallel)
    shapes = packing.choose_shapes(
      sizes,
      epoch[: batch_loader.SAMPLE],
      work,
      multiple=splash.multiple(context_parallel),
    )
    packed = [
      packing.pack([sizes[n] for n in step], shapes, work) for step in epoch
    ]
    full = real / sum(map(packing.slots, packed))
    number = statistics.fmean(map(len, packed))
    rows = ', '.join(f'{s.rows} x {s.length:,}' for s in shapes)
    label = (
      f'{devices} x {context_parallel}'
      if context_parallel > 1
      else str(devices)
    )
    print(f'{label:>10}{full:>8.1%}{number:>15.1f}  {rows}', flush=True)
  full = real / (len(sizes) * lengths.LONGEST)
  print(f'{"padded":>10}{full:>8.1%}')


def compare(sizes, args) -> None:
  rng = np.random.default_rng(1)
  rows = [
    batches.TrainingExample(
      *lengths.shrunk(rng, size, by=args.shrink, vocab_size=SMALL.vocabulary),
      1.0,
    )
    for size in sizes
  ]
  longest = -(-lengths.LONGEST // args.shrink)
  runs = {
    'packed': Run(rows, config.Compute()),
    'padded': Run(rows, config.Compute(rows=1, row_length=longest), alone=True),
  }
  print(
    f'\nlengths by {args.shrink}, {BATCH} examples a step, {args.steps} steps'
  )
  for run in runs.values():  # compiles
    run(range(args.rounds * args.steps, (args.rounds + 1) * args.steps))
  print(f'{"packed, tok/s":>15}{"padded, tok/s":>15}{"ratio":>8}{"full":>8}')
  rates, largest_gap = [], 0.0
  for start in range(0, args.rounds * args.steps, args.steps):
    numbers = range(start, start + args.steps)
    results = [run(numbers) for run in runs.values()]
    rates.append([rate for rate, _ in results])
    largest_gap = max(
      largest_gap, *np.abs(np.subtract(results[0][1], results[1][1])).tolist()
    )
    show(rates[-1:], runs['packed'].full(numbers))
  print('medians')
  show(rates, runs['packed'].full(range(args.rounds * args.steps)))
  print(f'losses apart by at most {largest_gap:.1e}')


def show(rates, full: float) -> None:
  packed, padded = map(statistics.median, zip(*rates, strict=True))
  ratio = statistics.median(a / b for a, b in rates)
  print(
    f'{packed:>15,.0f}{padded:>15,.0f}{ratio:>8.2f}{full:>8.1%}', flush=True
  )


class Run:
  """One way of training; its weights go on from round to round."""

  def __init__(self, outputs, compute: config.Compute, *, alone: bool = False):
    self.alone = alone
    self.layout = layouts.Layout.of(compute)
    self.reads = batch_loader.BatchLoader.of(
      outputs, SMALL, self.layout, attention='blocks', seed=0, size=BATCH
    )
    tx = optimizer.build_optimizer(
      'adafactor', optax.constant_schedule(1e-3), weight_decay=0.01, clip=1.0
    )
    settings = config.Train(compute_dtype='float32')
    model = trainer.model_of(SMALL, 'blocks', settings, self.layout)
    start = models.initial_parameters(SMALL)
    self.state = self.layout.shard(steps.init_state(start, tx))
    self.programs = trainer.training_programs(
      model, tx, self.state, self.layout
    )

  def step(self, n: int) -> batch_loader.StepBatches:
    rows, groups = self.reads.plan(n)
    if self.alone:
      groups = by_themselves(len(rows), groups[0].shape)
    return self.reads.build(n, rows, groups)

  def sums(self, step: batch_loader.StepBatches):
    accumulate, _ = self.programs
    sums = None
    for batch in step.batches:
      sums = accumulate(self.state, sums, batch, step.targets)
    return sums

  def __call__(self, numbers) -> tuple[float, list[float]]:
    """Returns real tokens a second, and the loss of each step."""
    (tokens, losses), seconds = timing.timed(self.train, numbers)
    return tokens / seconds.wall, losses

  def train(self, numbers) -> tuple[int, list[float]]:
    _, update = self.programs
    tokens, losses = 0, []
    for n in numbers:
      step = self.step(n)
      self.state, metrics = update(self.state, self.sums(step))
      losses.append(float(metrics['loss']))
      tokens += step.tokens
    return tokens, losses

  def full(self, numbers) -> float:
    """Returns the share of slots that held tokens in these steps."""
    taken = [self.step(n) for n in numbers]
    return sum(s.tokens for s in taken) / sum(s.slots for s in taken)


def by_themselves(
  count: int, shape: packing.BatchShape
) -> list[packing.MicroBatch]:
  """Puts every example in a row of its own, ROWS at a time."""
  shape = dataclasses.replace(shape, rows=ROWS)
  starts = range(0, count, ROWS)
  return [
    packing.MicroBatch(shape, tuple((n,) for n in range(start, start + ROWS)))
    for start in starts
  ]


ROWS = 16  # of a micro-batch of `padded`


if __name__ == '__main__':
  main()
