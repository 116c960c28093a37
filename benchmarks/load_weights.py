"""Peak host memory and seconds of reading a model from each kind of folder.

  python benchmarks/load_weights.py [--model=gemma3_270m] [--dtype=bfloat16]

Writes random weights of a published size as our own folder, as a Hugging Face
folder and as a DeepMind checkpoint, and reads each in a process of its own:
onto the host, and leaf by leaf as onto a device, where nothing is kept. The
last column is the bound that must hold: the largest leaf and 1 GB.
"""

import argparse
import multiprocessing
import pathlib
import resource
import tempfile
import threading
import time

import jax.numpy as jnp
import numpy as np

from restpg_jax import assets, config
from restpg_jax.io import checkpoints, weights
from restpg_jax.models import catalog, formats
from restpg_jax.stages import convert

GB = 1e9
KINDS = ('ours', 'hf', 'gemma')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--model', default='gemma3_270m')
  parser.add_argument('--dtype', default='bfloat16', choices=convert.DTYPES)
  flags = parser.parse_args()
  size = catalog.size(flags.model)
  fresh = multiprocessing.get_context('spawn').Pool
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    with fresh(1) as pool:
      pool.apply(write, (folder, size, flags.dtype))
    largest = max(np.prod(s) for s in formats.shapes(size).values()) * 4 / GB
    print(f'{flags.model}, {flags.dtype} on disk, float32 in memory; GB')
    print('from    kept    result  above it  bound  seconds')
    for kind in KINDS:
      for keep in (True, False):
        with fresh(1) as pool:
          peak, result, seconds = pool.apply(read, (folder / kind, keep))
        print(
          f'{kind:<7} {str(keep):<7} {result:6.2f}  {peak - result:8.2f}  '
          f'{largest + 1:5.2f}  {seconds:7.1f}'
        )


def write(folder: pathlib.Path, size, dtype: str) -> None:
  """The three folders."""
  rng = np.random.default_rng(0)
  params = formats.nested(
    {
      path: rng.standard_normal(shape, np.float32).astype(jnp.dtype(dtype))
      for path, shape in formats.shapes(size).items()
    }
  )
  checkpoints.save_model(folder / 'ours', params, size)
  for kind in KINDS[1:]:
    convert.convert(
      config.Export(
        source=str(folder / 'ours'),
        to=str(folder / kind),
        format=kind,
        dtype=dtype,
        tokenizer=str(assets.HERE / 'tiny.spm.model'),
      )
    )


def read(path: pathlib.Path, keep: bool) -> tuple[float, float, float]:
  """(peak above the start, result, both in GB; seconds)."""
  found = weights.find(path)
  before = anonymous()
  watch = Watch()
  began = time.monotonic()
  kept = []
  for _, x in found.leaves():
    if keep:
      kept.append(x)
    del x  # before the next one is made
  seconds = time.monotonic() - began
  result = sum(x.nbytes for x in kept) / GB
  return watch.stop() - before, result, seconds


class Watch(threading.Thread):
  """The largest memory of this process, pages of mapped files left out."""

  def __init__(self):
    super().__init__(daemon=True)
    self._peak, self._ended = 0.0, threading.Event()
    self.start()

  def run(self):
    while not self._ended.wait(0.002):
      self._peak = max(self._peak, anonymous())

  def stop(self) -> float:
    self._ended.set()
    self.join()
    return max(self._peak, anonymous())


def anonymous() -> float:
  """Memory in GB that is not backed by a file (those pages can be dropped)."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith('RssAnon'):
      return int(line.split()[1]) * 1024 / GB
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB


if __name__ == '__main__':
  main()
