"""A model that is ready to write or to judge: weights, sizes, tokenizer.

How it writes is here, how it judges in judging.py.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from restpg_jax import assets, config, errors, types
from restpg_jax.engines import tokenizer_files
from restpg_jax.models import decoder, precision
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import budget, engine, keys, slots
from restpg_jax.text import prompts, templates
from restpg_jax.text import tokenizer as tokenizers

DTYPES = 'float32', 'bfloat16'


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
  """What decides the samples of a policy."""

  temperature: float
  top_p: float
  top_k: int
  dtype: str
  prompt: config.Prompt
  tokenizer: config.Model  # the policy's; its weights come as an input
  reasoning: bool
  seed: int
  purpose: str  # 'draw', 'test', ..: no two purposes share a random key
  iteration: int
  m: int = config.extendable()  # outputs of an input: j < m
  before: tuple[int, ...] = ()  # m of the rounds before this one
  # m of all rounds, which all draw with the same compiled shapes; 0: this m
  budget: int = config.local_field(0)

  @classmethod
  def of(cls, sample: config.Sample, **rest: Any) -> Self:
    """Those of a section of the config; `rest` are the other fields."""
    return cls(
      temperature=sample.temperature,
      top_p=sample.top_p,
      top_k=sample.top_k,
      dtype=sample.dtype,
      m=sample.m,
      **rest,
    )


@dataclasses.dataclass(frozen=True)
class LoadedModel:
  """One model, with its weights on every device."""

  model: decoder.Decoder
  params: dict
  tokenizer: tokenizers.Tokenizer
  layout: layouts.Layout
  path: str = ''  # of the weights, for messages


@dataclasses.dataclass(frozen=True)
class SampleRequest:
  """Samples j of an example that have yet to be drawn."""

  example_id: str
  prompt: Sequence[int]
  js: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Sample:
  """One of them, drawn."""

  example_id: str
  j: int
  text: str
  ended: bool
  tokens: int  # the stop token included
  logp: float  # of the tokens, under the model at temperature 1


class SampleCounts(TypedDict):
  """What progress.Shown.update counts of samples."""

  tokens: int
  busy: int
  slots: int


class FinishedSamples(NamedTuple):
  """Samples as they end; of all `slots` steps so many were `busy`."""

  samples: list[Sample]
  busy: int
  slots: int

  @property
  def counts(self) -> SampleCounts:
    """For progress.Shown.update."""
    tokens = sum(s.tokens for s in self.samples)
    return {'tokens': tokens, 'busy': self.busy, 'slots': self.slots}

  def trajectories(self) -> list[types.Trajectory]:
    return [
      types.Trajectory(
        s.example_id, s.j, s.text, s.ended, s.tokens, logp=s.logp
      )
      for s in self.samples
    ]


def load(
  checkpoint: epath.PathLike, tokenizer: str, layout, *, dtype: str = 'float32'
) -> LoadedModel:
  """From a folder of weights; `tokenizer` is a path or a bundled name.

  `dtype`, one of DTYPES, is that of the weights and of all matrix products.
  """
  found, words = tokenizer_files.find_model(checkpoint, tokenizer)
  kind = jnp.dtype(dtype)
  params = found.load(kind)  # each leaf in it at once: no second copy of all
  model = decoder.Decoder(found.size, kind, stacked=False, block=layout.block)
  params = layout.replicate(decoder.unstacked(params))
  return LoadedModel(model, params, words, layout, str(found.path))


def load_named(
  model: config.Model, layout, *, dtype: str = 'float32'
) -> LoadedModel:
  path = assets.path(model.checkpoint)
  return load(path, model.tokenizer, layout, dtype=dtype)


def load_template(name: str) -> templates.Template:
  path = assets.path(name)
  try:
    return templates.Template(path.read_text(), str(path))
  except UnicodeDecodeError as e:
    raise errors.InputError(f'{path}: not UTF-8: {e}') from e


def generate_samples(
  language: LoadedModel,
  wanted: Iterable[SampleRequest],
  *,
  inputs: int,
  prompt_length: int,
  m: int,
  max_output: int,
  stop: Sequence[int],
  temperature: float,
  top_p: float,
  top_k: int = 0,
  seed: int,
  purpose: str,
  iteration: int = 0,
) -> Iterator[FinishedSamples]:
  """Draws all that is wanted, in no order that matters.

  `inputs`, `prompt_length` and `m` are those of the whole stage, not of what
  is left of it: they fix the compiled shape, and so every bit of the result.
  """
  shape = decode_shape(
    language, m=m, prompt=prompt_length, output=max_output, inputs=inputs
  )
  programs = decode_programs(
    language.model,
    language.layout,
    shape,
    stop=tuple(stop),
    temperature=temperature,
    top_p=top_p,
    top_k=top_k,
    words=language.tokenizer.vocab_size,
  )
  asked = {}  # place in the order of the requests -> what is wanted

  def requests():
    for n, w in enumerate(wanted):
      asked[n] = w, len(w.js)
      name = dict(seed=seed, purpose=purpose, iteration=iteration)
      yield engine.DecodeRequest(
        w.prompt,
        [keys.row_key(**name, example_id=w.example_id, j=j) for j in w.js],
      )

  def sampled(drawn: engine.DecodedSample) -> Sample:
    w, left = asked.pop(drawn.request)
    if not math.isfinite(drawn.logp):
      section = purpose if purpose in ('draw', 'reason') else 'answer'
      stage = f'{purpose}{iteration}, {w.example_id}'
      raise no_numbers(language, stage, 'log-probability of a sample', section)
    if left > 1:
      asked[drawn.request] = w, left - 1
    return Sample(
      w.example_id,
      w.js[drawn.sample],
      language.tokenizer.decode(drawn.tokens),
      drawn.ended,
      len(drawn.tokens) + drawn.ended,
      drawn.logp,
    )

  for harvest in engine.decode(
    programs, language.params, requests(), shape, language.layout.copies
  ):
    yield FinishedSamples([sampled(d) for d in harvest.drawn], *harvest[1:])


def no_numbers(
  language: LoadedModel, where: str, what: str, section: str
) -> errors.InputError:
  """What to raise before a NaN is stored; `section` has the dtype's setting."""
  dtype = np.dtype(language.model.dtype).name
  remedy = 'its weights hold NaN or numbers too large: take others'
  if dtype != 'float32':
    remedy = f'set {section}.dtype=float32; if that is no help, {remedy}'
  return errors.InputError(
    f'{where}: the {what} by {language.path} in {dtype} is no number (NaN); '
    f'{remedy}. What is on disk is whole'
  )


def decode_shape(
  language: LoadedModel, *, m: int, prompt: int, output: int, inputs: int
) -> slots.DecodeShape:
  """What is drawn side by side on a device; `inputs` is all that is asked.

  Settings decide, or else the memory does (sampling/budget.py).
  """
  layout, compute = language.layout, language.layout.compute
  G = min(m, compute.samples or budget.group_of(m))
  prompt = _up(prompt)
  shape = slots.DecodeShape(compute.prompts or 1, G, m, prompt, output)
  if compute.prompts:
    return shape
  need = budget.Bytes.of(
    language.model.size,
    weights=weight_bytes(language),
    itemsize=np.dtype(language.model.dtype).itemsize,
    prompt=prompt,
  )
  most = min(compute.slots, -(-inputs // layout.copies) * G)
  return budget.fit(shape, need, memory=layout.memory, most=max(most, G))


def device_bytes(x) -> int:
  """Bytes of an array, or of its shape, on one device."""
  return math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize


def weight_bytes(language: LoadedModel) -> int:
  """On one device."""
  return sum(map(device_bytes, jax.tree.leaves(language.params)))


@functools.cache
def decode_programs(model, layout, shape, **how) -> slots.Programs:
  """Compiled once in a process, whatever stage asks for it."""
  alone = layout.shards == 1
  empty, start, advance = slots.build(model, shape, alone=alone, **how)
  return slots.Programs(
    layout.each_device(empty),
    layout.each_device(precision.exact(start, model.dtype), donate=[1]),
    layout.each_device(precision.exact(advance, model.dtype), donate=[1]),
  )


def _up(length: int, multiple: int = 32) -> int:
  return -(-length // multiple) * multiple


def indices(cfg: SamplingSettings) -> range:
  """The j of this round."""
  return range(max(cfg.before, default=0), cfg.m)


def generate_missing(
  writer: LoadedModel,
  examples: Iterable[types.Example],
  cfg: SamplingSettings,
  *,
  extent: prompts.PromptStats,
  done=(),
  full=(),
) -> Iterator[FinishedSamples]:
  """The samples (example, j) not in `done`, of examples not in `full`.

  Prompts are made when there is room for them; `extent` is that of all.
  """
  template = load_template(cfg.prompt.template)

  def wanted():
    for e in examples:
      js = [j for j in indices(cfg) if (e.id, j) not in done]
      if js and e.id not in full:
        prompt = policy_prompt(template, e, writer.tokenizer, cfg)
        yield SampleRequest(e.id, prompt.ids, js)

  return generate_samples(
    writer,
    wanted(),
    inputs=extent.count,
    prompt_length=extent.longest,
    m=cfg.budget or cfg.m,
    max_output=cfg.prompt.max_output,
    stop=(writer.tokenizer.eos,),
    temperature=cfg.temperature,
    top_p=cfg.top_p,
    top_k=cfg.top_k,
    seed=cfg.seed,
    purpose=cfg.purpose,
    iteration=cfg.iteration,
  )


def policy_prompts(examples, tokenizer, cfg) -> Iterator[prompts.EncodedPrompt]:
  """Of each example, one by one; cfg has `prompt` and `reasoning`."""
  template = load_template(cfg.prompt.template)
  return (policy_prompt(template, e, tokenizer, cfg) for e in examples)


def policy_prompt(template, example, tokenizer, cfg) -> prompts.EncodedPrompt:
  return prompts.policy(
    template,
    tokenizer,
    example,
    reasoning=cfg.reasoning,
    limit=cfg.prompt.max_input,
  )
