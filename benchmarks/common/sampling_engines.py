"""Four samplers for the same job, each in a process of its own.

  PYTHON -m common.sampling_engines NAME JOB.json

NAME is one of ENGINES. A request (worker.py), {"inputs": [0, 1], "seed": 7}, is
answered with {.., "lengths": [[..], ..]}: the m samples of these inputs, drawn
anew, and how many tokens each had, the stop token included. Weights, prompts
and limits come from the job.

Where the job has `limits`, sample j of input n is to end after limits[n][j]
tokens and no earlier. A sampler that cannot end its samples one by one runs to
the longest of a batch, for which it would wait anyway, and no stop token ends
it; the tokens behind a limit are not counted.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable

import common.as_command  # noqa: F401  before all that imports NumPy
from common import sampling_peers, worker
from common.sampling_job import Job


class IdTokenizer:
  """A tokenizer whose texts are ids: '7 8 9' <-> 7 8 9."""

  def __init__(self, job: Job, vocabulary: int):
    self.eos, self.vocab_size = job.stop, vocabulary

  def encode(self, text: str) -> list[int]:
    return [int(word) for word in text.split()]

  def decode(self, ids: Iterable[int]) -> str:
    return ' '.join(map(str, ids))


def ours(job: Job) -> tuple[Callable, tuple[str, ...]]:
  """Draws with engines/generator.py; forced lengths by sampling/engine.py."""
  from restpg_jax import config
  from restpg_jax.engines import generator
  from restpg_jax.parallel import layout as layouts
  from restpg_jax.sampling import engine, keys

  devices = min(job.threads, job.batch)  # a core each
  compute = config.Compute(
    prompts=job.batch // devices, samples=job.slots, cpu_devices=devices
  )
  layout = layouts.Layout.of(compute)
  folder = pathlib.Path(job.folder) / 'ours'
  model = generator.load(folder, job.tokenizer or 'tiny.spm.model', layout)
  if not job.tokenizer:
    tokenizer = IdTokenizer(job, model.decoder.size.vocabulary)
    model = dataclasses.replace(model, tokenizer=tokenizer)
  length = max(map(len, job.prompts))

  def natural(inputs: list[int], seed: int) -> list[list[int]]:
    tokens = {}
    for finished in generator.generate_samples(
      model,
      (
        generator.SampleRequest(str(n), job.prompts[n], range(job.m))
        for n in inputs
      ),
      inputs=len(job.prompts),
      prompt_length=length,
      m=job.m,
      max_output=job.max_output,
      stop=[job.stop],
      seed=seed,
      purpose='draw',
      temperature=job.temperature,
      top_p=job.top_p,
    ):
      tokens |= {(int(s.example_id), s.j): s.tokens for s in finished.samples}
    return [[tokens[n, j] for j in range(job.m)] for n in inputs]

  def forced(inputs: list[int], seed: int) -> list[list[int]]:
    limits = job.limits or []
    shape = generator.decode_shape(
      model,
      m=job.m,
      prompt=length,
      output=job.max_output,
      inputs=len(job.prompts),
    )
    vocab_size = model.tokenizer.vocab_size
    programs = generator.decode_programs(
      model.decoder,
      layout,
      shape,
      stop=(vocab_size,),  # never drawn: the limits end a sample
      temperature=job.temperature,
      top_p=job.top_p,
      top_k=0,
      vocab_size=vocab_size,
    )
    requests = (
      engine.DecodeRequest(
        job.prompts[n],
        [
          keys.row_key(
            seed=seed, purpose='draw', iteration=0, example_id=str(n), j=j
          )
          for j in range(job.m)
        ],
        limits[n],
      )
      for n in inputs
    )
    lengths = {}
    for output in engine.decode(
      programs, model.params, requests, shape, layout.copies
    ):
      lengths |= {(d.request, d.sample): len(d.tokens) for d in output.samples}
    return [[lengths[n, j] for j in range(job.m)] for n in range(len(inputs))]

  return (natural if job.limits is None else forced), ('restpg_jax', 'jax')


ENGINES = {
  'ours': ours,
  'gm': sampling_peers.gm,
  'hf': sampling_peers.hf,
  'tunix': sampling_peers.tunix,
}


def warm(draw: Callable, job: Job) -> dict:
  """Compiles with the spare inputs, which no round draws."""
  last = len(job.prompts)
  draw(list(range(last - job.spare, last))[: job.batch], 0)
  return {}


if __name__ == '__main__':
  worker.serve(ENGINES, Job, result='lengths', warm=warm)
