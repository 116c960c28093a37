"""Drawing 32 samples an input: ours and three others on the same work.

  python benchmarks/sampling.py [--model=tiny] [--length=512] [--json=FILE]

tiny  the bundled model writes as it likes: prompts are those of its policy
      template with more documents, and a sample ends at <eos>
      (--lengths=drawn: as for 100m)
100m  random weights, 12 layers of width 768, 32,000 words; random prompts. The
      length of each sample is drawn in advance and forced on all

Others are DeepMind's gm.text.Sampler, transformers' generate and Tunix's
sampler, all with the same weights in their own form, in float32, on the same
CPU cores. Each sampler is a process of its own (samplers.py), started and
compiled before the clock runs; in each round one after the other draws, never
two at a time. Ours gets all inputs of a round at once, the others, which read
them one after the other anyway, each round other ones of them. What stands
behind a sampler's name is how many inputs it has side by side: --batch
changes it, and which number is best for a sampler has to be tried.

--keep=ours,hf: these keep memory that they freed (restpg_jax/heap.py), as the
framework's command does and others do not.

Needs the extra [bench]. A package that wants other versions than these can
have its own environment: --python=tunix=OTHER/bin/python.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import jobs
import numpy as np
import samplers
import shapes

from restpg_jax import assets, config
from restpg_jax.io import checkpoints
from restpg_jax.models import decoder, formats
from restpg_jax.stages import convert, language, retrieve
from restpg_jax.text import prompts

ROOT = pathlib.Path(__file__).parent.parent
MODELS = ('tiny', '100m')
LENGTHS = (512, 1024)
M, MAX_OUTPUT = 32, 256
EOS, BOS, FIRST_WORD = 1, 2, 4
BATCH = {'ours': 8, 'gm': 1, 'hf': 1, 'tunix': 1}
SPARE = 8  # inputs to compile with: at least the largest batch


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--model', choices=MODELS, default='tiny')
  parser.add_argument('--length', type=int, choices=LENGTHS, default=512)
  parser.add_argument('--lengths', choices=('natural', 'drawn'), help='of tiny')
  parser.add_argument('--samplers', default=','.join(samplers.ENGINES))
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--inputs', type=int, default=16, help='of ours a round')
  parser.add_argument('--others', type=int, default=2, help='.. of the others')
  parser.add_argument('--batch', action='append', default=[], help='hf=2')
  parser.add_argument('--slots', type=int, default=8, help='of an input; ours')
  parser.add_argument('--keep', default='ours', help='see above')
  parser.add_argument('--python', action='append', default=[])
  parser.add_argument('--threads', type=int, default=os.cpu_count())
  parser.add_argument('--json', type=pathlib.Path)
  args = parser.parse_args()
  names = args.samplers.split(',')
  batch = BATCH | {k: int(v) for k, v in map(_pair, args.batch)}
  drawn = args.model == '100m' or args.lengths == 'drawn'
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    job = make_job(folder, args.model, args.length, args.inputs, drawn)
    job = dataclasses.replace(job, threads=args.threads, slots=args.slots)
    workers = {
      name: Worker(
        name,
        dataclasses.replace(job, batch=batch[name]),
        dict(map(_pair, args.python)).get(name, sys.executable),
        name in args.keep.split(','),
      )
      for name in names
    }
    rounds = []
    for n in range(args.rounds):
      rounds.append({})
      for name, worker in workers.items():
        if worker.failure:
          continue
        count = args.inputs if name == 'ours' else args.others
        inputs = [(n * count + k) % args.inputs for k in range(count)]
        rounds[-1][name] = worker.draw(inputs, seed=n + 1)
        print(f'round {n + 1} {name}: {said(rounds[-1][name])}', flush=True)
    show(job, workers, rounds)
    if args.json:
      found = {
        'settings': {k: str(v) for k, v in vars(args).items()},
        'versions': {n: w.versions for n, w in workers.items()},
        'failures': {n: w.failure for n, w in workers.items() if w.failure},
        'rounds': rounds,
      }
      args.json.write_text(json.dumps(found, indent=1) + '\n')


class Worker:
  """One sampler, alive in a process of its own."""

  def __init__(self, name: str, job: jobs.Job, python: str, keep: bool):
    self.batch = job.batch
    self.versions, self.failure = {}, ''
    folder = pathlib.Path(job.folder)
    (folder / f'{name}.json').write_text(json.dumps(dataclasses.asdict(job)))
    self._log = folder / f'{name}.log'
    script = ROOT / 'benchmarks' / 'samplers.py'
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
      self.versions = ready['ready']
      print(f'{name}: {self.versions}', flush=True)

  def draw(self, inputs: list[int], *, seed: int) -> dict | None:
    asked = json.dumps({'inputs': inputs, 'seed': seed})
    self._process.stdin.write(asked + '\n')
    self._process.stdin.flush()
    return self._answer()

  def _answer(self) -> dict | None:
    line = self._process.stdout.readline()
    if line:
      return json.loads(line)
    self.failure = (self._log.read_text().splitlines() or ['it died'])[-1]
    print(f'failed: {self.failure}', flush=True)
    return None


def make_job(folder, model, length, inputs, drawn) -> jobs.Job:
  """Weights in all forms, prompts, and lengths if they are drawn."""
  rng = np.random.default_rng(0)
  inputs += SPARE
  if model == 'tiny':
    shutil.copytree(assets.HERE / 'tiny_pt', folder / 'ours')
    asked = policy_prompts(length, inputs)
  else:
    size = shapes.SIZE_100M
    checkpoints.save_model(folder / 'ours', random_parameters(size, rng), size)
    words = rng.integers(FIRST_WORD, size.vocabulary, (inputs, length - 1))
    asked = [[BOS, *row] for row in words.tolist()]
  for form in ('hf', 'gemma'):
    convert.convert(
      config.Export(
        source=str(folder / 'ours'),
        to=str(folder / form),
        format=form,
        tokenizer=str(assets.HERE / 'tiny.spm.model'),
      )
    )
  return jobs.Job(
    folder=str(folder),
    tokenizer='tiny.spm.model' if model == 'tiny' else '',
    prompts=asked,
    limits=draw_lengths(inputs) if drawn else None,
    m=M,
    max_output=MAX_OUTPUT,
    stop=EOS,
    temperature=0.7,
    top_p=0.95,
    batch=1,
    slots=M,
    spare=SPARE,
    threads=1,
  )


def policy_prompts(length: int, count: int) -> list[list[int]]:
  """What the policy reads, of exactly so many tokens: the documents of a user
  and of others that write the same kind of texts."""
  template = language.load_template('prompts/tiny/policy.txt')
  size = convert.weights.find(assets.HERE / 'tiny_pt').size
  words = language.load_tokenizer('tiny.spm.model', size)
  examples, _ = retrieve.read(config.Data(), 'test')
  examples = list(examples)
  found = []
  for n, example in enumerate(examples):
    near = [e for e in examples[n:] if e.task == example.task]
    texts = tuple(d.text for e in near for d in e.profile)
    prompt = prompts.policy(
      template,
      words,
      dataclasses.replace(example, profile=(), context=texts[: length // 8]),
      reasoning=True,
      limit=length,
    )
    if len(prompt.ids) == length:
      found.append(prompt.ids)
    if len(found) == count:
      return found
  raise ValueError(f'only {len(found)} prompts of {length} tokens')


def draw_lengths(inputs: int) -> list[list[int]]:
  """Log-normal, half of them under 64 tokens, the mean near 80."""
  rng = np.random.default_rng(1)
  lengths = rng.lognormal(np.log(64), 0.7, (inputs, M))
  lengths[-SPARE:] = 2
  return np.clip(lengths.round(), 1, MAX_OUTPUT).astype(int).tolist()


def random_parameters(size: decoder.Size, rng) -> dict:
  """Such that activations keep their scale."""

  def draw(path, shape):
    if path.endswith('scale'):
      return 0.1 * rng.standard_normal(shape, np.float32)
    fan_in = shape[-1] if path == 'embedding' else shape[-2]
    return fan_in**-0.5 * rng.standard_normal(shape, np.float32)

  leaves = formats.shapes(size)
  return formats.nested({p: draw(p, shape) for p, shape in leaves.items()})


def show(job, workers, rounds) -> None:
  """The table: medians over the rounds."""
  lengths = np.concatenate(
    [np.ravel(r['ours']['lengths']) for r in rounds if 'ours' in r] or [[0]]
  )
  print(
    f'\nprompts of {len(job.prompts[0])} tokens, {job.m} samples an input, '
    f'{job.threads} threads\ntokens a sample: mean {lengths.mean():.1f}, '
    f'percentiles 10, 50, 90, 100: '
    f'{np.percentile(lengths, [10, 50, 90, 100]).astype(int).tolist()}\n'
    f'{"":<12}{"samples/s":>10}{"tokens/s":>10}{"samples/CPU s":>15}'
    f'{"ours is":>10}'
  )
  median = {
    (name, by): statistics.median(
      rates(r[name])[by] for r in rounds if r.get(name)
    )
    for name, worker in workers.items()
    if not worker.failure
    for by in ('samples/s', 'tokens/s', 'samples/CPU s')
  }
  for name, worker in workers.items():
    label = f'{name} ({worker.batch})'
    if worker.failure:
      print(f'{label:<12} not run: {worker.failure}')
      continue
    speed = median[name, 'samples/s']
    times = median.get(('ours', 'samples/s'), 0) / speed
    print(
      f'{label:<12}{speed:>10.2f}{median[name, "tokens/s"]:>10.0f}'
      f'{median[name, "samples/CPU s"]:>15.2f}{times:>9.1f}x'
    )


def rates(answer: dict) -> dict[str, float]:
  samples = np.ravel(answer['lengths'])
  return {
    'samples/s': samples.size / answer['seconds'],
    'tokens/s': samples.sum() / answer['seconds'],
    'samples/CPU s': samples.size / answer['cpu_seconds'],
  }


def said(answer: dict | None) -> str:
  if answer is None:
    return 'failed'
  return ', '.join(f'{x:.2f} {by}' for by, x in rates(answer).items())


def _pair(text: str) -> list[str]:
  return text.split('=', 1)


if __name__ == '__main__':
  main()
