"""A SentencePiece tokenizer with which text never becomes a control token."""

import functools
import re
from collections.abc import Sequence
from typing import Any

import sentencepiece
from google.protobuf import message
from sentencepiece import sentencepiece_model_pb2

from restpg_jax import errors

# protobuf makes its classes at import, where no type checker sees them.
ModelProto: Any = vars(sentencepiece_model_pb2)['ModelProto']
PIECE = ModelProto.SentencePiece
BLANK = '\u2581'  # SentencePiece's own sign for a blank
HTML = re.compile(
  r'</?(a|b|blockquote|body|caption|code|div|em|footer|h[1-6]|html|i|iframe|img'
  r'|li|s|span|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|u|ul)>'
)
NEEDED = (
  "only SentencePiece models are read, as Gemma's and Llama 2's tokenizer.model"
)
RANK = re.compile(rb'[A-Za-z0-9+/]+=* \d+')  # a line of tiktoken
TURNS = ('<start_of_turn>', '<end_of_turn>')
# What a normaliser would change, or a vocabulary without bytes cannot encode.
ODD = ' \ufb01  \uff21\t\r\n \U0010fffd \u2581 '


class Tokenizer:
  """A SentencePiece model; special ids are read from it, never assumed.

  Control tokens are its CONTROL and UNKNOWN pieces, the turn markers, and all
  USER_DEFINED pieces but those that are text: blanks, tabs and newlines in
  any number, single characters and HTML tags. SentencePiece itself recognises
  USER_DEFINED pieces inside ordinary text, so that a user could forge a chat
  turn: in Gemma's vocabularies the turns, images and <unused0> are of that
  type.
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
    self.bos = self._special('bos', model.bos_id())
    self.eos = self._special('eos', model.eos_id())
    self.pad = model.pad_id() if model.pad_id() >= 0 else None
    # No text may be changed, so a literal U+2581 is encoded byte by byte.
    self._blank = [self._id(f'<0x{byte:02X}>') for byte in BLANK.encode()]
    self.control = frozenset(control(proto))  # ids that no text becomes
    if self.decode(self.encode(ODD)) != ODD:
      raise ValueError('it normalises text, or has no bytes to fall back on')

  @property
  def vocab_size(self) -> int:
    return self._model.vocab_size()

  @functools.cached_property
  def start_of_turn(self) -> int:
    return self._turn(TURNS[0])

  @functools.cached_property
  def end_of_turn(self) -> int:
    return self._turn(TURNS[1])

  def encode(self, text: str) -> list[int]:
    """Returns the ids of plain text; `<eos>` and the like remain characters.

    decode(encode(text)) == text
    """
    ids = self._plain(text)
    if self.control.isdisjoint(ids):
      return ids
    return [
      part
      for i in ids
      for part in (self._spelt(i) if i in self.control else [i])
    ]

  def decode(self, ids: Sequence[int]) -> str:
    # The library takes Python's integers only, not NumPy's.
    return self._model.decode([int(i) for i in ids])

  def user_turn(self, text: str) -> list[int]:
    """Returns a chat prompt of Gemma's IT models, up to the model's turn."""
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
    """The ids of all pieces that begin with a digit: they continue a number."""
    pieces = [self._model.id_to_piece(i) for i in range(self.vocab_size)]
    return tuple(i for i, p in enumerate(pieces) if p[0].isdigit())

  def differs(self, other: 'Tokenizer') -> str:
    """Names the first id that is other text in `other`; '' if there is none.

    Both must have the same vocab_size.
    """
    # Many fine-tuned models rename control pieces, which changes no text.
    steer = self.control | other.control
    ids = [i for i in range(self.vocab_size) if i not in steer]
    pieces = (m._model.id_to_piece(ids) for m in (self, other))
    pairs = zip(ids, *pieces, strict=True)
    return next((f'{i} is {a!r} or {b!r}' for i, a, b in pairs if a != b), '')

  def _plain(self, text: str) -> list[int]:
    """Encodes a text; characters that are SentencePiece's blank go as bytes."""
    ids, *rest = map(self._model.encode, text.split(BLANK))
    for more in rest:
      ids += self._blank + more
    return ids

  def _spelt(self, number: int) -> list[int]:
    """Encodes a control piece as characters: its first one, then the others."""
    text = self._model.id_to_piece(number).replace(BLANK, ' ')
    return self.encode(text[0]) + self.encode(text[1:])

  def _turn(self, piece: str) -> int:
    try:
      return self._id(piece)
    except ValueError as e:
      raise errors.InputError(
        f'{e}: reasoner and judge need an instruction-tuned Gemma with its own '
        'tokenizer (reason.model.tokenizer, reward.model.tokenizer)'
      ) from e

  def _special(self, name: str, number: int) -> int:
    if number < 0:
      raise ValueError(f'the tokenizer has no {name} token')
    return number

  def _id(self, piece: str) -> int:
    number = self._model.piece_to_id(piece)
    if self._model.id_to_piece(number) != piece:
      raise ValueError(f'the tokenizer has no piece {piece}')
    return number


def another(proto: bytes) -> str:
  """Says what a file is if it is no SentencePiece model; '' if it is one."""
  lines = proto[:4096].splitlines()
  if proto.startswith(b'version https://git-lfs'):
    return 'a pointer of Git LFS and not the file itself: run `git lfs pull`'
  if proto.lstrip()[:1] == b'{':
    return f'a tokenizer of the library `tokenizers` (JSON); {NEEDED}'
  if lines and RANK.fullmatch(lines[0]):
    return f"a tiktoken file, as Llama 3's tokenizer.model is; {NEEDED}"
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
    shown = piece.replace(BLANK, ' ')
    return len(shown) > 1 and not shown.isspace() and not HTML.fullmatch(shown)
  return piece_type in (PIECE.CONTROL, PIECE.UNKNOWN) or piece in TURNS
