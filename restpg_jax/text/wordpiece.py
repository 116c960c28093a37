"""Texts as the word pieces of a BERT: the door to `tokenizers`."""

from collections.abc import Sequence

import tokenizers
from etils import epath
from tokenizers.implementations import bert_wordpiece

from restpg_jax import errors


class WordPiece:
  """The tokenizer that lies beside a BERT's weights."""

  def __init__(self, path: epath.Path, *, lowercase: bool = True):
    """Reads tokenizer.json, or vocab.txt, which does not state `lowercase`.

    Raises InputError where the file holds no tokenizer.
    """
    try:
      text = path.read_text()
      if path.suffix == '.txt':
        text = bert_wordpiece.BertWordPieceTokenizer(
          vocabulary(text), lowercase=lowercase
        ).to_str()
      self._tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as e:  # the library raises nothing more special
      raise errors.InputError(
        f'{path}: no tokenizer of word pieces: {e}'
      ) from e
    self._tokenizer.encode_special_tokens = True  # no text holds a [SEP]
    self._tokenizer.no_padding()  # texts are batched by their own lengths

  def differs(self, text: str) -> str:
    """Names the first piece that has another id in a vocab.txt's text; ''."""
    for piece, i in vocabulary(text).items():
      known = self._tokenizer.token_to_id(piece)
      if known not in (None, i):
        return f'{piece!r} is {known} or {i}'
    return ''

  @property
  def lowercase(self) -> bool | None:
    """Whether all letters become lower case; None where that is not stated."""
    return getattr(self._tokenizer.normalizer, 'lowercase', None)

  @property
  def vocab_size(self) -> int:
    return self._tokenizer.get_vocab_size()

  def encode(self, texts: Sequence[str], limit: int) -> list[list[int]]:
    """Returns the ids of [CLS] text [SEP] for each, at most `limit`."""
    self._tokenizer.enable_truncation(limit)
    return [
      encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))
    ]


def vocabulary(text: str) -> dict[str, int]:
  """Returns piece -> id of a vocab.txt, which has a piece a line."""
  lines = text.removesuffix('\n').split('\n')
  return {piece.rstrip(): i for i, piece in enumerate(lines)}
