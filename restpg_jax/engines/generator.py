"""A model that is ready to run (weights, sizes, tokenizer), and its samples.

How a model generates is here; how it judges stands in label_scorer.py.
"""

import dataclasses
import functools
import math
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from restpg_jax import assets, config, errors, integers, types
from restpg_jax.engines import program_cache, prompting, tokenizer_files
from restpg_jax.models import decoder as decoders
from restpg_jax.models import precision
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import budget, engine, keys, slots
from restpg_jax.text import prompts
from restpg_jax.text import tokenizer as tokenizers

DTYPES = 'float32', 'bfloat16'


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
  """What decides the samples of a policy; its fields are the fingerprint."""

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
    """Takes what a section of the config has; `rest` are the other fields."""
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
  """A model with its tokenizer, and its weights on every device."""

  decoder: decoders.Decoder
  params: dict[str, Any]
  tokenizer: tokenizers.Tokenizer
  layout: layouts.Layout
  path: str = ''  # of the weights, for messages


@dataclasses.dataclass(frozen=True)
class SampleRequest:
  """A request for samples of one example."""

  example_id: str
  prompt: Sequence[int]  # token ids
  js: Sequence[int]  # the sample indices that are to be drawn


@dataclasses.dataclass(frozen=True)
class Sample:
  """A finished sample of an example."""

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
  """Samples that ended together, and how full the devices were till then."""

  samples: list[Sample]
  busy: int  # decode steps of slots that held a sample
  slots: int  # decode steps of all slots

  @property
  def counts(self) -> SampleCounts:
    """The keyword arguments of progress.Shown.update."""
    tokens = sum(sample.tokens for sample in self.samples)
    return {'tokens': tokens, 'busy': self.busy, 'slots': self.slots}

  def trajectories(self) -> list[types.Trajectory]:
    return [
      types.Trajectory(
        s.example_id, s.j, s.text, s.ended, s.tokens, logp=s.logp
      )
      for s in self.samples
    ]


def load(
  path: epath.PathLike,
  tokenizer_name: str,
  layout: layouts.Layout,
  *,
  dtype: str = 'float32',
  base: str = '',
) -> LoadedModel:
  """Loads a folder of weights; its tokenizer has a path or a bundled name.

  `base` is that of an adapter of PEFT, '' where the adapter names its own.
  `dtype`, one of DTYPES, is that of the weights and of all matrix products.
  Raises InputError where weights and tokenizer do not belong together.
  """
  checkpoint, tokenizer = tokenizer_files.find_model(
    path, tokenizer_name, base=base
  )
  weight_dtype = jnp.dtype(dtype)
  # Each leaf is cast as it is read: no second copy of all of them.
  params = checkpoint.load(weight_dtype)
  decoder = decoders.Decoder(
    checkpoint.size, weight_dtype, stacked=False, block=layout.block
  )
  params = layout.replicate(decoders.unstacked(params))
  return LoadedModel(decoder, params, tokenizer, layout, str(checkpoint.path))


def load_named(
  settings: config.Model, layout: layouts.Layout, *, dtype: str = 'float32'
) -> LoadedModel:
  """Loads the model that a setting names, by a path or a bundled name."""
  path = assets.path(settings.checkpoint)
  return load(path, settings.tokenizer, layout, dtype=dtype, base=settings.base)


def generate_samples(
  model: LoadedModel,
  requests: Iterable[SampleRequest],
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
  """Draws all samples of the requests, in no order that matters.

  `inputs`, `prompt_length` (tokens) and `m` are those of the whole stage, not
  of what is left of it: they fix the compiled shape, and so every bit of the
  result. Raises InputError at the first log-probability that is NaN.
  """
  shape = decode_shape(
    model, m=m, prompt=prompt_length, output=max_output, inputs=inputs
  )
  programs = decode_programs(
    model.decoder,
    model.layout,
    shape,
    stop=tuple(stop),
    temperature=temperature,
    top_p=top_p,
    top_k=top_k,
    vocab_size=model.tokenizer.vocab_size,
  )
  row_key = functools.partial(
    keys.row_key, seed=seed, purpose=purpose, iteration=iteration
  )
  # By the index of a request: itself, and how many of its samples are yet to
  # come. Requests are read when there is room for them; only these are held.
  pending: dict[int, tuple[SampleRequest, int]] = {}

  def decode_requests() -> Iterator[engine.DecodeRequest]:
    for n, request in enumerate(requests):
      pending[n] = request, len(request.js)
      yield engine.DecodeRequest(
        request.prompt,
        [row_key(example_id=request.example_id, j=j) for j in request.js],
      )

  def sample(decoded: engine.DecodedSample) -> Sample:
    request, left = pending.pop(decoded.request)
    if not math.isfinite(decoded.logp):
      # Whatever else is sampled ('validate', 'test', ..) is of config.answer.
      section = purpose if purpose in ('draw', 'reason') else 'answer'
      stage = f'{purpose}{iteration}, {request.example_id}'
      raise no_numbers(model, stage, 'log-probability of a sample', section)
    if left > 1:
      pending[decoded.request] = request, left - 1
    return Sample(
      request.example_id,
      request.js[decoded.sample],
      sample_text(model.tokenizer, decoded),
      decoded.ended,
      len(decoded.tokens) + decoded.ended,
      decoded.logp,
    )

  for output in engine.decode(
    programs, model.params, decode_requests(), shape, model.layout.copies
  ):
    yield FinishedSamples([sample(d) for d in output.samples], *output[1:])


def sample_text(
  tokenizer: tokenizers.Tokenizer, decoded: engine.DecodedSample
) -> str:
  """Returns a sample's text, without the half of a character at a cut end."""
  text = tokenizer.decode(decoded.tokens)
  return text if decoded.ended else text.rstrip('\ufffd')


def no_numbers(
  model: LoadedModel, where: str, quantity: str, section: str
) -> errors.InputError:
  """Returns what to raise before a NaN is stored.

  `section` is that of the config which sets the dtype of this model.
  """
  dtype = np.dtype(model.decoder.dtype).name
  remedy = 'its weights hold NaN or numbers too large: take others'
  if dtype != 'float32':
    remedy = f'set {section}.dtype=float32; if that is no help, {remedy}'
  return errors.InputError(
    f'{where}: the {quantity} by {model.path} in {dtype} is no number (NaN); '
    f'{remedy}. What is on disk is whole'
  )


def decode_shape(
  model: LoadedModel, *, m: int, prompt: int, output: int, inputs: int
) -> slots.DecodeShape:
  """Returns what is drawn side by side on a device.

  `prompt` and `output` are tokens, `inputs` the prompts of the whole stage.
  Settings decide, or else the memory does (sampling/budget.py).
  """
  layout, compute = model.layout, model.layout.compute
  G = min(m, compute.samples or budget.group_of(m))
  prompt = integers.round_up(prompt, 32)
  shape = slots.DecodeShape(compute.prompts or 1, G, m, prompt, output)
  if compute.prompts:
    return shape
  need = budget.Bytes.of(
    model.decoder.size,
    weights=weight_bytes(model),
    itemsize=np.dtype(model.decoder.dtype).itemsize,
    prompt=prompt,
  )
  # No more slots than the inputs of a device could ever fill.
  max_slots = min(compute.slots, integers.cdiv(inputs, layout.run_copies) * G)
  return budget.fit(
    shape, need, memory=layout.memory, max_slots=max(max_slots, G)
  )


def device_bytes(x: jax.Array) -> int:
  """Returns the bytes of an array, or of its shape, on one device."""
  return math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize


def weight_bytes(model: LoadedModel) -> int:
  """Returns the bytes of a model's weights on one device."""
  return sum(map(device_bytes, jax.tree.leaves(model.params)))


@program_cache.compiled_once
def decode_programs(
  decoder: decoders.Decoder,
  layout: layouts.Layout,
  shape: slots.DecodeShape,
  *,
  stop: tuple[int, ...],
  temperature: float,
  top_p: float,
  top_k: int,
  vocab_size: int,
) -> slots.Programs:
  """Builds the programs that sample, one call of which drives all devices."""
  program = slots.DecodeProgram(
    decoder,
    shape,
    stop=stop,
    temperature=temperature,
    top_p=top_p,
    top_k=top_k,
    vocab_size=vocab_size,
    alone=layout.shards == 1,
  )
  prefill, decode_chunk = (
    precision.exact(function, decoder.dtype)
    for function in (program.prefill, program.decode_chunk)
  )
  return slots.Programs(
    layout.each_device(program.empty_state),
    layout.each_device(prefill, donate=[1]),
    layout.each_device(decode_chunk, donate=[1]),
  )


def indices(settings: SamplingSettings) -> range:
  """Returns the sample indices j of this round."""
  return range(max(settings.before, default=0), settings.m)


def generate_missing(
  model: LoadedModel,
  examples: Iterable[types.Example],
  settings: SamplingSettings,
  *,
  stats: prompts.PromptStats,
  done: Container[tuple[str, int]] = (),
  full: Container[str] = (),
) -> Iterator[FinishedSamples]:
  """Draws the samples (example, j) not in `done`, of examples not in `full`.

  Prompts are made when there is room for them; `stats` is that of the prompts
  of all examples, so that a stage that goes on compiles the same shape.
  """
  template = prompting.load_template(settings.prompt.template)

  def requests() -> Iterator[SampleRequest]:
    for e in examples:
      js = [j for j in indices(settings) if (e.id, j) not in done]
      if js and e.id not in full:
        prompt = prompting.policy_prompt(template, e, model.tokenizer, settings)
        yield SampleRequest(e.id, prompt.ids, js)

  return generate_samples(
    model,
    requests(),
    inputs=stats.count,
    prompt_length=stats.longest,
    m=settings.budget or settings.m,
    max_output=settings.prompt.max_output,
    stop=(model.tokenizer.eos,),
    temperature=settings.temperature,
    top_p=settings.top_p,
    top_k=settings.top_k,
    seed=settings.seed,
    purpose=settings.purpose,
    iteration=settings.iteration,
  )
