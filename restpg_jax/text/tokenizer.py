"""SentencePiece, in such a way that text can never become a control token."""

import functools
import re
from collections.abc import Sequence

import sentencepiece

# Pieces that steer a model. In Gemma's vocabularies they are matched inside
# ordinary text, so that a user could forge a chat turn.
CONTROL = re.compile(
  r'<(pad|eos|bos|unk|mask|2mass|unused\d+|start_of_\w+|end_of_\w+)>'
  r'|\[(@BOS@|multimodal|toxicity=0)\]'
)
BLANK = '\u2581'  # SentencePiece's own sign for a blank


class Tokenizer:
  """A SentencePiece model; special ids are read from it, never assumed."""

  def __init__(self, proto: bytes):
    self._model = sentencepiece.SentencePieceProcessor(model_proto=proto)
    self.pad = self._id('<pad>')
    self.eos = self._id('<eos>')
    self.bos = self._id('<bos>')
    self.start_of_turn = self._id('<start_of_turn>')
    self.end_of_turn = self._id('<end_of_turn>')
    self._blank = [self._id(f'<0x{byte:02X}>') for byte in BLANK.encode()]

  @property
  def vocab_size(self) -> int:
    return self._model.vocab_size()

  def encode(self, text: str) -> list[int]:
    """Ids of plain text; `<eos>` and the like stay the characters they are.

    decode(encode(text)) == text
    """
    ids = []
    start = 0
    for match in CONTROL.finditer(text):
      # Cut behind the '<' or '[': neither part can match a control piece.
      ids += self._plain(text[start : match.start() + 1])
      start = match.start() + 1
    return ids + self._plain(text[start:])

  def decode(self, ids: Sequence[int]) -> str:
    return self._model.decode([int(i) for i in ids])

  def user_turn(self, text: str) -> list[int]:
    """A chat prompt as Gemma's IT models read it, up to the model's turn."""
    turn = [self.start_of_turn]
    return [
      self.bos,
      *turn,
      *self.encode(f'user\n{text}'),
      self.end_of_turn,
      *self.encode('\n'),
      *turn,
      *self.encode('model\n'),
    ]

  @functools.cached_property
  def digits(self) -> tuple[int, ...]:
    """Ids of all pieces that begin with a digit: they would go on a number."""
    pieces = [self._model.id_to_piece(i) for i in range(self.vocab_size)]
    return tuple(i for i, p in enumerate(pieces) if p[0].isdigit())

  def _plain(self, text: str) -> list[int]:
    """A sign that looks like SentencePiece's blank goes as its bytes."""
    ids, *rest = map(self._model.encode, text.split(BLANK))
    for more in rest:
      ids += self._blank + more
    return ids

  def _id(self, piece: str) -> int:
    number = self._model.piece_to_id(piece)
    if self._model.id_to_piece(number) != piece:
      raise ValueError(f'the tokenizer has no piece {piece}')
    return number
