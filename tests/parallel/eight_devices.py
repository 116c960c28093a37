"""Run by test_layout.py where there are 8 devices; prints what it found."""

import dataclasses
import functools
import json
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from restpg_jax import config, errors
from restpg_jax.engines import batch_loader, trainer
from restpg_jax.models import decoder, packed, splash
from restpg_jax.models import size as sizes
from restpg_jax.parallel import activations
from restpg_jax.parallel import layout as layouts
from restpg_jax.parallel import mesh as meshes
from restpg_jax.sampling import engine, keys, slots
from restpg_jax.training import batches, optimizer
from restpg_jax.training import step as steps

SIZE = sizes.Size(
  layers=2,
  width=128,
  hidden=128,
  heads=4,
  kv_heads=1,
  head_size=32,
  vocabulary=128,
)
MODEL = decoder.Decoder(SIZE)
# Its first layer draws samples: what is compiled for them grows with layers.
DRAWS = dataclasses.replace(SIZE, layers=1)
ROWS = {'rows': 1, 'row_length': 48}  # of a device: it packs as it has devices
FLOAT32 = config.Train(compute_dtype='float32')
RNG = np.random.default_rng(0)


def main():
  init = jax.jit(MODEL.init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  params = jax.device_get(params)
  one = layouts.Layout(
    Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1, 1), meshes.AXES),
    config.Compute(**ROWS),
  )
  layout = {
    n: layouts.Layout.of(config.Compute(fsdp=n, **ROWS)) for n in (0, 1, 4)
  }
  layout |= {
    '2x2x1x2': layouts.Layout.of(config.Compute(fsdp=2, model=2, **ROWS)),
    '1x2x2x2': layouts.Layout.of(config.Compute(sequence=2, model=2, **ROWS)),
  }
  trained = {n: train(params, layout[n]) for n in layout}
  alone = train(params, one)
  drawn = sample(params, one)
  report = {
    'devices': {n: layout[n].devices for n in layout},
    'difference': {
      n: max(differences(trained[n].params, alone.params)) for n in layout
    },
    'moved': min(differences(params, alone.params)),
    'shards': {n: shards(trained[n].params) for n in layout},
    'alike': sample(params, layout[1]) == drawn,
    'samples': len(drawn),
    'shared': {n: sample(params, context_parallel(n)) == drawn for n in (2, 8)},
    'weights': {n: held(params, context_parallel(n)) for n in (1, 2, 8)},
    'collectives': {
      n: collectives(params, context_parallel(n)) for n in (1, 8)
    },
    'born': init_sharded(params, layout[4]),
    'parted': in_parts(layout['1x2x2x2']),
    'turned': trained_in_turns(params, one),
    'errors': [
      message(lambda: layouts.Layout.of(config.Compute(fsdp=3))),
      message(lambda: layouts.Layout.of(config.Compute(fsdp=4, model=4))),
      message(lambda: layouts.Layout.of(config.Compute(sequence=3))),
    ],
  }
  print(json.dumps(report))


def train(params, layout, count=20, attention='blocks'):
  """The state after so many steps of the stage's own programs."""
  tx = optimizer.build_optimizer(
    'adafactor',
    optax.constant_schedule(1e-3),
    weight_decay=0.01,
    clip=1.0,
  )
  start = functools.partial(steps.init_state, tx=tx)
  state = layout.init_sharded(start, layout.shard(params))
  model = trainer.model_of(SIZE, attention, FLOAT32, layout)
  accumulate, update = trainer.training_programs(model, tx, state, layout)
  reads = batch_loader.BatchLoader.of(
    EXAMPLES, SIZE, layout, attention=attention, seed=0, size=12
  )
  for n in range(count):
    step, sums = reads.step(n), None
    for batch in step.batches:
      sums = accumulate(state, sums, batch, step.targets)
      jax.block_until_ready(sums)  # so many CPU devices can block each other
    state, _ = jax.block_until_ready(update(state, sums))
  return state


def examples():
  """Of 4 to 24 tokens, some with a reward below 1."""
  rng = np.random.default_rng(1)
  return [
    batches.TrainingExample(
      rng.integers(4, 128, rng.integers(2, 13), np.int32),
      rng.integers(4, 128, rng.integers(2, 13), np.int32),
      rng.choice([1.0, 0.7]),
    )
    for _ in range(40)
  ]


EXAMPLES = examples()


def differences(a, b):
  """Of each parameter, relative to the parameter's size."""
  return [
    float(np.linalg.norm(x - y) / np.linalg.norm(y))
    for x, y in zip(
      jax.tree.leaves(jax.device_get(a)),
      jax.tree.leaves(jax.device_get(b)),
      strict=True,
    )
  ]


def shards(params):
  """What one device holds of some parameters."""
  layers = params['layers']
  arrays = {
    'embedding': params['embedding'],
    'q': layers['attention']['q'],
    'down': layers['feed_forward']['down'],
    'scale': params['final_norm']['scale'],
  }
  return {k: x.addressable_shards[0].data.shape for k, x in arrays.items()}


def init_sharded(params, layout):
  """What one device holds of Adam's first moment of the embedding."""
  tx = optimizer.build_optimizer(
    'adamw', optax.constant_schedule(1e-3), weight_decay=0.0, clip=1.0
  )
  start = functools.partial(steps.init_state, tx=tx)
  state = layout.init_sharded(start, layout.shard(params))
  return [
    x.addressable_shards[0].data.shape
    for path, x in jax.tree_util.tree_leaves_with_path(state.optimizer)
    if ".mu['embedding']" in jax.tree_util.keystr(path)
  ]


def in_parts(layout):
  """How far attention over shared rows, and its gradients, are from `naive`."""
  rng = np.random.default_rng(3)
  q, k, v = (rng.normal(size=(2, 512, n, 32)) for n in (4, 1, 1))
  segment = np.sort(rng.integers(0, 4, (2, 512)))[:, ::-1]
  weight = rng.normal(size=q.shape)
  order = splash.turns(512, layout.context_parallel)
  back = np.argsort(order)
  rows = activations.ActivationSharding(layout.mesh)
  kernel = rows.by_rows(functools.partial(splash.splash, interpret=True))

  def turned(q, k, v, segment, local, **how):
    turned = (x[:, order] for x in (q, k, v, segment))
    return kernel(*turned, local, **how)[:, back]

  def both(attend):
    def total(q, k, v):
      y = attend(q, k, v, segment, None, window=0, cap=0.0)
      return jnp.sum(y * weight), y

    return jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v)

  found, exact = both(turned), both(packed.naive)
  return max(differences(found, exact))


def trained_in_turns(params, one):
  """How far a few steps on turned rows are from those of one device."""
  compute = {'rows': 1, 'row_length': 512}
  layout = layouts.Layout.of(config.Compute(sequence=2, **compute))
  kernel = functools.partial(splash.splash, interpret=True)
  with mock.patch.dict(packed.NAMES, splash=kernel):
    found = train(params, layout, 3, attention='splash')
  return max(differences(found.params, train(params, one, 3).params))


def context_parallel(shards):
  return layouts.Layout.of(config.Compute(shards=shards))


SHAPE = slots.DecodeShape(
  groups=2, slots=1, samples=2, prompt_length=6, output_length=8, steps=4
)


def programs(layout):
  model = decoder.Decoder(DRAWS, stacked=False)
  program = slots.DecodeProgram(
    model, SHAPE, stop=(1,), temperature=1.0, top_p=0.95
  )
  return slots.Programs(
    layout.each_device(program.empty_state),
    layout.each_device(program.prefill, donate=[1]),
    layout.each_device(program.decode_chunk, donate=[1]),
  )


def unstacked(params):
  """The first layer alone, as it draws samples."""
  first = jax.tree.map(lambda x: x[:1], params['layers'])
  return decoder.unstacked(params | {'layers': first})


def sample(params, layout):
  """Two samples of each of ten prompts, two groups of a slot on a device."""
  rng = np.random.default_rng(2)
  requests = [
    engine.DecodeRequest(
      rng.integers(4, 128, 3 + n % 4).tolist(),  # compiled lengths: 4 and 6
      [
        keys.row_key(
          seed=0, purpose='draw', iteration=0, example_id=str(n), j=j
        )
        for j in range(2)
      ],
    )
    for n in range(10)
  ]
  params = layout.replicate(unstacked(params))
  found = [
    drawn
    for harvest in engine.decode(
      programs(layout), params, requests, SHAPE, layout.copies
    )
    for drawn in harvest.samples
  ]
  return {(d.request, d.sample): (d.tokens, d.ended) for d in found}


def held(params, layout):
  """Elements of the embedding on one device."""
  params = layout.replicate(unstacked(params))
  return params['embedding'].addressable_shards[0].data.size


def collectives(params, layout):
  """Kinds of them in the compiled program that draws a chunk."""
  params = layout.replicate(unstacked(params))
  empty, _, advance = programs(layout)
  text = advance.lower(params, empty(params)).compile().as_text()
  kinds = 'all-reduce', 'all-gather', 'all-to-all', 'collective-permute'
  return [kind for kind in kinds if f' {kind}(' in text]


def message(call):
  try:
    call()
  except errors.InputError as error:
    return str(error)


if __name__ == '__main__':
  main()
