"""Builds the same Gemma 1 in the packages of others."""

import json
import os
import pathlib


def size_of(folder: str) -> dict:
  """Returns the shape of the model in folder/ours, as its file states it."""
  path = pathlib.Path(folder) / 'ours' / 'model.json'
  return json.loads(path.read_text())['size']


def config(size: dict) -> dict:
  """Returns the sizes of a Gemma 1 by the names of DeepMind and Tunix."""
  return {
    'num_embed': size['vocabulary'],
    'embed_dim': size['width'],
    'hidden_dim': size['hidden'],
    'num_heads': size['heads'],
    'head_dim': size['head_size'],
    'num_kv_heads': size['kv_heads'],
    'final_logit_softcap': None,
    'use_post_attn_norm': False,
    'use_post_ffw_norm': False,
  }


def tunix(folder: str):
  """Returns Tunix's Gemma with the weights of folder/gemma."""
  from flax import nnx
  from tunix.models.gemma import model as gemma  # pyright: ignore
  from tunix.models.gemma import params  # pyright: ignore

  size = size_of(folder)
  shape = gemma.ModelConfig(
    num_layers=size['layers'],
    attention_types=(gemma.AttentionType.GLOBAL,) * size['layers'],
    **config(size),
  )
  path = os.path.abspath(pathlib.Path(folder) / 'gemma')
  return gemma.module_from_linen_variables(
    module_factory=lambda: gemma.Gemma(shape, rngs=nnx.Rngs(params=0)),
    variables=params.load_and_format_params(path)['transformer'],
    map_key_fn=gemma._map_linen_var_names,
    assign_val_fn=gemma._assign_linen_params_to_nnx_state,
  )
