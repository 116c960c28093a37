"""Examples a second of training, beside PyTorch's and Tunix's trainers.

  python benchmarks/trainers.py [--model=tiny|100m]
      [--optimizer=adafactor|adamw] [--rounds=5] [--steps=10] [--batch=8]
      [--lengths=users|longlamp] [--trainers=ours,hf,tunix]
      [--keep=ours]
      [--python=NAME=FILE]
  python benchmarks/trainers.py --curves

tiny  the bundled model on prompts and texts of the synthetic users
100m  random weights, 12 layers of width 768, 32,000 words; random rows whose
      lengths vary as those of users' texts do: medians of 160 and 48 tokens

--lengths=longlamp: random rows as long as preflight assumes LongLaMP's to be,
divided by 16, for either model.

hf is what transformers' Trainer does in a step (its model, rows padded to the
longest of their batch, or of one of its --accumulate=N micro-batches, loss,
clipping, torch.optim.AdamW or transformers' Adafactor), tunix its PeftTrainer
on all weights. All have the same weights in their own form, the same examples
in the same order, the same settings, float32 and the same CPU cores. Each is a
process of its own, compiled before the clock runs; in each round one after the
other goes on, never two at a time.

--curves: 50 steps of AdamW, tiny; prints each loss and by how much it differs.

--keep=ours,hf: these keep memory that they freed (restpg_jax/malloc.py), as the
framework's command does and others do not.

Needs the extra [bench]. A package that wants other versions than these can
have its own environment: --python=tunix=OTHER/bin/python.
"""

import dataclasses
import itertools
import pathlib
import statistics
import tempfile

import common.as_command  # noqa: F401
import numpy as np
from common import flags, lengths, models, timing, worker
from common.training_job import Job

from restpg_jax import config
from restpg_jax.engines import prompting, tokenizer_files
from restpg_jax.stages import retrieve, train

TRAINERS = ('ours', 'hf', 'tunix')
ROWS, LONGEST, CURVE = 256, 512, 50
SHRINK = 16  # by which LongLaMP's examples are shorter here


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--model', choices=('tiny', '100m'), default='tiny')
  parser.add_argument(
    '--optimizer', choices=('adafactor', 'adamw'), default='adafactor'
  )
  parser.add_argument(
    '--lengths', choices=('users', 'longlamp'), default='users'
  )
  parser.add_argument('--trainers', default=','.join(TRAINERS))
  parser.add_argument('--steps', type=int, default=10, help='of a round')
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--accumulate', type=int, default=1, help='of hf')
  parser.add_argument('--warm', type=int, default=3, help='steps to compile')
  parser.add_argument('--curves', action='store_true')
  flags.add_engines(parser)
  args = parser.parse_args()
  if args.curves:
    args.model, args.optimizer, args.rounds = 'tiny', 'adamw', 1
    args.steps = CURVE - args.warm
  with tempfile.TemporaryDirectory() as folder:
    job = job_of(pathlib.Path(folder), args)
    jobs = dict.fromkeys(args.trainers.split(','), job)
    workers = worker.start('common.training_engines', jobs, args)
    rounds = [train_all(workers, n, args) for n in range(args.rounds)]
    losses = losses_of(workers, rounds)
    if args.curves:
      show_curves(losses)
    else:
      show(job, workers, rounds, args.steps)
    worker.report(args, workers, losses=losses, rounds=rounds)


def train_all(workers, n: int, args) -> dict[str, dict]:
  """Returns answers of round n, in which trainers go on one by one."""
  answers = {}
  for name, trainer in workers.items():
    first = args.warm + n * args.steps
    answer = trainer.ask(first=first, count=args.steps)
    if answer:
      answers[name] = answer
      rate = args.steps * args.batch / answer['seconds']
      print(f'round {n + 1} {name}: {rate:.2f} examples/s', flush=True)
  return answers


def losses_of(workers, rounds) -> dict[str, list[float]]:
  """Returns each trainer's loss of every step, also of those that compile."""
  return {
    name: trainer.ready['losses']
    + [loss for answers in rounds for loss in answers[name]['losses']]
    for name, trainer in workers.items()
    if not trainer.failure
  }


def job_of(folder: pathlib.Path, args) -> Job:
  """Writes weights in all forms; returns the rows to learn."""
  rng = np.random.default_rng(0)
  size = models.write_all(folder, args.model, rng)
  if args.lengths == 'longlamp':
    rows = longlamp_rows(size.vocabulary, rng)
  elif args.model == 'tiny':
    rows = users_rows(size)
  else:
    rows = random_rows(size.vocabulary, rng)
  return Job(
    folder=str(folder),
    rows=rows,
    batch=args.batch,
    steps=args.warm + args.rounds * args.steps,
    warm=args.warm,
    optimizer=args.optimizer,
    rate=1e-3 if args.model == 'tiny' else 1e-4,
    warmup=5,
    weight_decay=0.01,
    clip=1.0,
    final_rate=0.1,
    threads=args.threads,
    accumulate=args.accumulate,
  )


def users_rows(size) -> list[tuple[list[int], list[int]]]:
  """Returns what SFT without reasoning reads: prompts and gold texts."""
  tokenizer = tokenizer_files.load_tokenizer(models.TOKENIZER, size)
  examples, _ = retrieve.load_examples(config.Data(), 'train')
  examples = [
    dataclasses.replace(e, context=tuple(d.text for d in e.profile[:5]))
    for e in itertools.islice(examples, ROWS)
  ]
  prompt = config.Prompt(template='prompts/tiny/policy.txt')
  settings = train.TrainSettings(
    config.Train(), prompt, config.Model(), True, 0
  )
  prompts = prompting.policy_prompts(examples, tokenizer, settings)
  return [
    (list(p.ids), [*tokenizer.encode(e.output), tokenizer.eos])
    for p, e in zip(prompts, examples, strict=True)
  ]


def random_rows(vocabulary: int, rng) -> list[tuple[list[int], list[int]]]:
  """Draws rows of log-normal lengths, together at most LONGEST."""

  def tokens(length):
    return rng.integers(models.FIRST_WORD, vocabulary, length).tolist()

  prompts = rng.lognormal(np.log(160), 0.5, ROWS).clip(16, 0.75 * LONGEST)
  targets = rng.lognormal(np.log(48), 0.6, ROWS).clip(4, 0.25 * LONGEST)
  return [
    ([models.BOS, *tokens(p - 1)], [*tokens(t - 1), models.EOS])
    for p, t in zip(prompts.astype(int), targets.astype(int), strict=True)
  ]


def longlamp_rows(vocabulary: int, rng) -> list[tuple[list[int], list[int]]]:
  sizes = lengths.longlamp(2 * ROWS)
  return [
    tuple(
      part.tolist()
      for part in lengths.shrunk(rng, size, by=SHRINK, vocab_size=vocabulary)
    )
    for size in sizes
  ]


def show(job, workers, rounds, steps: int) -> None:
  """Prints the table: medians over the rounds."""
  tokens = [len(prompt) + len(target) for prompt, target in job.rows]
  print(
    f'\n{job.optimizer}, {job.batch} examples a step, rows of '
    f'{np.mean(tokens):.0f} tokens in the mean, {job.longest} at most, '
    f'{job.threads} threads\n'
    f'{"":<8}{"examples/s":>12}{"examples/CPU s":>16}{"ours is":>10}'
    f'{"faults a step":>16}'
  )
  examples = steps * job.batch
  speeds = {
    name: [examples / answers[name]['seconds'] for answers in rounds]
    for name, trainer in workers.items()
    if not trainer.failure
  }
  for name, trainer in workers.items():
    if trainer.failure:
      print(f'{name:<8} not run: {trainer.failure}')
      continue
    answers = [answers[name] for answers in rounds]
    busy = statistics.median(examples / a['cpu_seconds'] for a in answers)
    faults = statistics.median(a['faults'] / steps for a in answers)
    speed = statistics.median(speeds[name])
    times = timing.ratio(speeds.get('ours', speeds[name]), speeds[name])
    print(f'{name:<8}{speed:>12.2f}{busy:>16.2f}{times:>9.1f}x{faults:>16,.0f}')


def show_curves(losses: dict[str, list[float]]) -> None:
  """Prints each step's losses, and the largest difference from ours."""
  print(f'\n{"step":<6}' + ''.join(f'{name:>12}' for name in losses))
  for step, row in enumerate(zip(*losses.values(), strict=True)):
    print(f'{step:<6}' + ''.join(f'{loss:>12.6f}' for loss in row))
  for name, theirs in losses.items():
    if name != 'ours' and 'ours' in losses:
      far = np.abs(np.subtract(losses['ours'], theirs)).max()
      print(f'ours and {name}: at most {far:.2e} apart in {len(theirs)} steps')


if __name__ == '__main__':
  main()
