"""Tokenizers by name, and whether they belong to their weights."""

from etils import epath

from restpg_jax import assets, errors
from restpg_jax.io import weights
from restpg_jax.models import size as sizes
from restpg_jax.text import tokenizer as tokenizers
from restpg_jax.text import tokenizer_json


def find_model(
  path: epath.PathLike, name: str
) -> tuple[weights.Checkpoint, tokenizers.Tokenizer]:
  """Returns weights to load, and the tokenizer of that path or bundled name.

  Raises InputError where it is not the tokenizer that came with the weights, or
  has more pieces than they embed.
  """
  checkpoint = weights.find_checkpoint(path)
  tokenizer = load_tokenizer(name, checkpoint.size)
  if checkpoint.tokenizer:
    own = load_tokenizer(checkpoint.tokenizer, checkpoint.size)
    if own.vocab_size != tokenizer.vocab_size:
      raise errors.InputError(
        f'{name} has {tokenizer.vocab_size} pieces, but the tokenizer that '
        f'came with the weights has {own.vocab_size}; give '
        f'{checkpoint.tokenizer} as their tokenizer'
      )
    # As many pieces may be other pieces, and ids would mean other texts.
    if difference := own.differs(tokenizer):
      raise errors.InputError(
        f'{name} and the tokenizer that came with the weights disagree '
        f'({difference}); give {checkpoint.tokenizer} as their tokenizer'
      )
    check_beside(checkpoint.tokenizer)
  return checkpoint, tokenizer


def check_beside(path: epath.Path) -> None:
  """Raises InputError where the tokenizer.json beside a SentencePiece file,
  which others read, numbers pieces otherwise."""
  beside = path.parent / tokenizer_json.NAME
  if not beside.is_file():
    return
  difference = tokenizer_json.differs(path.read_bytes(), beside.read_bytes())
  if difference:
    raise errors.InputError(
      f'{path} and {beside.name} beside it disagree ({difference}); remove the '
      'one that is not of these weights'
    )


def tokenizer_file(name: epath.PathLike) -> epath.Path:
  """Returns a SentencePiece file by its path, bundled name, or folder."""
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
  name: epath.PathLike, size: sizes.Size
) -> tokenizers.Tokenizer:
  """Reads a tokenizer; InputError where its ids go beyond the embedding."""
  tokenizer = read_tokenizer(name)
  if tokenizer.vocab_size > size.vocabulary:
    raise errors.InputError(
      f'{tokenizer_file(name)} has {tokenizer.vocab_size} pieces but the '
      f'model embeds only {size.vocabulary}; they do not belong together'
    )
  return tokenizer


def read_tokenizer(name: epath.PathLike) -> tokenizers.Tokenizer:
  """Reads a tokenizer by itself, whatever model it belongs to."""
  path = tokenizer_file(name)
  try:
    return tokenizers.Tokenizer(path.read_bytes())
  except (RuntimeError, ValueError) as e:
    raise errors.InputError(
      f'{path}: no usable SentencePiece model: {e}'
    ) from e
