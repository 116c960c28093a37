"""Tokenizers by name, and whether they belong to their weights."""

from etils import epath

from restpg_jax import assets, errors
from restpg_jax.io import weights
from restpg_jax.models import decoder
from restpg_jax.text import tokenizer as tokenizers
from restpg_jax.text import tokenizer_json


def find_model(
  checkpoint: epath.PathLike, tokenizer: str
) -> tuple[weights.Checkpoint, tokenizers.Tokenizer]:
  """Weights to load, and their tokenizer; InputError where they do not fit."""
  found = weights.find_checkpoint(checkpoint)
  words = load_tokenizer(tokenizer, found.size)
  if found.tokenizer:
    own = load_tokenizer(found.tokenizer, found.size)
    if own.vocab_size != words.vocab_size:
      raise errors.InputError(
        f'{tokenizer} has {words.vocab_size} pieces, but the tokenizer that '
        f'came with the weights has {own.vocab_size}; give {found.tokenizer} '
        'as their tokenizer'
      )
    if other := own.differs(words):
      raise errors.InputError(
        f'{tokenizer} and the tokenizer that came with the weights disagree '
        f'({other}); give {found.tokenizer} as their tokenizer'
      )
    check_beside(found.tokenizer)
  return found, words


def check_beside(path: epath.Path) -> None:
  """Raises InputError where the tokenizer.json beside a SentencePiece file,
  which others read, numbers pieces otherwise."""
  beside = path.parent / tokenizer_json.NAME
  if not beside.is_file():
    return
  if other := tokenizer_json.differs(path.read_bytes(), beside.read_bytes()):
    raise errors.InputError(
      f'{path} and {beside.name} beside it disagree ({other}); remove the one '
      'that is not of these weights'
    )


def tokenizer_file(name: epath.PathLike) -> epath.Path:
  """A file, a bundled name, or the tokenizer.model of a folder."""
  path = assets.path(name)
  if not path.is_dir():
    return path
  if not (path / weights.TOKENIZER).is_file():
    json_only = (path / tokenizer_json.NAME).is_file()
    raise errors.InputError(
      f'{path}: it has no {weights.TOKENIZER}'
      + (f' but {tokenizer_json.NAME}; {tokenizers.NEEDED}' * json_only)
      + '; give a SentencePiece file'
    )
  return path / weights.TOKENIZER


def load_tokenizer(
  name: epath.PathLike, size: decoder.Size
) -> tokenizers.Tokenizer:
  """Raises InputError where its ids go beyond the model's embedding."""
  words = read_tokenizer(name)
  if words.vocab_size > size.vocabulary:
    raise errors.InputError(
      f'{tokenizer_file(name)} has {words.vocab_size} pieces but the model '
      f'embeds only {size.vocabulary}; they do not belong together'
    )
  return words


def read_tokenizer(name: epath.PathLike) -> tokenizers.Tokenizer:
  """By itself, of whatever model it is."""
  path = tokenizer_file(name)
  try:
    return tokenizers.Tokenizer(path.read_bytes())
  except (RuntimeError, ValueError) as e:
    raise errors.InputError(
      f'{path}: no usable SentencePiece model: {e}'
    ) from e
