"""A SentencePiece model as a tokenizer."""

import re
from collections.abc import Sequence
from typing import Any

import sentencepiece
from google.protobuf import message
from sentencepiece import sentencepiece_model_pb2

from restpg_jax import errors
from restpg_jax.text import tokenizer

# protobuf makes its classes at import, where no type checker sees them.
ModelProto: Any = vars(sentencepiece_model_pb2)['ModelProto']
PIECE = ModelProto.SentencePiece
RANK = re.compile(rb'[A-Za-z0-9+/]+=* \d+')  # a line of tiktoken


class SentencePiece(tokenizer.Tokenizer):
  """A SentencePiece model.

  Control tokens are its CONTROL and UNKNOWN pieces, the turn markers, and all
  USER_DEFINED pieces but those that are text (tokenizer.is_text).
  SentencePiece itself recognises USER_DEFINED pieces inside ordinary text, so
  that a user could forge a chat turn: in Gemma's vocabularies the turns, images
  and <unused0> are of that type.
  """

  def __init__(self, proto: bytes):
    """Raises ValueError for another kind of file, or if it changes texts."""
    if other := another(proto):
      raise ValueError(other)
    model = sentencepiece.SentencePieceProcessor(model_proto=proto)
    # Llama's vocabularies would put a blank before each text, and texts could
    # not be put together from the ids of their parts.
    model.override_normalizer_spec(
      add_dummy_prefix=False, remove_extra_whitespaces=False
    )
    self._model = model
    bos = self._special('bos', model.bos_id())
    self.bos, self.begin = bos, (bos,)
    self.eos = self._special('eos', model.eos_id())
    self.pad = model.pad_id() if model.pad_id() >= 0 else None
    # No text may be changed, so a literal U+2581 is encoded byte by byte.
    self._blank = [
      self._id(f'<0x{byte:02X}>') for byte in tokenizer.BLANK.encode()
    ]
    self.control = frozenset(control(proto))
    self.vocab_size = self.rows = model.vocab_size()
    if self.decode(self.encode(tokenizer.ODD)) != tokenizer.ODD:
      raise ValueError('it normalises text, or has no bytes to fall back on')

  def decode(self, ids: Sequence[int]) -> str:
    # The library takes Python's integers only, not NumPy's.
    return self._model.decode([int(i) for i in ids])

  def piece(self, number: int) -> str:
    return self._model.id_to_piece(number)

  def _texts(self) -> list[str]:
    return [self._model.id_to_piece(i) for i in range(self.vocab_size)]

  def _ids(self, text: str) -> list[int]:
    return self._model.encode(text)

  def _find(self, piece: str) -> int | None:
    number = self._model.piece_to_id(piece)
    return number if self._model.id_to_piece(number) == piece else None

  def _special(self, name: str, number: int) -> int:
    if number < 0:
      raise ValueError(f'the tokenizer has no {name} token')
    return number


def another(proto: bytes) -> str:
  """Says what a file is if it is no SentencePiece model; '' if it is one."""
  lines = proto[:4096].splitlines()
  if proto.startswith(b'version https://git-lfs'):
    return 'a pointer of Git LFS and not the file itself: run `git lfs pull`'
  if proto.lstrip()[:1] == b'{':
    return 'a tokenizer of the library `tokenizers`; name it tokenizer.json'
  if lines and RANK.fullmatch(lines[0]):
    return (
      f"a tiktoken file, as Llama 3's tokenizer.model is; {tokenizer.NEEDED}"
    )
  try:
    pieces = ModelProto.FromString(proto).pieces
  except message.DecodeError:
    pieces = ()
  return '' if pieces else f'a damaged or another kind of file; {errors.CUT}'


def control(proto: bytes) -> list[int]:
  """Returns the ids of the control pieces, by the rule of Tokenizer."""
  pieces = ModelProto.FromString(proto).pieces
  return [i for i, p in enumerate(pieces) if _steers(p.piece, p.type)]


def _steers(piece: str, piece_type: int) -> bool:
  if piece_type == PIECE.USER_DEFINED:
    return not tokenizer.is_text(piece)
  kinds = PIECE.CONTROL, PIECE.UNKNOWN
  return piece_type in kinds or piece in tokenizer.TURNS
