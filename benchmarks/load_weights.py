"""Peak host memory and seconds of reading a model from each kind of folder.

  python benchmarks/load_weights.py [--model=gemma3_270m] [--dtype=bfloat16]

Writes random weights of a published size as our own folder, as a Hugging Face
folder and as a DeepMind checkpoint, and reads each in a process of its own:
onto the host, and leaf by leaf as onto a device, where nothing is kept. The
last column is the bound that must hold: the largest leaf and 1 GB.
"""

import pathlib
import tempfile

import jax.numpy as jnp
import numpy as np
from common import flags, memory, models, processes, timing

from restpg_jax.commands import convert
from restpg_jax.io import checkpoints, weights
from restpg_jax.models import catalog, formats

FORMS = ('ours', 'hf', 'gemma')


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('--model', default='gemma3_270m')
  parser.add_argument('--dtype', default='bfloat16', choices=convert.DTYPES)
  args = parser.parse_args()
  size = catalog.catalog_size(args.model)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    processes.call(write, folder, size, args.dtype)
    largest = max(np.prod(s) for s in formats.shapes(size).values()) * 4
    bound = largest / memory.GB + 1
    print(f'{args.model}, {args.dtype} on disk, float32 in memory; GB')
    print('from    kept    result  above it  bound  seconds')
    for form in FORMS:
      for keep in (True, False):
        peak, result, seconds = processes.call(read, folder / form, keep)
        print(
          f'{form:<7} {str(keep):<7} {result:6.2f}  {peak - result:8.2f}  '
          f'{bound:5.2f}  {seconds:7.1f}'
        )


def write(folder: pathlib.Path, size, dtype: str) -> None:
  """Writes the three folders."""
  rng = np.random.default_rng(0)
  params = formats.nested(
    {
      path: rng.standard_normal(shape, np.float32).astype(jnp.dtype(dtype))
      for path, shape in formats.shapes(size).items()
    }
  )
  checkpoints.save_model(folder / 'ours', params, size)
  models.export(folder, dtype)


def read(path: pathlib.Path, keep: bool) -> tuple[float, float, float]:
  """Returns the peak above the start and the result, in GB, and seconds."""
  source = weights.find_checkpoint(path)
  before = memory.anonymous()
  watch = memory.Watch()
  kept, seconds = timing.timed(read_all, source, keep)
  result = sum(x.nbytes for x in kept) / memory.GB
  return (watch.stop() - before) / memory.GB, result, seconds.wall


def read_all(source, keep: bool) -> list[np.ndarray]:
  """Reads leaf by leaf; keeps them all or none."""
  kept = []
  for _, x in source.leaves():
    if keep:
      kept.append(x)
    del x  # before the next one is read
  return kept


if __name__ == '__main__':
  main()
