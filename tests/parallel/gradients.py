"""Run by test_gradients.py where there are 8 devices; prints what it found.

  XLA_FLAGS=--xla_force_host_platform_device_count=8 JAX_PLATFORMS=cpu \
      python tests/parallel/gradients.py

reductions  of matrices in a micro-batch's program, by kind and type, before
            the compiler of a CPU makes all of them float32
exact       whether gradients of each weight are those of one device, bit by
            bit, where no sum is rounded
error       how far 8 devices' gradients in bfloat16 are from those that one
            device computes, an eighth of the rows at a time, relative to their
            size, for the weight where that is most
rounded     the same, were each device's share rounded to bfloat16
"""

import collections
import functools
import json
import pathlib
import re
import tempfile
from unittest import mock

import eight_devices
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding

from restpg_jax import config
from restpg_jax.engines import batch_loader, trainer
from restpg_jax.models import mixed_precision
from restpg_jax.parallel import activations, rules
from restpg_jax.parallel import layout as layouts
from restpg_jax.parallel import mesh as meshes
from restpg_jax.training import lora, optimizer
from restpg_jax.training import step as steps

SIZE = eight_devices.SIZE
FULL = config.Lora()
RUNS = {  # data x fsdp x sequence x model, or what else is special
  '8x1x1x1': ({'fsdp': 1}, FULL),
  '2x2x1x2': ({'fsdp': 2, 'model': 2}, FULL),
  '2x2x2x1': ({'fsdp': 2, 'sequence': 2, 'remat': 'full'}, FULL),
  'adapters': ({'fsdp': 8}, config.Lora(rank=4)),
}
NAMES = {'q': 128, 'k': 32, 'out': 128, 'a': 4, 'b': 6}  # weight -> its width
# A matrix that is summed over devices; hidden states have more axes.
REDUCTION = re.compile(r' = (\w+)\[\d+,\d+\]\S* (all-reduce|reduce-scatter)\(')


def main():
  init = jax.jit(eight_devices.MODEL.init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  params = jax.device_get(params)
  layout = {name: layout_of(axes) for name, (axes, _) in RUNS.items()}
  report = {
    'reductions': {
      name: reductions(params, layout[name], adapters)
      for name, (_, adapters) in RUNS.items()
    },
    'exact': {name: exact(layout[name].mesh) for name in RUNS},
  }
  report |= errors(params, layout['8x1x1x1'])
  print(json.dumps(report))


def layout_of(axes):
  return layouts.Layout.of(config.Compute(**eight_devices.ROWS, **axes))


def program(params, layout, adapters=FULL):
  """That of a micro-batch in bfloat16, and the state that it takes."""
  settings = config.Train(compute_dtype='bfloat16', lora=adapters)
  frozen, trained = lora.split(params, adapters, dtype=jnp.bfloat16, seed=0)
  tx = optimizer.build_optimizer(
    'adafactor', optax.constant_schedule(1e-3), weight_decay=0.0, clip=1.0
  )
  state = layout.shard(steps.init_state(trained, tx, frozen))
  model = trainer.model_of(SIZE, 'blocks', settings, layout)
  accumulate, _ = trainer.training_programs(model, tx, state, layout)
  return accumulate, state


def micro_batch(layout):
  """The first, on the host, and the targets of its step."""
  step = batch_loader.BatchLoader.of(
    eight_devices.EXAMPLES, SIZE, layout, attention='blocks', seed=0, size=12
  ).step(0)
  return jax.device_get(step.batches[0]), step.targets


def reductions(params, layout, adapters):
  accumulate, state = program(params, layout, adapters)
  rows, targets = micro_batch(layout)
  batch = layout.batch(rows, len(rows.tokens_BL))
  lowered = accumulate.lower(state, None, batch, targets)
  with tempfile.TemporaryDirectory() as folder:
    dump = {'xla_dump_to': folder, 'xla_dump_hlo_pass_re': 'spmd-partitioning'}
    lowered.compile(compiler_options=dump)
    (path,) = pathlib.Path(folder).glob('*after_spmd-partitioning*')
    text = path.read_text()
  return collections.Counter(
    f'{kind} {dtype}' for dtype, kind in REDUCTION.findall(text)
  )


def exact(mesh):
  """Small whole numbers: bfloat16 holds them, float32 their sums."""
  rng = np.random.default_rng(4)
  gradient = mixed_precision.weight_gradient
  scattered = activations.ActivationSharding(mesh).scatter_gradient(gradient)
  for name, width in NAMES.items():
    x, dy = (
      jnp.asarray(rng.integers(-8, 9, (8, 16, n)), jnp.bfloat16)
      for n in (128, width)
    )
    found = jax.jit(functools.partial(scattered, name))(x, dy)
    split = NamedSharding(mesh, rules.spec(f"'{name}'", found.shape, mesh))
    assert found.sharding.is_equivalent_to(split, 2), (name, found.sharding)
    if not np.array_equal(found, gradient(name, x, dy)):
      return False
  return True


def errors(params, layout):
  rows, targets = micro_batch(layout)
  one = layouts.Layout(
    Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1, 1), meshes.AXES),
    layout.compute,
  )
  accumulate, state = program(params, one)
  parts = zip(*(np.split(x, 8) for x in rows), strict=True)
  shares = [type(rows)(*part) for part in parts]
  own = compiled(accumulate, state, None, shares[0], targets)
  alone = [own(state, None, share, targets).grads for share in shares]
  exact = jax.tree.map(lambda *x: sum(map(np.float64, x)), *alone)
  gradient = mixed_precision.weight_gradient

  def rounded(*args):
    return jax.lax.reduce_precision(gradient(*args), 8, 7)

  def error():
    accumulate, state = program(params, layout)
    batch = layout.batch(rows, len(rows.tokens_BL))
    inputs = state, None, batch, targets
    found = compiled(accumulate, *inputs)(*inputs)
    return max(eight_devices.differences(found.grads, exact))

  report = {'error': error()}
  with mock.patch.object(mixed_precision, 'weight_gradient', rounded):
    report['rounded'] = error()
  return report


def compiled(accumulate, *inputs):
  """Rounded wherever the program says so, which a CPU likes to leave out."""
  options = {'xla_allow_excess_precision': False}
  return accumulate.lower(*inputs).compile(compiler_options=options)


if __name__ == '__main__':
  main()
