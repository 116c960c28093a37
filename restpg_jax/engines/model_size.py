"""Sizes of models by name, before any weight is read."""

import math
from typing import Any

import jax
from etils import epath

from restpg_jax import assets, config, errors
from restpg_jax.io import encoders, weights
from restpg_jax.models import bert, catalog, formats, hf_config
from restpg_jax.models import size as sizes
from restpg_jax.rewards import mixture


def model_size(checkpoint: str, base: str = '') -> sizes.Size:
  """Returns the size of a folder of weights or, without one, of the catalog.

  So 'gemma_2b' is known before it is downloaded. `base` is that of an adapter
  of PEFT. Raises InputError where there is neither.
  """
  try:
    path = assets.path(checkpoint)
  except errors.InputError:
    if checkpoint in catalog.CATALOG:
      return catalog.catalog_size(checkpoint)
    raise errors.InputError(
      f'{checkpoint}: no such folder of weights, and no model of that name; '
      f'known are {", ".join(catalog.CATALOG)}'
    ) from None
  return weights.find_checkpoint(path, base).size


def encoder_names(
  retrieval: config.Retrieval,
  evaluate: config.Evaluate,
  reward: config.Reward,
) -> list[str]:
  """Returns the checkpoints of the encoders that a run reads texts with."""
  names = []
  if retrieval.name == 'contriever':
    names.append(retrieval.encoder)
  if 'cosine' in evaluate.metrics:
    names.append(evaluate.encoder or retrieval.encoder)
  if mixture.asks(reward, 'cosine'):
    names.append(reward.encoder)
  return [*dict.fromkeys(names)]


def encoder_size(checkpoint: str) -> bert.EncoderSize:
  """Returns the size of a folder or, where there is none, Contriever's."""
  try:
    path = assets.path(checkpoint)
  except errors.InputError:
    # That of BERT base, from which Contriever is trained.
    return bert.EncoderSize(12, 768, 3072, 12, vocabulary=30_522, positions=512)
  return encoders.read_encoder_size(path)


def num_parameters(shapes: Any) -> int:
  """Returns the number of parameters of a tree of arrays or of shapes."""
  return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))


def bytes_on_disk(size: sizes.Size) -> int:
  """Returns the bytes of a model folder of ours: all weights are float32."""
  return 4 * sum(math.prod(shape) for shape in formats.shapes(size).values())


def context_length(path: epath.PathLike, base: str = '') -> int | None:
  """Returns the number of tokens that the model of a folder was trained for.

  Its config.json says so, or it is that of the published model of its size;
  None where neither tells.
  """
  checkpoint = weights.find_checkpoint(path, base)
  published = checkpoint.published.get(weights.CONFIG)
  if published and checkpoint.form in ('hf', 'peft'):
    return hf_config.context(published)
  return catalog.catalog_context(checkpoint.size)
