"""Texts as the word pieces of a BERT: the one door to `tokenizers`."""

from collections.abc import Sequence

import tokenizers
from tokenizers import implementations

from restpg_jax import errors


class WordPiece:
  """A tokenizer as it lies beside a BERT's weights."""

  def __init__(self, path: str, *, lowercase: bool = True):
    """Of tokenizer.json, or of vocab.txt, which does not say `lowercase`."""
    try:
      if path.endswith('.txt'):
        self._tokenizer = implementations.BertWordPieceTokenizer(
          path, lowercase=lowercase
        )
      else:
        self._tokenizer = tokenizers.Tokenizer.from_file(path)
    except Exception as e:  # the library raises nothing more special
      raise errors.InputError(
        f'{path}: no tokenizer of word pieces: {e}'
      ) from e
    self._tokenizer.no_padding()

  @property
  def vocab_size(self) -> int:
    return self._tokenizer.get_vocab_size()

  def encode(self, texts: Sequence[str], limit: int) -> list[list[int]]:
    """[CLS] text [SEP] each, cut to `limit` ids."""
    self._tokenizer.enable_truncation(limit)
    return [one.ids for one in self._tokenizer.encode_batch(list(texts))]
