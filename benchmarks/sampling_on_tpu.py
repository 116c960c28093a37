"""Compiles the sampling programs for TPUs, without one: memory and speed limit.

  python benchmarks/sampling_on_tpu.py [--prompts=4] [--samples=32] [--slots=32]

Needs the extra [tpu]. Gemma 2B in bfloat16, prompts of 5,120 and outputs of
1,536 tokens, one chip of each kind. Bytes a step are what must be read at
least: all weights and all keys and values once. The roofline is slots over the
time that takes at the chip's published bandwidth.
"""

import functools
import math
import os

os.environ |= {
  'JAX_PLATFORMS': 'cpu',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'TPU_ACCELERATOR_TYPE': 'v4-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
}

import jax
import jax.numpy as jnp
from common import flags
from common.memory import GIB
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from restpg_jax.models import catalog, decoder
from restpg_jax.models import size as sizes
from restpg_jax.sampling import slots

# Topology, more of its description, usable memory in GiB (what the compiler
# says when it has too little), bandwidth in GB/s (Google's system pages).
CHIPS = {
  'v4': ('v4:2x2x1', {'chip_config_name': 'megacore'}, 30.75, 1228),
  'v5e': ('v5e:2x2', {}, 15.75, 819),
  'v5p': ('v5p:2x2x1', {}, 95.73, 2765),
  'v6e': ('v6e:2x2', {}, 31.24, 1640),
}


def main():
  parser = flags.parser(__doc__)
  parser.add_argument('--model', default='gemma_2b')
  parser.add_argument('--prompts', type=int, default=4, help='groups')
  parser.add_argument('--slots', type=int, default=32, help='of a group')
  parser.add_argument('--samples', type=int, default=32, help='of a prompt')
  parser.add_argument('--prompt-length', type=int, default=5120)
  parser.add_argument('--output-length', type=int, default=1536)
  parser.add_argument('--chips', nargs='*', default=list(CHIPS))
  args = parser.parse_args()
  shape = slots.DecodeShape(
    args.prompts,
    args.slots,
    args.samples,
    args.prompt_length,
    args.output_length,
  )
  print(f'{args.model}, {shape}')
  print('GiB | program | arguments | temporaries | total | usable')
  for name in args.chips:
    measure(name, catalog.catalog_size(args.model), shape)


def measure(name: str, size: sizes.Size, shape: slots.DecodeShape) -> None:
  topology, more, usable, bandwidth = CHIPS[name]
  device = topologies.get_topology_desc(
    platform='tpu', topology_name=topology, **more
  ).devices[0]
  here = SingleDeviceSharding(device)
  model = decoder.Decoder(size, jnp.bfloat16, stacked=False)
  params = on(here, parameters(model))
  program = slots.DecodeProgram(
    model, shape, stop=(1,), temperature=0.7, top_p=0.95, vocab_size=256_000
  )
  state = on(here, jax.eval_shape(program.empty_state, params))
  S, M = shape.prompt_length, shape.samples
  int_ = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.int32, sharding=here)
  keys = jax.ShapeDtypeStruct((M, 2), jnp.uint32, sharding=here)
  request = int_(()), int_((S,)), int_(()), keys, int_((M,)), int_(())
  for label, function, arguments in (
    ('start', program.prefill, (params, state, *request)),
    ('advance', program.decode_chunk, (params, state)),
  ):
    compiled = jax.jit(function, donate_argnums=1).lower(*arguments).compile()
    m = compiled.memory_analysis()
    if m is None:
      raise RuntimeError(f'{name}: the compiler states no memory')
    total = (
      m.argument_size_in_bytes
      + m.output_size_in_bytes
      - m.alias_size_in_bytes
      + m.temp_size_in_bytes
      + m.generated_code_size_in_bytes
    )
    columns = m.argument_size_in_bytes, m.temp_size_in_bytes, total
    figures = ' | '.join(f'{x / GIB:.2f}' for x in columns)
    print(f'{name} | {label} | {figures} | {usable}', flush=True)
  cache = nbytes(state.cache)
  step = nbytes(params) + cache
  seconds = step / (bandwidth * 1e9)
  rate = shape.groups * shape.slots / seconds
  print(
    f'{name}, a step: keys and values {cache / GIB:.2f} GiB; read in all '
    f'{step / 1e9:.2f} GB, {seconds * 1e3:.2f} ms at {bandwidth} GB/s: at most '
    f'{rate:,.0f} tokens/s',
    flush=True,
  )


def parameters(model: decoder.Decoder):
  shapes = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32)
  )['params']
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), shapes
  )


def on(sharding, tree):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def nbytes(tree) -> int:
  return sum(
    math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )


if __name__ == '__main__':
  main()
