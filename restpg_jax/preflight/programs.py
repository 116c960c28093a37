"""The programs that a run compiles, in their largest shapes, without a weight.

Each is the one that its stage makes, at the most tokens that the settings
allow; the run also compiles it for shorter prompts, which need less.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax import config
from restpg_jax.engines import (
  embedder,
  generator,
  label_scorer,
  model_size,
  trainer,
)
from restpg_jax.models import bert, decoder, precision, splash
from restpg_jax.parallel import rules
from restpg_jax.preflight import cost
from restpg_jax.rewards import judge
from restpg_jax.sampling import candidates, slots
from restpg_jax.stages import measure
from restpg_jax.training import batches, lora, packing
from restpg_jax.training import step as steps

# A tokenizer of Gemma's kind: a token a digit. Which ids they are is all one.
DIGITS = range(3, 13)


@dataclasses.dataclass(frozen=True)
class Program:
  """One to compile."""

  name: str
  shape: str  # in words
  lower: Callable[[], jax.stages.Lowered]
  held: int  # bytes of weights, or of a state, on a device
  work: cost.ProgramCost
  passes: int = 1  # of the fastest products, see models/precision.py


@dataclasses.dataclass(frozen=True)
class SplitSizes:
  """Examples of each split."""

  train: int
  val: int
  test: int


@dataclasses.dataclass(frozen=True)
class DrawWorkload:
  """What is drawn by one set of programs."""

  name: str
  size: decoder.Size
  how: config.Sample
  prompt: int  # tokens, at most
  output: int
  inputs: int
  stop: tuple[int, ...]


def reason_workload(cfg: config.Config, inputs: SplitSizes) -> DrawWorkload:
  """The larger model that explains the gold outputs."""
  how = cfg.reason
  return DrawWorkload(
    'reason',
    model_size.model_size(how.model.checkpoint),
    config.Sample(1, how.temperature, how.top_p, dtype=how.dtype),
    prompt=how.max_input,
    output=how.max_output,
    inputs=inputs.train,
    stop=(0, 1),  # end of turn, end of text
  )


def draw_workload(cfg: config.Config, inputs: SplitSizes) -> DrawWorkload:
  """The E-step's outputs."""
  return _policy('draw', cfg, cfg.draw, inputs.train)


def answer_workload(cfg: config.Config, inputs: SplitSizes) -> DrawWorkload:
  """Of the validation or of the test set, whichever is larger."""
  return _policy('answer', cfg, cfg.answer, max(inputs.val, inputs.test))


def _policy(name, cfg, how, inputs) -> DrawWorkload:
  return DrawWorkload(
    name,
    model_size.model_size(cfg.policy.checkpoint),
    how,
    prompt=cfg.prompt.max_input,
    output=cfg.prompt.max_output,
    inputs=inputs,
    stop=(1,),
  )


def workload_shape(
  drawing: DrawWorkload, model: generator.LoadedModel
) -> slots.DecodeShape:
  """What a device draws side by side."""
  return generator.decode_shape(
    model,
    m=drawing.how.m,
    prompt=drawing.prompt,
    output=drawing.output,
    inputs=drawing.inputs,
  )


def draw_programs(drawing: DrawWorkload, layout) -> list[Program]:
  """`start` reads a prompt, `advance` makes a chunk of tokens in all slots."""
  name, size, how = drawing.name, drawing.size, drawing.how
  model = abstract_model(size, layout, how.dtype)
  shape = workload_shape(drawing, model)
  made = generator.decode_programs(
    model.decoder,
    layout,
    shape,
    stop=drawing.stop,
    temperature=how.temperature,
    top_p=how.top_p,
    top_k=how.top_k,
    vocab_size=size.vocabulary,
  )
  state = jax.tree.map(
    lambda x: layout.for_each(*x.shape[1:], dtype=x.dtype),
    jax.eval_shape(made.empty, model.params),
  )
  S, M = shape.prompt_length, shape.samples
  one = layout.for_each
  request = one(), one(S), one(), one(M, 2, dtype=np.uint32), one(M), one()
  side = f'{shape.steps} tokens in {shape.groups} x {shape.slots} slots'
  passes = precision.passes(layout.platform, how.dtype)
  return [
    Program(
      f'{name}/start',
      f'a prompt of {S}',
      lambda: made.start.lower(model.params, state, *request),
      tree_device_bytes(model.params),
      cost.prefill_cost(size, shape, how.dtype),
      passes,
    ),
    Program(
      f'{name}/advance',
      f'{side}, {S} + {shape.output_length}',
      lambda: made.advance.lower(model.params, state),
      tree_device_bytes(model.params),
      cost.decode_cost(size, shape, how.dtype),
      passes,
    ),
  ]


def judge_programs(cfg: config.Config, layout) -> list[Program]:
  """That of the E-step, and of validation."""
  return [_judge('judge', cfg, cfg.reward.dtype, layout)]


def of_test_judge(cfg: config.Config, layout) -> list[Program]:
  """That of the test set, in its own precision."""
  shared = layout.context_parallel_copies(cfg.evaluate.shards or layout.shards)
  return [_judge('test_judge', cfg, measure.reward_of(cfg).dtype, shared)]


def _judge(name: str, cfg: config.Config, dtype: str, layout) -> Program:
  """Reads answers as long as they may be."""
  size = model_size.model_size(cfg.reward.model.checkpoint)
  reader = abstract_model(size, layout, dtype)
  rest = min(cfg.prompt.max_output, cfg.reward.max_input // 2)
  R = candidates.round_to_steps(rest, candidates.REST_STEPS)
  S = candidates.round_to_steps(
    cfg.reward.max_input - rest, candidates.PREFIX_STEPS
  )
  labels = tuple(
    tuple(DIGITS[int(digit)] for digit in str(label)) for label in judge.LABELS
  )
  room = label_scorer.room_of(reader, labels)((S, R))
  P, C = room.prefixes, room.candidates
  score = label_scorer.label_program(
    reader.decoder, layout, labels, tuple(DIGITS)
  )
  one = layout.for_each
  return Program(
    name,
    f'{C} answers of {R} behind {P} x {S}',
    lambda: score.lower(
      reader.params, one(P, S), one(P), one(C, R), one(C), one(C)
    ),
    tree_device_bytes(reader.params),
    cost.judge_cost(size, dtype, P=P, S=S, C=C, R=R),
    precision.passes(layout.platform, dtype),
  )


def train_programs(cfg: config.Config, layout) -> list[Program]:
  """The step of SFT and of every M-step, for rows of the longest example.

  Every place of them may be a target: no shape that a run chooses for its
  examples holds more. Gradients of earlier micro-batches are there as well,
  unless a row for each example makes one micro-batch of the whole step.
  """
  size = model_size.model_size(cfg.policy.checkpoint)
  settings = trainer.check_train(cfg.train)
  rules.check_divisible(size, layout.mesh)
  attention = trainer.attention_of(layout, size, settings.compute_dtype)
  model = trainer.model_of(size, attention, settings, layout)
  _, tx = trainer.update_rule(settings)
  shapes = abstract_parameters(decoder.Decoder(size))
  dtype = jnp.dtype(settings.compute_dtype)

  def begun(params):
    frozen, trained = lora.split(params, settings.lora, dtype=dtype, seed=0)
    return steps.init_state(trained, tx, frozen)

  state = layout.abstract(jax.eval_shape(begun, shapes))
  accumulate, update = trainer.training_programs(model, tx, state, layout)
  shape = largest_batch(cfg, layout)
  B, L = shape.rows, shape.length

  def of(dtype, *shape, sharding=layout.rows):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

  ints, floats = jnp.int32, jnp.float32
  places = of(ints, B, L), of(ints, B, L), of(floats, B, L)
  batch = batches.Batch(of(ints, B, L), of(ints, B, L), of(ints, B, L), *places)
  sums = steps.Sums(of(floats, sharding=None), state.params)
  before = sums if settings.batch_size > B else None
  return [
    Program(
      'train/rows',
      f'{B} rows of {L}, {attention} attention',
      lambda: accumulate.lower(state, before, batch, of(floats, sharding=None)),
      tree_device_bytes(state) + tree_device_bytes(before and before.grads),
      cost.train_cost(
        size,
        rows=B / layout.parts,
        L=L,
        T=L,
        attention=attention,
        remat=trainer.remat_of(layout),
        parts=layout.mesh.shape['model'] * layout.context_parallel,
      ),
      precision.passes(layout.platform, dtype),
    ),
    Program(
      'train/update',
      f'{model_size.num_parameters(shapes):,} weights',
      lambda: update.lower(state, sums),
      tree_device_bytes(state) + tree_device_bytes(sums.grads),
      cost.update_cost(tree_device_bytes(state), tree_device_bytes(sums.grads)),
    ),
  ]


def largest_batch(cfg: config.Config, layout) -> packing.BatchShape:
  """The largest micro-batch, if one example is as long as it may be."""
  shape = packing.largest(
    cfg.prompt.max_input + cfg.prompt.max_output,
    rows=layout.compute.rows,
    length=layout.compute.row_length,
    least=splash.multiple(layout.context_parallel),
    context_parallel=layout.context_parallel,
  )
  return dataclasses.replace(shape, rows=shape.rows * layout.parts)


def encoder_programs(cfg: config.Config, layout) -> list[Program]:
  """Contriever, or whatever a metric asks for, at texts as long as it can."""
  return [_encoder(name, layout) for name in model_size.encoder_names(cfg)]


def _encoder(checkpoint: str, layout) -> Program:
  size = model_size.encoder_size(checkpoint)
  shapes = jax.eval_shape(
    bert.BertEncoder(size).init,
    jax.random.key(0),
    jnp.zeros((1, 4), jnp.int32),
    jnp.ones(1, jnp.int32),
  )['params']
  params = layout.abstract_replicated(shapes)
  L = size.positions
  B = embedder.texts_per_device(layout, L)
  one = layout.for_each
  return Program(
    'embed',
    f'{B} texts of {L}',
    lambda: embedder.embed_program(size, layout).lower(
      params, one(B, L), one(B)
    ),
    tree_device_bytes(params),
    cost.embed_cost(size, texts=B, length=L),
    precision.passes(layout.platform, jnp.float32),
  )


def abstract_model(
  size: decoder.Size, layout, dtype: str
) -> generator.LoadedModel:
  """A model on every device, of which only the shapes exist."""
  kind = jnp.dtype(dtype)
  model = decoder.Decoder(size, kind, stacked=False, block=layout.block)
  params = layout.abstract_replicated(abstract_parameters(model, kind))
  return generator.LoadedModel(model, params, None, layout)


def abstract_parameters(model: decoder.Decoder, dtype=jnp.float32):
  """Shapes of all of them."""
  shapes = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32)
  )['params']
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes)


def tree_device_bytes(tree) -> int:
  """Bytes on a device of a tree of shapes that are placed."""
  return sum(map(generator.device_bytes, jax.tree.leaves(tree)))
