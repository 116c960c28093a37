"""The files of a tokenizer beside exported weights."""

import json
from typing import Any

from etils import epath

from restpg_jax import errors
from restpg_jax.io import records, weight_folders, weights
from restpg_jax.text import fast_tokenizer, tokenizer_json, turns
from restpg_jax.text import tokenizer as tokenizers

# Files beside a tokenizer that are kept: they hold the chat template.
COMPANIONS = (
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'chat_template.json',
  'added_tokens.json',
)
TEMPLATES = 'chat_template.jinja', 'chat_template.json'


def own_files(tokenizer_path: epath.Path) -> dict[str, bytes]:
  """Returns the files without which we could not read a tokenizer, by name."""
  whole = weight_folders.is_json(tokenizer_path)
  name = weight_folders.TOKENIZER_JSON if whole else weights.TOKENIZER
  return {name: tokenizer_path.read_bytes()} | {
    note.name: note.read_bytes()
    for note in weight_folders.tokenizer_notes(tokenizer_path)
    if note.name != weights.GENERATION  # is written with the weights
  }


def hf_files(
  tokenizer: tokenizers.Tokenizer, tokenizer_path: epath.Path
) -> dict[str, bytes]:
  """Returns the files of a tokenizer for Hugging Face, by name.

  Where the vocabulary has turns and no chat template came with it, that of its
  turns is one of them.
  """
  files = _tokenizer_files(tokenizer, tokenizer_path)
  form = turns.form_of(tokenizer)
  held = _template(files.get(COMPANIONS[1], b'{}'), tokenizer_path)
  if not form or held or {*TEMPLATES} & {*files}:
    return files
  template = turns.chat_template(tokenizer, form)
  return files | {TEMPLATES[0]: template.encode()}


def _tokenizer_files(
  tokenizer: tokenizers.Tokenizer, tokenizer_path: epath.Path
) -> dict[str, bytes]:
  """Returns the files of a tokenizer without a template of ours, by name.

  Those beside it are kept; what is missing is made of the tokenizer, with the
  chat template if there is one.
  """
  beside = [tokenizer_path.parent / name for name in COMPANIONS]
  existing = {path.name: path.read_bytes() for path in beside if path.is_file()}
  whole, config = COMPANIONS[:2]
  if isinstance(tokenizer, fast_tokenizer.FastTokenizer):
    existing[whole] = tokenizer_path.read_bytes()  # under whatever name
    existing.setdefault(config, records.indented(tokenizer.config()))
  if {whole, config} <= set(existing):
    return existing
  files = tokenizer_json.files(tokenizer_path.read_bytes())
  template = _template(existing.pop(config, b'{}'), tokenizer_path)
  if template:
    files[config]['chat_template'] = template
  existing.pop(whole, None)
  return existing | {
    n: records.indented(content) for n, content in files.items()
  }


def _template(notes: bytes, tokenizer_path: epath.Path) -> Any:
  """Returns the chat template that a tokenizer_config.json holds, if any."""
  try:
    return json.loads(notes).get('chat_template')
  except (ValueError, AttributeError) as e:
    raise errors.InputError(
      f'{tokenizer_path.parent / COMPANIONS[1]}: no whole JSON '
      f'({errors.detail(e)}); {errors.CUT}'
    ) from e
