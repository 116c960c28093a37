"""Writes models to measure with: the bundled one, or random weights."""

import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax import assets, verb_args
from restpg_jax.commands import convert
from restpg_jax.io import checkpoints, weights
from restpg_jax.models import decoder, formats
from restpg_jax.models import size as sizes

TOKENIZER = 'tiny.spm.model'
EOS, BOS = 1, 2
FIRST_WORD = 4  # the tokens before it are control tokens

# Large enough that arithmetic counts, and a caller's Python hardly.
SIZE_100M = sizes.Size(
  layers=12,
  width=768,
  hidden=2560,
  heads=12,
  kv_heads=4,
  head_size=64,
  vocabulary=32_000,
)


def write_all(
  folder: pathlib.Path, model: str, rng: np.random.Generator
) -> sizes.Size:
  """Writes 'tiny' or '100m' in each package's form, as folder/ours, hf, gemma.

  Returns its size.
  """
  if model == 'tiny':
    shutil.copytree(assets.HERE / 'tiny_pt', folder / 'ours')
    size = weights.find_checkpoint(folder / 'ours').size
  else:
    size = SIZE_100M
    checkpoints.save_model(folder / 'ours', random_parameters(size, rng), size)
  export(folder)
  return size


def export(folder: pathlib.Path, dtype: str = 'float32') -> None:
  """Exports folder/ours as folder/hf and folder/gemma."""
  for form in ('hf', 'gemma'):
    convert.convert_policy(
      verb_args.ConvertArgs(
        source=str(folder / 'ours'),
        to=str(folder / form),
        format=form,
        dtype=dtype,
        tokenizer=str(assets.HERE / TOKENIZER),
      )
    )


def random_parameters(size: sizes.Size, rng: np.random.Generator) -> dict:
  """Draws weights in the form of our folders; activations keep their scale.

  They are nested by their paths, layers stacked.
  """

  def draw(path, shape):
    if path.endswith('scale'):
      return 0.1 * rng.standard_normal(shape, np.float32)
    fan_in = shape[-1] if path == 'embedding' else shape[-2]
    return fan_in**-0.5 * rng.standard_normal(shape, np.float32)

  leaves = formats.shapes(size)
  return formats.nested({p: draw(p, shape) for p, shape in leaves.items()})


def initial_parameters(size: sizes.Size):
  """Draws weights as the decoder's own initialisation does."""
  init = jax.jit(decoder.Decoder(size).init)
  return init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
