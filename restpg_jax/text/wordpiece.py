"""Texts as the word pieces of a BERT: the one door to `tokenizers`."""

from collections.abc import Sequence

import tokenizers
from etils import epath
from tokenizers import implementations

from restpg_jax import errors


class WordPiece:
  """A tokenizer as it lies beside a BERT's weights."""

  def __init__(self, path: epath.Path, *, lowercase: bool = True):
    """Of tokenizer.json, or of vocab.txt, which does not say `lowercase`."""
    try:
      text = path.read_text()
      if path.suffix == '.txt':
        self._tokenizer = implementations.BertWordPieceTokenizer(
          vocabulary(text), lowercase=lowercase
        )
      else:
        self._tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as e:  # the library raises nothing more special
      raise errors.InputError(
        f'{path}: no tokenizer of word pieces: {e}'
      ) from e
    self._tokenizer.no_padding()

  def differs(self, text: str) -> str:
    """The first piece that has another id in such a vocab.txt; ''."""
    for piece, i in vocabulary(text).items():
      known = self._tokenizer.token_to_id(piece)
      if known not in (None, i):
        return f'{piece!r} is {known} or {i}'
    return ''

  @property
  def lowercase(self) -> bool | None:
    """Whether it lowers all letters; None where it does not say so."""
    return getattr(self._tokenizer.normalizer, 'lowercase', None)

  @property
  def vocab_size(self) -> int:
    return self._tokenizer.get_vocab_size()

  def encode(self, texts: Sequence[str], limit: int) -> list[list[int]]:
    """[CLS] text [SEP] each, cut to `limit` ids."""
    self._tokenizer.enable_truncation(limit)
    return [one.ids for one in self._tokenizer.encode_batch(list(texts))]


def vocabulary(text: str) -> dict[str, int]:
  """Of a vocab.txt, a piece a line."""
  lines = text.removesuffix('\n').split('\n')
  return {piece.rstrip(): i for i, piece in enumerate(lines)}
