"""Four samplers for the same job, each in a process of its own.

  PYTHON benchmarks/samplers.py NAME JOB.json

NAME is one of ENGINES. Reads lines from standard input, {"inputs": [0, 1],
"seed": 7}, and answers each with a line, {"seconds": .., "cpu_seconds": ..,
"lengths": [[..], ..]}: the m samples of these inputs, drawn anew, and how many
tokens each had, the stop token included. A first line, {"ready": ..}, says that
all is compiled; it names the packages. Weights, prompts and limits come from
the job, see Job.

Where the job has `limits`, sample j of input n is to end after limits[n][j]
tokens and no earlier. A sampler that cannot end its samples one by one runs to
the longest of a batch, for which it would wait anyway, and no stop token ends
it; the tokens behind a limit are not counted.
"""

import dataclasses
import json
import os
import pathlib
import sys
import time
from importlib import metadata

import numpy as np


@dataclasses.dataclass(frozen=True)
class Job:
  """What is to be drawn."""

  folder: str  # holds the weights: ours/, hf/, gemma/
  tokenizer: str  # a SentencePiece file; empty: ids are words
  prompts: list[list[int]]
  limits: list[list[int]] | None  # tokens of each sample; None: natural
  m: int  # samples an input
  max_output: int  # tokens
  stop: int
  temperature: float
  top_p: float
  batch: int  # inputs side by side
  slots: int  # samples of an input side by side, of ours; others take all m
  spare: int  # the last inputs are short ones, to compile with
  threads: int

  def limit(self, inputs: list[int]) -> int:
    """The longest sample of these inputs may have so many tokens."""
    if self.limits is None:
      return self.max_output
    return max(max(self.limits[n]) for n in inputs)

  def lengths(self, inputs: list[int], tokens) -> list[list[int]]:
    """tokens [samples of all inputs, T] -> their number in each sample."""
    if self.limits is not None:
      return [self.limits[n] for n in inputs]
    ended = np.asarray(tokens) == self.stop
    counts = np.where(
      ended.any(axis=1), ended.argmax(axis=1) + 1, self.max_output
    )
    return counts.reshape(len(inputs), self.m).tolist()


class Words:
  """A tokenizer whose texts are ids: '7 8 9' <-> 7 8 9."""

  def __init__(self, job: Job, vocabulary: int):
    self.eos, self.vocab_size = job.stop, vocabulary

  def encode(self, text: str) -> list[int]:
    return [int(word) for word in text.split()]

  def decode(self, ids) -> str:
    return ' '.join(map(str, ids))


def ours(job: Job):
  """restpg_jax.stages.language.sample; forced lengths go to its engine."""
  from restpg_jax import config
  from restpg_jax.parallel import layout as layouts
  from restpg_jax.sampling import engine, keys
  from restpg_jax.stages import language

  devices = min(job.threads, job.batch)  # a core each
  compute = config.Compute(
    prompts=job.batch // devices, samples=job.slots, cpu_devices=devices
  )
  layout = layouts.Layout.of(compute)
  folder = pathlib.Path(job.folder) / 'ours'
  model = language.load(folder, job.tokenizer or 'tiny.spm.model', layout)
  if not job.tokenizer:
    words = Words(job, model.model.size.vocabulary)
    model = dataclasses.replace(model, tokenizer=words)
  length = max(map(len, job.prompts))
  how = {'temperature': job.temperature, 'top_p': job.top_p}

  def natural(inputs, seed):
    found = {}
    for harvest in language.sample(
      model,
      (language.Wanted(str(n), job.prompts[n], range(job.m)) for n in inputs),
      inputs=len(job.prompts),
      prompt_length=length,
      m=job.m,
      max_output=job.max_output,
      stop=[job.stop],
      seed=seed,
      purpose='draw',
      **how,
    ):
      found |= {(int(s.example_id), s.j): s.tokens for s in harvest.samples}
    return [[found[n, j] for j in range(job.m)] for n in inputs]

  def forced(inputs, seed):
    shape = language.shape_of(
      model,
      m=job.m,
      prompt=length,
      output=job.max_output,
      inputs=len(job.prompts),
    )
    words = model.tokenizer.vocab_size
    programs = language.draw_programs(
      model.model, layout, shape, stop=(words,), top_k=0, words=words, **how
    )
    name = {'seed': seed, 'purpose': 'draw', 'iteration': 0}
    requests = (
      engine.Request(
        job.prompts[n],
        [keys.row_key(**name, example_id=str(n), j=j) for j in range(job.m)],
        job.limits[n],
      )
      for n in inputs
    )
    found = {}
    for harvest in engine.run(
      programs, model.params, requests, shape, layout.copies
    ):
      found |= {(d.request, d.sample): len(d.tokens) for d in harvest.drawn}
    return [[found[n, j] for j in range(job.m)] for n in range(len(inputs))]

  return (natural if job.limits is None else forced), ('restpg_jax', 'jax')


def gm(job: Job):
  """gm.text.Sampler of DeepMind's gemma package."""
  from kauldron import checkpoints

  # gemma 3.3.0 knows this class by the name it had before kauldron 1.4.
  if not hasattr(checkpoints, 'AbstractPartialLoader'):
    checkpoints.AbstractPartialLoader = checkpoints.InitTransform
  from gemma import gm as package

  class Special(package.text.SpecialTokens):
    PAD = 0
    EOS = job.stop
    BOS = 2
    END_OF_TURN = job.stop

  class Ids(package.text.Tokenizer):
    """The prompt's own ids, so that all samplers read the same."""

    special_tokens = Special

    def encode(self, text, *, add_bos=False, add_eos=False):
      return [int(word) for word in text.split()]

    def decode(self, ids):
      return ''

  size = _size(job)
  kinds = package.nn.config.AttentionType
  model = package.nn.Transformer(
    config=package.nn.config.TransformerConfig(
      num_embed=size['vocabulary'],
      embed_dim=size['width'],
      hidden_dim=size['hidden'],
      num_heads=size['heads'],
      head_dim=size['head_size'],
      num_kv_heads=size['kv_heads'],
      final_logit_softcap=None,
      use_post_attn_norm=False,
      use_post_ffw_norm=False,
      attention_types=(kinds.GLOBAL,) * size['layers'],
    ),
    dtype=np.float32,
  )
  length = max(map(len, job.prompts))
  sampler = package.text.Sampler(
    model=model,
    params=package.ckpts.load_params(pathlib.Path(job.folder) / 'gemma'),
    tokenizer=Ids(path=''),
    sampling=package.text.TopPSampling(
      p=job.top_p, temperature=job.temperature
    ),
    forbidden_tokens=None if job.limits is None else (job.stop,),
    cache_length=length + job.max_output,
    max_out_length=job.max_output,
    pad_length=length,
  )

  def some(inputs, seed):
    texts = [_text(job.prompts[n]) for n in inputs for _ in range(job.m)]
    out = sampler.sample(
      texts, max_new_tokens=job.limit(inputs), rng=seed, return_state=True
    )
    return job.lengths(inputs, out.state.predicted_tokens)

  return _batched(some, job), ('gemma', 'jax')


def hf(job: Job):
  """transformers' generate."""
  import torch
  import transformers

  torch.set_num_threads(job.threads)
  model = transformers.AutoModelForCausalLM.from_pretrained(
    pathlib.Path(job.folder) / 'hf', dtype=torch.float32
  )

  class Lengths(transformers.StoppingCriteria):
    def __init__(self, ends):
      self._ends = torch.tensor(ends)

    def __call__(self, input_ids, scores, **kwargs):
      return input_ids.shape[1] >= self._ends

  def some(inputs, seed):
    torch.manual_seed(seed)
    ids = torch.tensor([job.prompts[n] for n in inputs])
    how = {'eos_token_id': job.stop}
    if job.limits is not None:
      ends = [ids.shape[1] + k for n in inputs for k in job.limits[n]]
      how['stopping_criteria'] = [Lengths(ends)]
      how['suppress_tokens'] = [job.stop]
    out = model.generate(
      ids,
      attention_mask=torch.ones_like(ids),
      num_return_sequences=job.m,
      do_sample=True,
      temperature=job.temperature,
      top_p=job.top_p,
      top_k=0,
      max_new_tokens=job.max_output,
      pad_token_id=0,
      **how,
    )
    return job.lengths(inputs, out[:, ids.shape[1] :].numpy())

  return _batched(some, job), ('transformers', 'torch')


def tunix(job: Job):
  """Tunix's sampler on its own Gemma."""
  import jax.numpy as jnp
  from flax import nnx
  from tunix.generate import sampler as samplers
  from tunix.models.gemma import model as gemma
  from tunix.models.gemma import params

  class Ids:
    def encode(self, text):
      return [int(word) for word in text.split()]

    def decode(self, ids):
      return ''

    def bos_id(self):
      return 2

    def eos_id(self):
      return job.stop

    def pad_id(self):
      return 0

  size = _size(job)
  config = gemma.ModelConfig(
    num_layers=size['layers'],
    num_embed=size['vocabulary'],
    embed_dim=size['width'],
    hidden_dim=size['hidden'],
    num_heads=size['heads'],
    head_dim=size['head_size'],
    num_kv_heads=size['kv_heads'],
    final_logit_softcap=None,
    attention_types=(gemma.AttentionType.GLOBAL,) * size['layers'],
    use_post_attn_norm=False,
    use_post_ffw_norm=False,
  )
  folder = os.path.abspath(pathlib.Path(job.folder) / 'gemma')
  loaded = params.load_and_format_params(folder)['transformer']
  model = gemma.module_from_linen_variables(
    module_factory=lambda: gemma.Gemma(config, rngs=nnx.Rngs(params=0)),
    variables=loaded,
    map_key_fn=gemma._map_linen_var_names,
    assign_val_fn=gemma._assign_linen_params_to_nnx_state,
  )
  length = max(map(len, job.prompts))

  class Sampler(samplers.Sampler):
    """Ends after `steps` tokens, in arrays for max_output of them."""

    steps = job.max_output

    def init_sample_state(self, *args, **kwargs):
      state = super().init_sample_state(*args, **kwargs)
      steps = jnp.asarray(length + self.steps - 1)
      return dataclasses.replace(state, total_sampling_steps=steps)

  sampler = Sampler(
    model,
    Ids(),
    samplers.CacheConfig(
      cache_size=length + job.max_output,
      num_layers=size['layers'],
      num_kv_heads=size['kv_heads'],
      head_dim=size['head_size'],
    ),
  )

  def some(inputs, seed):
    sampler.steps = job.limit(inputs)
    out = sampler(
      [_text(job.prompts[n]) for n in inputs for _ in range(job.m)],
      max_generation_steps=job.max_output,
      max_prompt_length=length,
      temperature=job.temperature,
      top_p=job.top_p,
      seed=seed,
      eos_tokens=[job.stop if job.limits is None else size['vocabulary']],
    )
    if job.limits is not None:
      return [job.limits[n] for n in inputs]
    counts = [min(len(t) + 1, job.max_output) for t in out.tokens]
    return np.reshape(counts, (len(inputs), job.m)).tolist()

  return _batched(some, job), ('google-tunix', 'jax')


def _batched(some, job: Job):
  def draw(inputs, seed):
    return [
      row
      for start in range(0, len(inputs), job.batch)
      for row in some(inputs[start : start + job.batch], seed + start)
    ]

  return draw


def _size(job: Job) -> dict:
  path = pathlib.Path(job.folder) / 'ours' / 'model.json'
  return json.loads(path.read_text())['size']


def _text(ids) -> str:
  return ' '.join(map(str, ids))


ENGINES = {'ours': ours, 'gm': gm, 'hf': hf, 'tunix': tunix}


def main(name: str, path: str) -> None:
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # what the packages print is no answer
  job = Job(**json.loads(pathlib.Path(path).read_text()))
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
  draw, packages = ENGINES[name](job)
  last = len(job.prompts)
  draw(list(range(last - job.spare, last))[: job.batch], 0)
  versions = {package: metadata.version(package) for package in packages}
  print(json.dumps({'ready': versions}), file=answers, flush=True)
  for line in sys.stdin:
    asked = json.loads(line)
    began, busy = time.monotonic(), time.process_time()
    lengths = draw(asked['inputs'], asked['seed'])
    answer = {
      'seconds': time.monotonic() - began,
      'cpu_seconds': time.process_time() - busy,
      'lengths': lengths,
    }
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
