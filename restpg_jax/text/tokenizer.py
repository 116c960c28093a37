"""SentencePiece, in such a way that text can never become a control token."""

import functools
import re
from collections.abc import Sequence

import sentencepiece
from google.protobuf import message
from sentencepiece import sentencepiece_model_pb2

from restpg_jax import errors

PIECE = sentencepiece_model_pb2.ModelProto.SentencePiece
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
# What a normaliser would change, or a vocabulary without bytes could not say.
ODD = ' \ufb01  \uff21\t\r\n \U0010fffd \u2581 '


class Tokenizer:
  """A SentencePiece model; special ids are read from it, never assumed.

  Control are its CONTROL and UNKNOWN pieces, the turn markers, and all
  USER_DEFINED pieces but those that are text: blanks, tabs and newlines in
  any number, single characters and HTML tags. SentencePiece itself finds
  USER_DEFINED pieces inside ordinary text, and so a user could forge a chat
  turn: in Gemma's vocabularies the turns, images and <unused0> are of that
  type.
  """

  def __init__(self, proto: bytes):
    """Raises ValueError where it cannot serve: no text may be changed."""
    if other := another(proto):
      raise ValueError(other)
    model = sentencepiece.SentencePieceProcessor(model_proto=proto)
    # Llama's vocabularies would put a blank before each text.
    model.override_normalizer_spec(
      add_dummy_prefix=False, remove_extra_whitespaces=False
    )
    self._model = model
    self.bos = self._special('bos', model.bos_id())
    self.eos = self._special('eos', model.eos_id())
    self.pad = model.pad_id() if model.pad_id() >= 0 else None
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
    """Ids of plain text; `<eos>` and the like stay the characters they are.

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

  def differs(self, other: 'Tokenizer') -> str:
    """The first id that is other text there, where both have as many; ''."""
    steer = self.control | other.control  # renamed in many a fine-tuned model
    ids = [i for i in range(self.vocab_size) if i not in steer]
    pieces = (m._model.id_to_piece(ids) for m in (self, other))
    pairs = zip(ids, *pieces, strict=True)
    return next((f'{i} is {a!r} or {b!r}' for i, a, b in pairs if a != b), '')

  def _plain(self, text: str) -> list[int]:
    """A sign that looks like SentencePiece's blank goes as its bytes."""
    ids, *rest = map(self._model.encode, text.split(BLANK))
    for more in rest:
      ids += self._blank + more
    return ids

  def _spelt(self, number: int) -> list[int]:
    """A control piece as characters: its first one, and then the others."""
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
  """What a file is that is no SentencePiece model; '' for one that is."""
  lines = proto[:4096].splitlines()
  if proto.startswith(b'version https://git-lfs'):
    return 'a pointer of Git LFS and not the file itself: run `git lfs pull`'
  if proto.lstrip()[:1] == b'{':
    return f'a tokenizer of the library `tokenizers` (JSON); {NEEDED}'
  if lines and RANK.fullmatch(lines[0]):
    return f"a tiktoken file, as Llama 3's tokenizer.model is; {NEEDED}"
  try:
    pieces = sentencepiece_model_pb2.ModelProto.FromString(proto).pieces
  except message.DecodeError:
    pieces = ()
  return '' if pieces else f'a damaged or another kind of file; {errors.CUT}'


def control(proto: bytes) -> list[int]:
  """Ids of the control pieces, by the rule above."""
  pieces = sentencepiece_model_pb2.ModelProto.FromString(proto).pieces
  return [i for i, p in enumerate(pieces) if _steers(p.piece, p.type)]


def _steers(piece: str, kind: int) -> bool:
  if kind == PIECE.USER_DEFINED:
    shown = piece.replace(BLANK, ' ')
    return len(shown) > 1 and not shown.isspace() and not HTML.fullmatch(shown)
  return kind in (PIECE.CONTROL, PIECE.UNKNOWN) or piece in TURNS
