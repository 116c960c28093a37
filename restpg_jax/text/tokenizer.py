"""What a tokenizer of any kind does; text never becomes a control token.

There are two kinds: SentencePiece models (text/sentencepiece_model.py) and the
tokenizer.json of the library `tokenizers` (text/fast_tokenizer.py).
"""

import abc
import functools
import re
from collections.abc import Sequence

BLANK = '\u2581'  # SentencePiece's own sign for a blank
HTML = re.compile(
  r'</?(a|b|blockquote|body|caption|code|div|em|footer|h[1-6]|html|i|iframe|img'
  r'|li|s|span|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|u|ul)>'
)
TURNS = ('<start_of_turn>', '<end_of_turn>')
# What a normaliser would change, or a vocabulary without bytes cannot encode.
ODD = ' \ufb01  \uff21\t\r\n \U0010fffd \u2581 '
NEEDED = (
  "read are SentencePiece models, as Gemma's and Llama 2's tokenizer.model, "
  'and tokenizer.json with a BPE or Unigram model that encodes any text'
)


class Tokenizer(abc.ABC):
  """Texts as ids and back; special ids are read from files, never assumed.

  Control tokens are never part of what `encode` returns: a user's text could
  forge a chat turn otherwise.
  """

  bos: int | None
  eos: int
  pad: int | None
  begin: tuple[int, ...]  # what stands before the text of a prompt: bos, if any
  vocab_size: int  # the highest id + 1
  rows: int  # the rows of an embedding that texts and special tokens need
  control: frozenset[int]  # ids that no text becomes
  ends: tuple[int, ...] = ()  # what else a model's folder says to end at
  # The ids of a literal U+2581, where it would be decoded as a blank.
  _blank: Sequence[int] | None

  @abc.abstractmethod
  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids; a character that is cut short is U+FFFD."""

  @abc.abstractmethod
  def piece(self, number: int) -> str:
    """Returns a token as its vocabulary writes it."""

  @abc.abstractmethod
  def _find(self, piece: str) -> int | None:
    """Returns the id of a piece, if there is one."""

  @abc.abstractmethod
  def _ids(self, text: str) -> list[int]:
    """Encodes a text that holds no BLANK; control tokens may come out."""

  @abc.abstractmethod
  def _texts(self) -> list[str]:
    """Returns the text of each id by itself."""

  @functools.cached_property
  def digits(self) -> tuple[int, ...]:
    """The ids of all texts that begin with a digit: they continue a number."""
    return tuple(i for i, t in enumerate(self._texts()) if t[:1].isdigit())

  @functools.cached_property
  def control_ids(self) -> dict[str, int]:
    """The ids that no text becomes, by their pieces."""
    return {self.piece(i): i for i in sorted(self.control)}

  def encode(self, text: str) -> list[int]:
    """Returns the ids of plain text; `<eos>` and the like remain characters.

    decode(encode(text)) == text, but for what the file's own Unicode
    normalisation (NFC, as Qwen's) composes.
    """
    ids = self._plain(text)
    if self.control.isdisjoint(ids):
      return ids
    return [
      part
      for i in ids
      for part in (self._spelt(i) if i in self.control else [i])
    ]

  def differs(self, other: 'Tokenizer') -> str:
    """Names the first id that is other text in `other`; '' if there is none.

    Both must have the same vocab_size.
    """
    # Many fine-tuned models rename control pieces, which changes no text.
    steer = self.control | other.control
    ids = [i for i in range(self.vocab_size) if i not in steer]
    pairs = ((i, self.piece(i), other.piece(i)) for i in ids)
    return next((f'{i} is {a!r} or {b!r}' for i, a, b in pairs if a != b), '')

  def _plain(self, text: str) -> list[int]:
    """Encodes a text; a literal BLANK goes as bytes."""
    if self._blank is None:
      return self._ids(text)
    ids, *rest = map(self._ids, text.split(BLANK))
    for more in rest:
      ids += [*self._blank, *more]
    return ids

  def _spelt(self, number: int) -> list[int]:
    """Encodes a control piece as characters: its first one, then the others."""
    text = self.piece(number).replace(BLANK, ' ')
    return self.encode(text[0]) + self.encode(text[1:])

  def _id(self, piece: str) -> int:
    number = self._find(piece)
    if number is None:
      raise ValueError(f'the tokenizer has no piece {piece}')
    return number


def is_text(piece: str) -> bool:
  """Returns whether an added piece is text: blanks, tabs and newlines in any
  number, a single character or an HTML tag. Others steer a model."""
  shown = piece.replace(BLANK, ' ')
  return len(shown) < 2 or shown.isspace() or bool(HTML.fullmatch(shown))
