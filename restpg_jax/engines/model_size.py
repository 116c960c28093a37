"""Sizes of models by name, before any weight is read."""

import math

import jax
from etils import epath

from restpg_jax import assets, config, errors
from restpg_jax.io import encoders, records, weights
from restpg_jax.models import bert, catalog, decoder, hf_config


def model_size(checkpoint: str) -> decoder.Size:
  """Of a folder of weights or, where there is none, of the catalog's model of
  that name: 'gemma_2b' is known before it is downloaded."""
  try:
    path = assets.path(checkpoint)
  except errors.InputError:
    if checkpoint in catalog.CATALOG:
      return catalog.catalog_size(checkpoint)
    raise errors.InputError(
      f'{checkpoint}: no such folder of weights, and no model of that name; '
      f'known are {", ".join(catalog.CATALOG)}'
    ) from None
  return weights.find_checkpoint(path).size


def encoder_names(cfg: config.Config) -> list[str]:
  """Checkpoints of encoders that a run reads texts with."""
  names = []
  if cfg.retrieval.name == 'contriever':
    names.append(cfg.retrieval.encoder)
  if 'cosine' in cfg.evaluate.metrics:
    names.append(cfg.evaluate.encoder or cfg.retrieval.encoder)
  return [*dict.fromkeys(names)]


def encoder_size(checkpoint: str) -> bert.EncoderSize:
  """Of a folder or, where there is none, Contriever's: that of BERT base."""
  try:
    path = assets.path(checkpoint)
  except errors.InputError:
    return bert.EncoderSize(12, 768, 3072, 12, vocabulary=30_522, positions=512)
  return encoders.read_encoder_size(path)


def num_parameters(shapes) -> int:
  """Of parameters."""
  return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))


def context_length(path: epath.PathLike) -> int | None:
  """Tokens that the model of a folder was made for: as its config.json says,
  or as a published model of its size; None where neither tells."""
  found = weights.find_checkpoint(path)
  if found.form == 'hf':
    return hf_config.context(records.json_object(found.path / weights.CONFIG))
  return catalog.catalog_context(found.size)
