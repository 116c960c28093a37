"""What tests of exported weights share: models, and the command on them."""

import dataclasses
import json

from restpg_jax import assets, verb_args
from restpg_jax.commands import convert
from restpg_jax.io import checkpoints
from tests.models import families

TOKENIZER = assets.HERE / 'tiny.spm.model'
VOCABULARY = 1024
ODD_CONFIG = {
  'max_position_embeddings': 2048,
  'eos_token_id': [1, 5],
  'initializer_range': 0.03,
  'attention_dropout': 0.125,
  'use_cache': False,
}
ODD_GENERATION = {
  'bos_token_id': 2,
  'eos_token_id': [1, 5],
  'pad_token_id': 0,
  'do_sample': True,
  'top_k': 64,
  'top_p': 0.95,
}


def sizes():
  """One of each family, with room for the bundled tokenizer."""
  return {
    name: dataclasses.replace(size, vocabulary=VOCABULARY)
    for name, size in families.ALL.items()
  }


def saved(path, size):
  checkpoints.save_model(path, families.parameters(size), size)
  return path


def export(source, to, **flags):
  tokenizer = flags.pop('tokenizer', str(TOKENIZER))
  return convert.convert_policy(
    verb_args.ConvertArgs(str(source), str(to), tokenizer=tokenizer, **flags)
  )


def read(path):
  return json.loads(path.read_text())
