"""Draws with the samplers of others: DeepMind's, Hugging Face's and Tunix's.

Each is a function of a job that imports its package and returns draw(inputs,
seed) -> tokens of each sample, and the packages that count.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from common import gemma
from common.sampling_job import Job


def gm(job: Job):
  """Draws with gm.text.Sampler of DeepMind's gemma package."""
  from kauldron import checkpoints

  # gemma 3.3.0 knows this class by the name it had before kauldron 1.4.
  if not hasattr(checkpoints, 'AbstractPartialLoader'):
    checkpoints.AbstractPartialLoader = checkpoints.InitTransform  # pyright: ignore
  from gemma import gm as package

  class Special(package.text.SpecialTokens):
    PAD = 0
    EOS = job.stop
    BOS = 2
    END_OF_TURN = job.stop

  class Ids(package.text.Tokenizer):
    """The prompt's own ids, so that all samplers read the same."""

    special_tokens = Special  # pyright: ignore

    def encode(self, text, *, add_bos=False, add_eos=False):
      return [int(word) for word in text.split()]  # pyright: ignore

    def decode(self, ids):
      return ''

  size = gemma.size_of(job.folder)
  attention = package.nn.config.AttentionType
  model = package.nn.Transformer(
    config=package.nn.config.TransformerConfig(
      **gemma.config(size),
      attention_types=(attention.GLOBAL,) * size['layers'],
    ),
    dtype=np.float32,  # pyright: ignore
  )
  length = max(map(len, job.prompts))
  sampler = package.text.Sampler(
    model=model,  # pyright: ignore
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

  def draw_batch(inputs, seed):
    texts = [_text(job.prompts[n]) for n in inputs for _ in range(job.m)]
    out = sampler.sample(
      texts, max_new_tokens=job.limit(inputs), rng=seed, return_state=True
    )
    # Where lengths are forced nothing else would wait for them.
    tokens = np.asarray(out.state.predicted_tokens)
    return job.lengths(inputs, tokens)

  return _batched(draw_batch, job), ('gemma', 'jax')


def hf(job: Job):
  """Draws with transformers' generate."""
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

  def draw_batch(inputs, seed):
    torch.manual_seed(seed)
    ids = torch.tensor([job.prompts[n] for n in inputs])
    options: dict[str, Any] = {'eos_token_id': job.stop}
    if job.limits is not None:
      ends = [ids.shape[1] + k for n in inputs for k in job.limits[n]]
      options['stopping_criteria'] = [Lengths(ends)]
      options['suppress_tokens'] = [job.stop]
    out = model.generate(  # pyright: ignore
      ids,
      attention_mask=torch.ones_like(ids),
      num_return_sequences=job.m,
      do_sample=True,
      temperature=job.temperature,
      top_p=job.top_p,
      top_k=0,
      max_new_tokens=job.max_output,
      pad_token_id=0,
      **options,
    )
    return job.lengths(inputs, out[:, ids.shape[1] :].numpy())

  return _batched(draw_batch, job), ('transformers', 'torch')


def tunix(job: Job):
  """Draws with Tunix's sampler on its own Gemma."""
  import jax.numpy as jnp
  from tunix.generate import sampler as samplers  # pyright: ignore

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

  size, model = gemma.size_of(job.folder), gemma.tunix(job.folder)
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

  def draw_batch(inputs, seed):
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

  return _batched(draw_batch, job), ('google-tunix', 'jax')


def _batched(draw_batch, job: Job):
  def draw(inputs, seed):
    return [
      row
      for start in range(0, len(inputs), job.batch)
      for row in draw_batch(inputs[start : start + job.batch], seed + start)
    ]

  return draw


def _text(ids) -> str:
  return ' '.join(map(str, ids))
