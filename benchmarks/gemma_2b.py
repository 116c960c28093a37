"""Gemma 1 2B at full size: through a Hugging Face folder, beside transformers.

  python benchmarks/gemma_2b.py --scratch=DIR

Random bfloat16 weights in Gemma 2B's shapes are written as a Hugging Face
folder (5 GB), which is then, each in a process of its own:

  ours          loaded by restpg_jax, one forward pass in float32
  transformers  loaded by transformers, the same pass in float32
  to gemma      converted to a checkpoint of the `gemma` package
  back          converted back to a Hugging Face folder

Prints the seconds and the peak memory of each, the largest difference between
the two passes, and whether the folder that came back is the first one, bit for
bit. Needs 16 GB of disk in DIR, 24 GB of memory and the extra [test].
"""

import functools
import json
import pathlib
import sys

import numpy as np
from common import flags, memory, processes, timing

TOKENS = [2, *range(1000, 1063)]  # <bos> and 63 others
PHASES = ('write', 'ours', 'transformers', 'to gemma', 'back', 'compare')


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--scratch', type=pathlib.Path, required=True)
  parser.add_argument('--layers', type=int, default=18)
  parser.add_argument('--phase', choices=PHASES, help='of a child process')
  args = parser.parse_args()
  if args.phase:
    print(json.dumps(measured(RUN[args.phase], args.scratch, args.layers)))
    return
  args.scratch.mkdir(parents=True, exist_ok=True)
  print(f'{"phase":<14}{"seconds":>9}{"peak GiB":>10}')
  for phase in PHASES:
    seconds, peak, remark = processes.run(
      __file__,
      f'--phase={phase}',
      f'--scratch={args.scratch}',
      f'--layers={args.layers}',
    )
    print(f'{phase:<14}{seconds:>9.1f}{peak:>10.2f}   {remark}', flush=True)


def measured(run, scratch: pathlib.Path, layers: int):
  """Returns seconds, peak memory in GiB, and the remark of the phase."""
  remark, seconds = timing.timed(run, scratch, layers)
  return seconds.wall, memory.peak() / memory.GIB, remark


def write(scratch: pathlib.Path, layers: int) -> str:
  """Writes weights whose logits are of the usual scale."""
  import dataclasses

  import ml_dtypes

  from restpg_jax.io import records, tensors
  from restpg_jax.models import catalog, formats, hf_config

  size = dataclasses.replace(catalog.CATALOG['gemma_2b'], layers=layers)
  rng = np.random.default_rng(0)

  def draw(tensor):
    x = rng.standard_normal(tensor.shape, np.float32)
    if len(tensor.shape) == 1:
      x *= 0.1
    else:
      x *= tensor.shape[1] ** -0.5
    return tensor.name, x.astype(ml_dtypes.bfloat16)

  rows = 256_000
  folder = scratch / 'hf'
  folder.mkdir()
  total = tensors.write_tensors(folder, map(draw, formats.hf(size, rows)))
  config = hf_config.render_config(size, rows=rows, dtype='bfloat16')
  records.write_json(folder / 'config.json', config)
  return f'{total / memory.GIB:.2f} GiB of bfloat16'


def ours(scratch: pathlib.Path, layers: int) -> str:
  del layers
  import jax
  import jax.numpy as jnp
  import ml_dtypes

  from restpg_jax.io import weights
  from restpg_jax.models import decoder

  (params, size), seconds = timing.timed(
    weights.load_weights, scratch / 'hf', ml_dtypes.bfloat16
  )
  model = decoder.Decoder(size, dtype=jnp.float32)
  logits = jax.jit(model.apply)({'params': params}, jnp.array([TOKENS]))
  np.save(scratch / 'ours.npy', np.asarray(logits[0]))
  return f'{seconds.wall:.1f} s of it loading'


def transformers(scratch: pathlib.Path, layers: int) -> str:
  del layers
  import torch
  from transformers import AutoModelForCausalLM

  model, seconds = timing.timed(
    lambda: AutoModelForCausalLM.from_pretrained(
      scratch / 'hf', dtype=torch.float32, attn_implementation='eager'
    )
  )
  with torch.no_grad():
    theirs = model(torch.tensor([TOKENS])).logits[0].numpy()
  mine = np.load(scratch / 'ours.npy')[:, : theirs.shape[1]]
  return (
    f'{seconds.wall:.1f} s of it loading; largest difference '
    f'{np.abs(mine - theirs).max():.1e}, logits of scale {theirs.std():.2f}'
  )


def convert(
  scratch: pathlib.Path, layers: int, *, start: str, end: str, form: str
) -> str:
  del layers
  from restpg_jax import main as restpg

  code = restpg.main(
    [
      'convert',
      f'--from={scratch / start}',
      f'--to={scratch / end}',
      f'--format={form}',
      '--dtype=bfloat16',
      '--tokenizer=tiny.spm.model',  # smaller than the embedding: allowed
    ]
  )
  if code:
    sys.exit(code)
  return ''


def compare(scratch: pathlib.Path, layers: int) -> str:
  del layers
  import ml_dtypes  # noqa: F401  gives NumPy its bfloat16

  from restpg_jax.io import tensors

  first, second = (
    tensors.TensorReader(scratch / name) for name in ('hf', 'back')
  )
  assert first.shapes == second.shapes
  differ = [
    name
    for name in first.shapes
    if not np.array_equal(
      first.read(name).view(np.uint16), second.read(name).view(np.uint16)
    )
  ]
  return f'{len(differ)} of {len(first.shapes)} tensors differ'


RUN = {
  'write': write,
  'ours': ours,
  'transformers': transformers,
  'to gemma': functools.partial(convert, start='hf', end='gemma', form='gemma'),
  'back': functools.partial(convert, start='gemma', end='back', form='hf'),
  'compare': compare,
}

if __name__ == '__main__':
  main()
