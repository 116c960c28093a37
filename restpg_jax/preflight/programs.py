"""Builds the programs of a run in their largest shapes, without a weight.

Each is the one that its stage makes, at the most tokens that the settings
allow; the run also compiles it for shorter prompts, which need less.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from restpg_jax import config
from restpg_jax.engines import (
  embedder,
  generator,
  label_scorer,
  model_size,
  trainer,
)
from restpg_jax.models import bert, decoder, precision, splash
from restpg_jax.models import size as sizes
from restpg_jax.parallel import layout as layouts
from restpg_jax.parallel import rules
from restpg_jax.preflight import cost, draw_workloads
from restpg_jax.rewards import judge
from restpg_jax.sampling import candidates
from restpg_jax.stages import measure
from restpg_jax.training import batches, lora, packing
from restpg_jax.training import step as steps

# Ids of the digits, one token each as in Gemma; any ids give the same sizes.
DIGITS = range(3, 13)


@dataclasses.dataclass(frozen=True)
class Program:
  """A program to compile."""

  name: str
  shape: str  # as a person reads it
  lower: Callable[[], jax.stages.Lowered]
  held: int  # bytes of weights, or of a state, on a device
  work: cost.ProgramCost
  passes: int = 1  # of the fastest products, see models/precision.py


def draw_programs(
  workload: draw_workloads.DrawWorkload, layout: layouts.Layout
) -> list[Program]:
  """Returns two: a prompt is read, and a chunk of tokens drawn in all slots."""
  name, size, sample = workload.name, workload.size, workload.sample
  model = abstract_model(size, layout, sample.dtype)
  shape = draw_workloads.decode_shape(workload, model)
  programs = generator.decode_programs(
    model.decoder,  # pyright: ignore[reportArgumentType]  flax's have a hash
    layout,
    shape,
    stop=workload.stop,
    temperature=sample.temperature,
    top_p=sample.top_p,
    top_k=sample.top_k,
    vocab_size=size.vocabulary,
  )
  state = jax.tree.map(
    lambda x: layout.for_each(*x.shape[1:], dtype=x.dtype),
    jax.eval_shape(programs.empty_state, model.params),
  )
  S, M = shape.prompt_length, shape.samples
  spec = layout.for_each
  request = (
    spec(),
    spec(S),
    spec(),
    spec(M, 2, dtype=np.uint32),
    spec(M),
    spec(),
  )
  side = f'{shape.steps} tokens in {shape.groups} x {shape.slots} slots'
  passes = precision.passes(layout.platform, sample.dtype)
  return [
    Program(
      f'{name}/start',
      f'a prompt of {S}',
      lambda: programs.prefill.lower(model.params, state, *request),
      tree_device_bytes(model.params),
      cost.prefill_cost(size, shape, sample.dtype),
      passes,
    ),
    Program(
      f'{name}/advance',
      f'{side}, {S} + {shape.output_length}',
      lambda: programs.decode_chunk.lower(model.params, state),
      tree_device_bytes(model.params),
      cost.decode_cost(size, shape, sample.dtype),
      passes,
    ),
  ]


def judge_programs(cfg: config.Config, layout: layouts.Layout) -> list[Program]:
  """Returns the judge of the E-step and of validation."""
  return [_judge('judge', cfg, cfg.reward.dtype, layout)]


def test_judge_programs(
  cfg: config.Config, layout: layouts.Layout
) -> list[Program]:
  """Returns the judge of the test set, in its own precision."""
  shared = layout.context_parallel_copies(cfg.evaluate.shards or layout.shards)
  dtype = measure.reward_of(cfg.reward, cfg.evaluate).dtype
  return [_judge('test_judge', cfg, dtype, shared)]


def _judge(
  name: str, cfg: config.Config, dtype: str, layout: layouts.Layout
) -> Program:
  """Returns a judge for those of its lengths that need the most memory."""
  size = model_size.model_size(
    cfg.reward.model.checkpoint, cfg.reward.model.base
  )
  model = abstract_model(size, layout, dtype)
  labels = tuple(
    tuple(DIGITS[int(digit)] for digit in str(label)) for label in judge.LABELS
  )
  room = label_scorer.room_of(model, labels)
  need = label_scorer.memory_need(model, labels)
  S, R = max(
    candidates.compiled_lengths(cfg.reward.max_input),
    key=lambda lengths: need.total(room(lengths), lengths),
  )
  P, C = dataclasses.astuple(room((S, R)))
  score = label_scorer.label_program(
    model.decoder,  # pyright: ignore[reportArgumentType]  has a hash
    layout,
    labels,
    tuple(DIGITS),
  )
  spec = layout.for_each
  return Program(
    name,
    f'{C} answers of {R} behind {P} x {S}',
    lambda: score.lower(
      model.params,
      spec(P, S),
      spec(P),
      spec(C, R),
      spec(C),
      spec(C),
    ),
    tree_device_bytes(model.params),
    cost.judge_cost(size, dtype, P=P, S=S, C=C, R=R),
    precision.passes(layout.platform, dtype),
  )


def train_programs(cfg: config.Config, layout: layouts.Layout) -> list[Program]:
  """Returns the step of SFT and every M-step, for rows of the longest example.

  Every position of them may be a target: no shape that a run chooses for its
  examples holds more. Gradients of earlier micro-batches are held as well,
  unless a row for each example makes one micro-batch of the whole step.
  """
  size = model_size.model_size(cfg.policy.checkpoint, cfg.policy.base)
  settings = trainer.check_train(cfg.train)
  rules.check_divisible(size, layout.mesh)
  attention = trainer.attention_of(layout, size, settings.compute_dtype)
  model = trainer.model_of(size, attention, settings, layout)
  _, tx = trainer.update_rule(settings)
  shapes = abstract_parameters(decoder.Decoder(size))
  dtype = jnp.dtype(settings.compute_dtype)

  def begin(params: Any) -> steps.TrainState:
    frozen, trained = lora.split(params, settings.lora, dtype=dtype, seed=0)
    return steps.init_state(trained, tx, frozen)

  state = layout.abstract(jax.eval_shape(begin, shapes))
  accumulate, update = trainer.training_programs(model, tx, state, layout)
  shape = largest_batch(cfg, layout)
  B, L = shape.rows, shape.length

  def abstract(
    dtype: DTypeLike,
    *shape: int,
    sharding: jax.sharding.Sharding | None = layout.rows,
  ) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

  ints, floats = jnp.int32, jnp.float32
  targets = abstract(ints, B, L), abstract(ints, B, L), abstract(floats, B, L)
  batch = batches.Batch(
    abstract(ints, B, L), abstract(ints, B, L), abstract(ints, B, L), *targets
  )
  sums = steps.Sums(abstract(floats, sharding=None), state.params)
  before = sums if settings.batch_size > B else None
  return [
    Program(
      'train/rows',
      f'{B} rows of {L}, {attention} attention',
      lambda: accumulate.lower(
        state, before, batch, abstract(floats, sharding=None)
      ),
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


def largest_batch(
  cfg: config.Config, layout: layouts.Layout
) -> packing.BatchShape:
  """Returns the largest micro-batch: one example is as long as it may be."""
  shape = packing.largest(
    cfg.prompt.max_input + cfg.prompt.max_output,
    rows=layout.compute.rows,
    length=layout.compute.row_length,
    multiple=splash.multiple(layout.context_parallel),
    context_parallel=layout.context_parallel,
  )
  return dataclasses.replace(shape, rows=shape.rows * layout.parts)


def encoder_programs(
  cfg: config.Config, layout: layouts.Layout
) -> list[Program]:
  """Returns the encoders of retrieval and metrics, for the longest texts."""
  names = model_size.encoder_names(cfg.retrieval, cfg.evaluate, cfg.reward)
  return [_encoder(name, layout) for name in names]


def _encoder(checkpoint: str, layout: layouts.Layout) -> Program:
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
  spec = layout.for_each
  return Program(
    'embed',
    f'{B} texts of {L}',
    lambda: embedder.embed_program(size, layout).lower(
      params, spec(B, L), spec(B)
    ),
    tree_device_bytes(params),
    cost.embed_cost(size, texts=B, length=L),
    precision.passes(layout.platform, jnp.float32),
  )


def abstract_model(
  size: sizes.Size, layout: layouts.Layout, dtype: str
) -> generator.LoadedModel:
  """Returns a model on every device of which only the shapes exist."""
  compute_dtype = jnp.dtype(dtype)
  model = decoder.Decoder(
    size, compute_dtype, stacked=False, block=layout.block
  )
  params = layout.abstract_replicated(abstract_parameters(model, compute_dtype))
  tokenizer: Any = None  # no text is read
  return generator.LoadedModel(model, params, tokenizer, layout)


def abstract_parameters(
  model: decoder.Decoder, dtype: DTypeLike = jnp.float32
) -> Any:
  """Returns the shapes of all parameters, nested as they are."""
  shapes = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32)
  )['params']
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes)


def tree_device_bytes(tree: Any) -> int:
  """Returns the bytes on a device of a tree of sharded shapes."""
  return sum(map(generator.device_bytes, jax.tree.leaves(tree)))
