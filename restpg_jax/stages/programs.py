"""The programs that a run compiles, in their largest shapes, without a weight.

Each is the one that its stage makes, at the most tokens that the settings
allow; the run also compiles it for shorter prompts, which need less.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax import assets, config, errors
from restpg_jax.io import encoders, weights
from restpg_jax.models import (
  attention as attentions,
)
from restpg_jax.models import (
  bert,
  catalog,
  decoder,
  flops,
  packed,
)
from restpg_jax.parallel import rules
from restpg_jax.rewards import judge
from restpg_jax.sampling import candidates, slots
from restpg_jax.stages import embed, language, train
from restpg_jax.training import batches, lora, optimizer, packing
from restpg_jax.training import step as steps

# A tokenizer of Gemma's kind: a token a digit. Which ids they are is all one.
DIGITS = range(3, 13)


@dataclasses.dataclass(frozen=True)
class Work:
  """Of one call, on one device."""

  model: float  # FLOPs: what the method needs, nothing twice or unseen
  hardware: float  # FLOPs that the program computes
  bytes: float  # of weights, keys and values that it must read


@dataclasses.dataclass(frozen=True)
class Program:
  """One to compile."""

  name: str
  shape: str  # in words
  lower: Callable[[], jax.stages.Lowered]
  held: int  # bytes of weights, or of a state, on a device
  work: Work


@dataclasses.dataclass(frozen=True)
class Inputs:
  """Examples of each split."""

  train: int
  val: int
  test: int


def size_of(checkpoint: str) -> decoder.Size:
  """Of a folder of weights or, where there is none, of the catalog's model of
  that name: 'gemma_2b' is known before it is downloaded."""
  try:
    path = assets.path(checkpoint)
  except errors.InputError:
    if checkpoint in catalog.CATALOG:
      return catalog.size(checkpoint)
    raise errors.InputError(
      f'{checkpoint}: no such folder of weights, and no model of that name; '
      f'known are {", ".join(catalog.CATALOG)}'
    ) from None
  return weights.find(path).size


@dataclasses.dataclass(frozen=True)
class Drawing:
  """What is drawn by one set of programs."""

  name: str
  size: decoder.Size
  how: config.Sample
  prompt: int  # tokens, at most
  output: int
  inputs: int
  stop: tuple[int, ...]


def reason(cfg: config.Config, inputs: Inputs) -> Drawing:
  """The larger model that explains the gold outputs."""
  how = cfg.reason
  return Drawing(
    'reason',
    size_of(how.model.checkpoint),
    config.Sample(1, how.temperature, how.top_p, dtype=how.dtype),
    prompt=how.max_input,
    output=how.max_output,
    inputs=inputs.train,
    stop=(0, 1),  # end of turn, end of text
  )


def draw(cfg: config.Config, inputs: Inputs) -> Drawing:
  """The E-step's outputs."""
  return _policy('draw', cfg, cfg.draw, inputs.train)


def answer(cfg: config.Config, inputs: Inputs) -> Drawing:
  """Of the validation or of the test set, whichever is larger."""
  return _policy('answer', cfg, cfg.answer, max(inputs.val, inputs.test))


def _policy(name, cfg, how, inputs) -> Drawing:
  return Drawing(
    name,
    size_of(cfg.policy.checkpoint),
    how,
    prompt=cfg.prompt.max_input,
    output=cfg.prompt.max_output,
    inputs=inputs,
    stop=(1,),
  )


def slots_of(drawing: Drawing, writer: language.Language) -> slots.Shape:
  """What a device draws side by side."""
  return language.shape_of(
    writer,
    m=drawing.how.m,
    prompt=drawing.prompt,
    output=drawing.output,
    inputs=drawing.inputs,
  )


def of_drawing(drawing: Drawing, layout) -> list[Program]:
  """`start` reads a prompt, `advance` makes a chunk of tokens in all slots."""
  name, size, how = drawing.name, drawing.size, drawing.how
  writer = abstract(size, layout, how.dtype)
  shape = slots_of(drawing, writer)
  made = language.draw_programs(
    writer.model,
    layout,
    shape,
    stop=drawing.stop,
    temperature=how.temperature,
    top_p=how.top_p,
    top_k=how.top_k,
    words=size.vocabulary,
  )
  state = jax.tree.map(
    lambda x: layout.for_each(*x.shape[1:], dtype=x.dtype),
    jax.eval_shape(made.empty, writer.params),
  )
  S, M = shape.prompt_length, shape.samples
  one = layout.for_each
  request = one(), one(S), one(), one(M, 2, dtype=np.uint32), one(M), one()
  side = f'{shape.steps} tokens in {shape.groups} x {shape.slots} slots'
  return [
    Program(
      f'{name}/start',
      f'a prompt of {S}',
      lambda: made.start.lower(writer.params, state, *request),
      held(writer.params),
      start_work(size, shape, how.dtype),
    ),
    Program(
      f'{name}/advance',
      f'{side}, {S} + {shape.output_length}',
      lambda: made.advance.lower(writer.params, state),
      held(writer.params),
      advance_work(size, shape, how.dtype),
    ),
  ]


def of_judge(cfg: config.Config, layout) -> list[Program]:
  """The judge, reading answers as long as they may be."""
  size = size_of(cfg.reward.model.checkpoint)
  reader = abstract(size, layout, cfg.reward.dtype)
  rest = min(cfg.prompt.max_output, cfg.reward.max_input // 2)
  R = candidates.rounded(rest, candidates.REST_STEPS)
  S = candidates.rounded(cfg.reward.max_input - rest, candidates.PREFIX_STEPS)
  labels = tuple(
    tuple(DIGITS[int(digit)] for digit in str(label)) for label in judge.LABELS
  )
  room = language.room_of(reader, labels)((S, R))
  P, C = room.prefixes, room.candidates
  score = language.label_program(reader.model, layout, labels, tuple(DIGITS))
  one = layout.for_each
  return [
    Program(
      'judge',
      f'{C} answers of {R} behind {P} x {S}',
      lambda: score.lower(
        reader.params, one(P, S), one(P), one(C, R), one(C), one(C)
      ),
      held(reader.params),
      judge_work(size, cfg.reward.dtype, P=P, S=S, C=C, R=R),
    )
  ]


def of_training(cfg: config.Config, layout) -> list[Program]:
  """The step of SFT and of every M-step, for rows of the longest example.

  Every place of them may be a target: no shape that a run chooses for its
  examples holds more. Gradients of earlier micro-batches are there as well,
  unless a row for each example makes one micro-batch of the whole step.
  """
  size = size_of(cfg.policy.checkpoint)
  settings = train.check(cfg.train)
  rules.check(size, layout.mesh)
  attention = train.attention_of(layout, size, settings.compute_dtype)
  model = train.model_of(size, attention, settings, layout)
  tx = optimizer.build(
    settings.optimizer,
    optimizer.schedule(
      settings.learning_rate,
      steps=settings.steps,
      warmup=settings.warmup,
      final_rate=settings.final_rate,
    ),
    weight_decay=settings.weight_decay,
    clip=settings.clip,
  )
  shapes = parameters(decoder.Decoder(size))
  frozen, trained = split(shapes, settings)
  start = functools.partial(steps.start, tx=tx)
  state = layout.shapes(
    jax.eval_shape(lambda p, f: start(p, frozen=f), trained, frozen)
  )
  accumulate, update = train.programs(model, tx, state, layout)
  shape = rows_of(cfg, layout)
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
      held(state) + held(before and before.grads),
      train_work(
        size,
        rows=B / layout.parts,
        L=L,
        T=L,
        attention=attention,
        remat=train.remat_of(layout),
        parts=layout.mesh.shape['model'],
      ),
    ),
    Program(
      'train/update',
      f'{count(shapes):,} weights',
      lambda: update.lower(state, sums),
      held(state) + held(sums.grads),
      update_work(held(state), held(sums.grads)),
    ),
  ]


def split(shapes, settings: config.Train):
  """lora.split of shapes."""
  if not settings.lora.rank:
    return {}, shapes
  dtype = jnp.dtype(settings.compute_dtype)

  def cast(path, x):
    kind = x.dtype if path[-1].key == 'scale' else dtype
    return jax.ShapeDtypeStruct(x.shape, kind)

  fresh = functools.partial(lora.fresh, shapes, settings.lora, seed=0)
  frozen = jax.tree_util.tree_map_with_path(cast, shapes)
  return frozen, jax.eval_shape(fresh)


def rows_of(cfg: config.Config, layout) -> packing.Shape:
  """The largest micro-batch, if one example is as long as it may be."""
  longest = cfg.prompt.max_input + cfg.prompt.max_output
  length = (
    layout.compute.row_length or -(-longest // packed.LANES) * packed.LANES
  )
  rows = layout.compute.rows or max(1, packing.TOKENS // length)
  return packing.Shape(rows * layout.parts, length, length)


def of_encoder(cfg: config.Config, layout) -> list[Program]:
  """Contriever, reading documents as long as it can."""
  size = encoder_of(cfg.retrieval.encoder)
  shapes = jax.eval_shape(
    bert.Encoder(size).init,
    jax.random.key(0),
    jnp.zeros((1, 4), jnp.int32),
    jnp.ones(1, jnp.int32),
  )['params']
  params = layout.shapes_on_each(shapes)
  L = size.positions
  B = max(1, (embed.ON_CPU if layout.on_cpu else embed.TOKENS) // L)
  one = layout.for_each
  return [
    Program(
      'embed',
      f'{B} texts of {L}',
      lambda: embed.program(size, layout).lower(params, one(B, L), one(B)),
      held(params),
      embed_work(size, texts=B, length=L),
    )
  ]


def encoder_of(checkpoint: str) -> bert.Size:
  """Of a folder or, where there is none, Contriever's: that of BERT base."""
  try:
    path = assets.path(checkpoint)
  except errors.InputError:
    return bert.Size(12, 768, 3072, 12, vocabulary=30_522, positions=512)
  return encoders.load(path).size


def abstract(size: decoder.Size, layout, dtype: str) -> language.Language:
  """A model on every device, of which only the shapes exist."""
  kind = jnp.dtype(dtype)
  model = decoder.Decoder(size, kind, stacked=False, block=layout.block)
  params = layout.shapes_on_each(parameters(model, kind))
  return language.Language(model, params, None, layout)


def parameters(model: decoder.Decoder, dtype=jnp.float32):
  """Shapes of all of them."""
  shapes = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32)
  )['params']
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes)


def count(shapes) -> int:
  """Of parameters."""
  return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))


def held(tree) -> int:
  """Bytes on a device of a tree of shapes that are placed."""
  return sum(map(language.held, jax.tree.leaves(tree)))


def embed_work(size: bert.Size, *, texts: float, length: float) -> Work:
  """Every token sees every other one."""
  token = 8 * size.width**2 + 4 * size.width * size.hidden
  pairs = 4 * size.width * length**2
  work = texts * size.layers * (length * token + pairs)
  return Work(work, work, 4 * size.layers * token // 2)


def start_work(size: decoder.Size, shape: slots.Shape, dtype: str) -> Work:
  S = shape.prompt_length
  rest = S * flops.layers(size) + flops.logits(size)
  return Work(
    rest + flops.causal(size, S),
    rest + in_blocks(size, S),
    _weights(size, dtype),
  )


def in_blocks(size: decoder.Size, length: int) -> float:
  """Attention as attention.causal_in_blocks computes it."""
  block = max(attentions.QUERIES, -(-length // attentions.BLOCKS))
  ends = [*range(block, length, block), length]
  return sum(
    flops.square(size, end - begin, end)
    for begin, end in zip([0, *ends], ends, strict=False)
  )


def advance_work(size: decoder.Size, shape: slots.Shape, dtype: str) -> Work:
  """A chunk in which every slot is near its last token."""
  tokens = shape.groups * shape.slots * shape.steps
  S, O = shape.prompt_length, shape.suffix  # noqa: E741
  work = tokens * (flops.layers(size) + flops.logits(size))
  work += flops.square(size, tokens, S + O)
  kept = shape.groups * (S + shape.slots * O)
  itemsize = jnp.dtype(dtype).itemsize
  read = _weights(size, dtype) + kept * flops.token_bytes(size, itemsize)
  return Work(work, work, shape.steps * read)


def judge_work(
  size: decoder.Size, dtype: str, *, P: int, S: int, C: int, R: int
) -> Work:
  """Labels follow each answer; their few tokens are left out."""
  rest = (P * S + C * R) * flops.layers(size) + C * flops.logits(size)
  seen = flops.square(size, R, S) + flops.causal(size, R)
  return Work(
    rest + P * flops.causal(size, S) + C * seen,
    rest + P * in_blocks(size, S) + C * flops.square(size, R, S + R),
    (P + C) * _weights(size, dtype),
  )


def train_work(
  size: decoder.Size,
  *,
  rows: float,
  L: float,
  T: float,
  attention: str,
  remat: str,
  parts: int = 1,
) -> Work:
  """Forward once and backward twice; what is not kept, forward once more.

  Logits are computed twice (training/loss.py). `parts` devices share a row.
  """
  body = L * flops.layers(size)
  logits = T * flops.logits(size)
  model = 3 * (body + flops.causal(size, L) + logits)
  again = 4 if remat == 'full' else 3
  hardware = again * body + 4 * logits + _attention(size, L, attention, remat)
  share = rows / parts
  return Work(share * model, share * hardware, 3 * _weights(size, 'bfloat16'))


def _attention(
  size: decoder.Size, length: float, attention: str, remat: str
) -> float:
  """Of a row, forward and backward."""
  if attention == 'splash':
    # Tiles on the diagonal are computed whole. Two products forward, which is
    # kept; backward the scores once more and the gradients of them, of
    # queries, keys and values: seven products in two kernels.
    tiles = flops.causal(size, length) * (1 + packed.TILE / length)
    return tiles * (2 + 7) / 2
  if attention == 'blocks':  # keeps no scores
    return 4 * in_blocks(size, length)
  return (4 if remat == 'full' else 3) * flops.square(size, length, length)


def update_work(state: int, gradients: int) -> Work:
  """No matrix products: the state is read and written, gradients are read."""
  return Work(0.0, 0.0, 2 * state + gradients)


def _weights(size: decoder.Size, dtype: str) -> int:
  return flops.weights(size) * jnp.dtype(dtype).itemsize
