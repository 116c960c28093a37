"""Tokenizers by name, and whether they belong to their weights."""

from etils import epath

from restpg_jax import assets, errors
from restpg_jax.io import records, weight_folders, weights
from restpg_jax.models import size as sizes
from restpg_jax.text import (
  fast_tokenizer,
  sentencepiece_model,
  tokenizer_json,
)
from restpg_jax.text import tokenizer as tokenizers


def find_model(
  path: epath.PathLike, name: str, *, base: str = ''
) -> tuple[weights.Checkpoint, tokenizers.Tokenizer]:
  """Returns weights to load, and the tokenizer of that path or bundled name.

  `base` is that of an adapter of PEFT, '' where the adapter names its own.
  Raises InputError where it is not the tokenizer that came with the weights, or
  has more pieces than they embed.
  """
  checkpoint = weights.find_checkpoint(path, base)
  tokenizer = load_tokenizer(name, checkpoint.size)
  if checkpoint.tokenizer:
    _check_same(name, tokenizer, checkpoint)
    check_beside(checkpoint.tokenizer)
  return checkpoint, tokenizer


def _check_same(
  name: str, tokenizer: tokenizers.Tokenizer, checkpoint: weights.Checkpoint
) -> None:
  """Raises InputError where the weights came with another tokenizer."""
  file, own_file = tokenizer_file(name), checkpoint.tokenizer
  if own_file is None or file == own_file:
    return
  if weight_folders.is_json(file) != weight_folders.is_json(own_file):
    difference = _json_differs(
      *sorted([file, own_file], key=weight_folders.is_json)
    )
  else:
    own = load_tokenizer(own_file, checkpoint.size)
    if own.vocab_size != tokenizer.vocab_size:
      raise errors.InputError(
        f'{name} has {tokenizer.vocab_size} pieces, but the tokenizer that '
        f'came with the weights has {own.vocab_size}; give {own_file} as their '
        'tokenizer'
      )
    # As many pieces may be other pieces, and ids would mean other texts.
    difference = own.differs(tokenizer)
  if difference:
    raise errors.InputError(
      f'{name} and the tokenizer that came with the weights disagree '
      f'({difference}); give {own_file} as their tokenizer'
    )


def check_beside(path: epath.Path) -> None:
  """Raises InputError where the tokenizer.json beside a SentencePiece file,
  which others read, numbers pieces otherwise."""
  beside = path.parent / tokenizer_json.NAME
  if weight_folders.is_json(path) or not beside.is_file():
    return
  if difference := _json_differs(path, beside):
    raise errors.InputError(
      f'{path} and {beside.name} beside it disagree ({difference}); remove the '
      'one that is not of these weights'
    )


def _json_differs(model: epath.Path, json_file: epath.Path) -> str:
  return tokenizer_json.differs(model.read_bytes(), json_file.read_bytes())


def tokenizer_file(name: epath.PathLike) -> epath.Path:
  """Returns a tokenizer's file by its path, bundled name, or folder."""
  path = assets.path(name)
  if not path.is_dir():
    return path
  file = weight_folders.tokenizer_in(path)
  if file is None:
    raise errors.InputError(
      f'{path}: it has neither {weights.TOKENIZER} nor {tokenizer_json.NAME}; '
      "give a tokenizer's file"
    )
  return file


def load_tokenizer(
  name: epath.PathLike, size: sizes.Size
) -> tokenizers.Tokenizer:
  """Reads a tokenizer; InputError where its ids go beyond the embedding."""
  tokenizer = read_tokenizer(name)
  if tokenizer.rows > size.vocabulary:
    raise errors.InputError(
      f'{tokenizer_file(name)} needs {tokenizer.rows} rows of the embedding '
      f'but the model has {size.vocabulary}; they do not belong together'
    )
  return tokenizer


def read_tokenizer(name: epath.PathLike) -> tokenizers.Tokenizer:
  """Reads a tokenizer by itself, whatever model it belongs to."""
  path = tokenizer_file(name)
  notes = {
    note.name: records.json_object(note)
    for note in weight_folders.tokenizer_notes(path)
  }
  kind = 'SentencePiece model'
  try:
    if not weight_folders.is_json(path):
      return sentencepiece_model.SentencePiece(path.read_bytes())
    kind = tokenizer_json.NAME
    return fast_tokenizer.FastTokenizer(path.read_bytes(), notes)
  except (RuntimeError, ValueError) as e:
    raise errors.InputError(f'{path}: no usable {kind}: {e}') from e
