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

--keep=ours,hf: these keep memory that they freed (restpg_jax/heap.py), as the
framework's command does and others do not.

Needs the extra [bench]. A package that wants other versions than these can
have its own environment: --python=tunix=OTHER/bin/python.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import lengths
import numpy as np
import sampling
import shapes
import trainers_job

from restpg_jax import assets, config
from restpg_jax.io import checkpoints, weights
from restpg_jax.stages import convert, draw, language, retrieve, train

ROOT = pathlib.Path(__file__).parent.parent
TRAINERS = ('ours', 'hf', 'tunix')
ROWS, LONGEST, CURVE = 256, 512, 50
SHRINK = 16  # by which LongLaMP's examples are shorter here
BOS, EOS, FIRST_WORD = 2, 1, 4


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--model', choices=('tiny', '100m'), default='tiny')
  parser.add_argument(
    '--optimizer', choices=('adafactor', 'adamw'), default='adafactor'
  )
  parser.add_argument(
    '--lengths', choices=('users', 'longlamp'), default='users'
  )
  parser.add_argument('--trainers', default=','.join(TRAINERS))
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--steps', type=int, default=10, help='of a round')
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--accumulate', type=int, default=1, help='of hf')
  parser.add_argument('--warm', type=int, default=3, help='steps to compile')
  parser.add_argument('--curves', action='store_true')
  parser.add_argument('--keep', default='ours', help='see above')
  parser.add_argument('--python', action='append', default=[])
  parser.add_argument('--threads', type=int, default=os.cpu_count())
  parser.add_argument('--json', type=pathlib.Path)
  args = parser.parse_args()
  if args.curves:
    args.model, args.optimizer, args.rounds = 'tiny', 'adamw', 1
    args.steps = CURVE - args.warm
  pythons = dict(text.split('=', 1) for text in args.python)
  with tempfile.TemporaryDirectory() as folder:
    job = make_job(pathlib.Path(folder), args)
    workers = {
      name: Worker(
        name,
        job,
        pythons.get(name, sys.executable),
        name in args.keep.split(','),
      )
      for name in args.trainers.split(',')
    }
    for n in range(args.rounds):
      for name, worker in workers.items():
        worker.train(job.warm + n * args.steps, args.steps)
        if worker.rounds and not worker.failure:
          rate = worker.rates(job.batch)['examples/s'][-1]
          print(f'round {n + 1} {name}: {rate:.2f} examples/s', flush=True)
    (curves if args.curves else show)(job, workers)
    if args.json:
      found = {
        'settings': {k: str(v) for k, v in vars(args).items()},
        'versions': {n: w.versions for n, w in workers.items()},
        'failures': {n: w.failure for n, w in workers.items() if w.failure},
        'losses': {n: w.losses for n, w in workers.items()},
        'rounds': {n: w.rounds for n, w in workers.items()},
      }
      args.json.write_text(json.dumps(found, indent=1) + '\n')


class Worker:
  """One trainer, alive in a process of its own."""

  def __init__(self, name: str, job: trainers_job.Job, python: str, keep: bool):
    self.versions, self.failure = {}, ''
    self.losses, self.rounds = [], []
    folder = pathlib.Path(job.folder)
    (folder / f'{name}.json').write_text(json.dumps(dataclasses.asdict(job)))
    self._log = folder / f'{name}.log'
    script = ROOT / 'benchmarks' / 'trainers_engines.py'
    with self._log.open('w') as log:
      self._process = subprocess.Popen(
        [python, script, name, folder / f'{name}.json'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=os.environ
        | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
        | {'KEEP_MEMORY': str(int(keep))},
      )
    ready = self._answer()
    if ready:
      self.versions, self.losses = ready['ready'], ready['losses']
      print(f'{name}: {self.versions}', flush=True)

  def train(self, first: int, count: int) -> None:
    if self.failure:
      return
    asked = json.dumps({'first': first, 'count': count})
    self._process.stdin.write(asked + '\n')
    self._process.stdin.flush()
    answer = self._answer()
    if answer:
      self.losses += answer.pop('losses')
      self.rounds.append(answer | {'steps': count})

  def rates(self, batch: int) -> dict[str, list[float]]:
    return {
      f'examples/{of}': [r['steps'] * batch / r[key] for r in self.rounds]
      for of, key in (('s', 'seconds'), ('CPU s', 'cpu_seconds'))
    }

  def _answer(self) -> dict | None:
    line = self._process.stdout.readline()
    if line:
      return json.loads(line)
    self.failure = (self._log.read_text().splitlines() or ['it died'])[-1]
    print(f'failed: {self.failure}', flush=True)
    return None


def make_job(folder: pathlib.Path, args) -> trainers_job.Job:
  """Weights in all forms, and rows."""
  rng = np.random.default_rng(0)
  if args.model == 'tiny':
    shutil.copytree(assets.HERE / 'tiny_pt', folder / 'ours')
    size = weights.find(assets.HERE / 'tiny_pt').size
    rows = users_rows(size)
  else:
    size = shapes.SIZE_100M
    params = sampling.random_parameters(size, rng)
    checkpoints.save_model(folder / 'ours', params, size)
    rows = random_rows(size.vocabulary, rng)
  if args.lengths == 'longlamp':
    rows = longlamp_rows(size.vocabulary, rng)
  for form in ('hf', 'gemma'):
    convert.convert(
      config.Export(
        source=str(folder / 'ours'),
        to=str(folder / form),
        format=form,
        tokenizer=str(assets.HERE / 'tiny.spm.model'),
      )
    )
  return trainers_job.Job(
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
  """What SFT without reasoning reads: prompt with documents, the gold text."""
  words = language.load_tokenizer('tiny.spm.model', size)
  examples, _ = retrieve.read(config.Data(), 'train')
  examples = [
    dataclasses.replace(e, context=tuple(d.text for d in e.profile[:5]))
    for e in itertools.islice(examples, ROWS)
  ]
  prompt = config.Prompt(template='prompts/tiny/policy.txt')
  how = train.Settings(config.Train(), prompt, config.Model(), True, 0)
  asked = draw.policy_prompts(examples, words, how)
  return [
    (list(p.ids), [*words.encode(e.output), words.eos])
    for p, e in zip(asked, examples, strict=True)
  ]


def random_rows(vocabulary: int, rng) -> list[tuple[list[int], list[int]]]:
  """Log-normal lengths, together at most LONGEST."""

  def words(length):
    return rng.integers(FIRST_WORD, vocabulary, length).tolist()

  prompts = rng.lognormal(np.log(160), 0.5, ROWS).clip(16, 0.75 * LONGEST)
  targets = rng.lognormal(np.log(48), 0.6, ROWS).clip(4, 0.25 * LONGEST)
  return [
    ([BOS, *words(p - 1)], [*words(t - 1), EOS])
    for p, t in zip(prompts.astype(int), targets.astype(int), strict=True)
  ]


def longlamp_rows(vocabulary: int, rng) -> list[tuple[list[int], list[int]]]:
  sizes = lengths.longlamp(2 * ROWS)
  return [
    tuple(
      part.tolist()
      for part in lengths.shrunk(rng, size, by=SHRINK, words=vocabulary)
    )
    for size in sizes
  ]


def show(job, workers) -> None:
  """The table: medians over the rounds."""
  tokens = [len(prompt) + len(target) for prompt, target in job.rows]
  print(
    f'\n{job.optimizer}, {job.batch} examples a step, rows of '
    f'{np.mean(tokens):.0f} tokens in the mean, {job.longest} at most, '
    f'{job.threads} threads\n'
    f'{"":<8}{"examples/s":>12}{"examples/CPU s":>16}{"ours is":>10}'
    f'{"faults a step":>16}'
  )
  median = {
    name: {
      by: statistics.median(x) for by, x in worker.rates(job.batch).items()
    }
    for name, worker in workers.items()
    if not worker.failure
  }
  for name, worker in workers.items():
    if worker.failure:
      print(f'{name:<8} not run: {worker.failure}')
      continue
    speed, busy = median[name].values()
    times = median.get('ours', median[name])['examples/s'] / speed
    faults = statistics.median(r['faults'] / r['steps'] for r in worker.rounds)
    print(f'{name:<8}{speed:>12.2f}{busy:>16.2f}{times:>9.1f}x{faults:>16,.0f}')


def curves(job, workers) -> None:
  """Each step's losses, and the largest difference from ours."""
  losses = {n: w.losses for n, w in workers.items() if not w.failure}
  print(f'\n{"step":<6}' + ''.join(f'{name:>12}' for name in losses))
  for step, row in enumerate(zip(*losses.values(), strict=True)):
    print(f'{step:<6}' + ''.join(f'{loss:>12.6f}' for loss in row))
  for name, found in losses.items():
    if name != 'ours' and 'ours' in losses:
      far = np.abs(np.subtract(losses['ours'], found)).max()
      print(f'ours and {name}: at most {far:.2e} apart in {len(found)} steps')


if __name__ == '__main__':
  main()
