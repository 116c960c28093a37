"""Drawing 32 samples an input: ours and three others on the same work.

  python benchmarks/sampling.py [--model=tiny] [--length=512] [--json=FILE]

tiny  the bundled model writes as it likes: prompts are those of its policy
      template with more documents, and a sample ends at <eos>
      (--lengths=drawn: as for 100m)
100m  random weights, 12 layers of width 768, 32,000 words; random prompts. The
      length of each sample is drawn in advance and forced on all

Others are DeepMind's gm.text.Sampler, transformers' generate and Tunix's
sampler, all with the same weights in their own form, in float32, on the same
CPU cores. Each sampler is a process of its own, started and
compiled before the clock runs; in each round one after the other draws, never
two at a time. Ours gets all inputs of a round at once, the others, which read
them one after the other anyway, each round other ones of them. What stands
behind a sampler's name is how many inputs it has side by side: --batch
changes it, and which number is best for a sampler has to be tried.

--keep=ours,hf: these keep memory that they freed (restpg_jax/malloc.py), as the
framework's command does and others do not.

Needs the extra [bench]. A package that wants other versions than these can
have its own environment: --python=tunix=OTHER/bin/python.
"""

import dataclasses
import pathlib
import statistics
import tempfile

import common.as_command  # noqa: F401
import numpy as np
from common import flags, models, sampling_engines, timing, worker
from common.sampling_job import Job

from restpg_jax import config
from restpg_jax.engines import prompting, tokenizer_files
from restpg_jax.stages import retrieve
from restpg_jax.text import prompts

MODELS = ('tiny', '100m')
LENGTHS = (512, 1024)
M, MAX_OUTPUT = 32, 256
BATCH = {'ours': 8, 'gm': 1, 'hf': 1, 'tunix': 1}
SPARE = 8  # inputs to compile with: at least the largest batch


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--model', choices=MODELS, default='tiny')
  parser.add_argument('--length', type=int, choices=LENGTHS, default=512)
  parser.add_argument('--lengths', choices=('natural', 'drawn'), help='of tiny')
  parser.add_argument('--samplers', default=','.join(sampling_engines.ENGINES))
  parser.add_argument('--inputs', type=int, default=16, help='of ours a round')
  parser.add_argument('--others', type=int, default=2, help='.. of the others')
  parser.add_argument('--batch', action='append', default=[], help='hf=2')
  parser.add_argument('--slots', type=int, default=8, help='of an input; ours')
  flags.add_engines(parser)
  args = parser.parse_args()
  batch = BATCH | {k: int(v) for k, v in flags.pairs(args.batch).items()}
  with tempfile.TemporaryDirectory() as folder:
    job = job_of(pathlib.Path(folder), args)
    jobs = {
      name: dataclasses.replace(job, batch=batch[name])
      for name in args.samplers.split(',')
    }
    workers = worker.start('common.sampling_engines', jobs, args)
    rounds = [draw_all(workers, n, args) for n in range(args.rounds)]
    show(job, workers, rounds)
    worker.report(args, workers, rounds=rounds)


def draw_all(workers, n: int, args) -> dict[str, dict]:
  """Returns answers of round n, in which one sampler after the other draws."""
  answers = {}
  for name, sampler in workers.items():
    count = args.inputs if name == 'ours' else args.others
    inputs = [(n * count + k) % args.inputs for k in range(count)]
    answer = sampler.ask(inputs=inputs, seed=n + 1)
    if answer:
      answers[name] = answer
      shown = ', '.join(f'{x:.2f} {by}' for by, x in rates(answer).items())
      print(f'round {n + 1} {name}: {shown}', flush=True)
  return answers


def job_of(folder: pathlib.Path, args) -> Job:
  """Writes weights in all forms; returns prompts, and lengths if drawn."""
  rng = np.random.default_rng(0)
  size = models.write_all(folder, args.model, rng)
  inputs = args.inputs + SPARE
  if args.model == 'tiny':
    rows = policy_prompts(size, args.length, inputs)
  else:
    shape = inputs, args.length - 1
    tokens = rng.integers(models.FIRST_WORD, size.vocabulary, shape)
    rows = [[models.BOS, *row] for row in tokens.tolist()]
  drawn = args.model == '100m' or args.lengths == 'drawn'
  return Job(
    folder=str(folder),
    tokenizer=models.TOKENIZER if args.model == 'tiny' else '',
    prompts=rows,
    limits=draw_lengths(inputs) if drawn else None,
    m=M,
    max_output=MAX_OUTPUT,
    stop=models.EOS,
    temperature=0.7,
    top_p=0.95,
    batch=1,
    slots=args.slots,
    spare=SPARE,
    threads=args.threads,
  )


def policy_prompts(size, length: int, count: int) -> list[list[int]]:
  """Returns what the policy reads, of exactly `length` tokens each.

  They hold the documents of a user and of others who write such texts.
  """
  template = prompting.load_template('prompts/tiny/policy.txt')
  tokenizer = tokenizer_files.load_tokenizer(models.TOKENIZER, size)
  examples = list(retrieve.load_examples(config.Data(), 'test')[0])
  rows = []
  for n, example in enumerate(examples):
    near = [e for e in examples[n:] if e.task == example.task]
    texts = tuple(d.text for e in near for d in e.profile)
    prompt = prompts.policy(
      template,
      tokenizer,
      dataclasses.replace(example, profile=(), context=texts[: length // 8]),
      reasoning=True,
      limit=length,
    )
    if len(prompt.ids) == length:
      rows.append(prompt.ids)
    if len(rows) == count:
      return rows
  raise ValueError(f'only {len(rows)} prompts of {length} tokens')


def draw_lengths(inputs: int) -> list[list[int]]:
  """Draws log-normal lengths, half under 64 tokens, the mean near 80."""
  rng = np.random.default_rng(1)
  lengths = rng.lognormal(np.log(64), 0.7, (inputs, M))
  lengths[-SPARE:] = 2
  return np.clip(lengths.round(), 1, MAX_OUTPUT).astype(int).tolist()


def show(job, workers, rounds) -> None:
  """Prints the table: medians over the rounds."""
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
  of_rounds = {
    name: [rates(answers[name]) for answers in rounds]
    for name, sampler in workers.items()
    if not sampler.failure
  }
  columns = {
    name: {by: [each[by] for each in of_round] for by in of_round[0]}
    for name, of_round in of_rounds.items()
  }
  for name, sampler in workers.items():
    label = f'{name} ({sampler.job.batch})'
    if sampler.failure:
      print(f'{label:<12} not run: {sampler.failure}')
      continue
    speed, tokens, busy = map(statistics.median, columns[name].values())
    ours = columns.get('ours', columns[name])
    times = timing.ratio(ours['samples/s'], columns[name]['samples/s'])
    print(
      f'{label:<12}{speed:>10.2f}{tokens:>10.0f}{busy:>15.2f}{times:>9.1f}x'
    )


def rates(answer: dict) -> dict[str, float]:
  samples = np.ravel(answer['lengths'])
  return {
    'samples/s': samples.size / answer['seconds'],
    'tokens/s': samples.sum() / answer['seconds'],
    'samples/CPU s': samples.size / answer['cpu_seconds'],
  }


if __name__ == '__main__':
  main()
