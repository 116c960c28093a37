"""A SentencePiece model as files that Hugging Face's AutoTokenizer opens.

Pieces, ids and cuts are the same; only control pieces inside a text are read as
control tokens there, as everywhere in that library.
"""

import json
from collections.abc import Sequence
from typing import Any

from restpg_jax.text import sentencepiece_model, tokenizer

NAME = 'tokenizer.json'
BLANK = tokenizer.BLANK
Piece = sentencepiece_model.PIECE
NEVER = -1e6  # a score so low that no text is cut into such pieces


def files(proto: bytes) -> dict[str, dict[str, Any]]:
  """Returns tokenizer.json and tokenizer_config.json, name -> content."""
  model = sentencepiece_model.ModelProto.FromString(proto)
  own = sentencepiece_model.SentencePiece(proto)
  pieces = list(model.pieces)
  (bos,) = own.begin
  names = {
    'bos_token': pieces[bos].piece,
    'eos_token': pieces[own.eos].piece,
    'unk_token': next(p.piece for p in pieces if p.type == Piece.UNKNOWN),
  }
  if own.pad is not None:
    names['pad_token'] = pieces[own.pad].piece
  trained = model.trainer_spec
  cut = _unigram if trained.model_type == trained.UNIGRAM else _bpe
  return {
    NAME: {
      'version': '1.0',
      'added_tokens': [
        _added(i, p.piece, i in own.control)
        for i, p in enumerate(pieces)
        if i in own.control or p.type == Piece.USER_DEFINED
      ],
      'normalizer': {
        'type': 'Replace',
        'pattern': {'String': ' '},
        'content': BLANK,
      },
      'pre_tokenizer': None,
      'post_processor': _begin(names['bos_token'], bos),
      'decoder': {
        'type': 'Sequence',
        'decoders': [
          {'type': 'Replace', 'pattern': {'String': BLANK}, 'content': ' '},
          {'type': 'ByteFallback'},
          {'type': 'Fuse'},
        ],
      },
      'model': cut(pieces),
    },
    'tokenizer_config.json': {
      'tokenizer_class': 'PreTrainedTokenizerFast',
      'clean_up_tokenization_spaces': False,
      'padding_side': 'left',
      **names,
    },
  }


def differs(proto: bytes, content: bytes) -> str:
  """Names the first piece that has another id in a tokenizer.json; ''."""
  try:
    vocab = json.loads(content)['model']['vocab']
    if isinstance(vocab, list):
      vocab = {piece: i for i, (piece, _) in enumerate(vocab)}
    known = dict(vocab)
  except (ValueError, TypeError, KeyError):
    return ''  # another form of tokenizer, which nobody reads here
  pieces = sentencepiece_model.ModelProto.FromString(proto).pieces
  for i, p in enumerate(pieces):
    if p.type == Piece.NORMAL and known.get(p.piece, i) != i:
      return f'{p.piece!r} is {i} or {known[p.piece]}'
  return ''


def _added(number: int, piece: str, special: bool) -> dict[str, Any]:
  return {
    'id': number,
    'content': piece,
    'single_word': False,
    'lstrip': False,
    'rstrip': False,
    'normalized': BLANK in piece,  # sought where blanks are already signs
    'special': special,
  }


def _begin(bos: str, number: int) -> dict[str, Any]:
  """Returns a post-processor that puts <bos> before each text."""
  token = {'SpecialToken': {'id': bos, 'type_id': 0}}
  return {
    'type': 'TemplateProcessing',
    'single': [token, {'Sequence': {'id': 'A', 'type_id': 0}}],
    'pair': [
      token,
      {'Sequence': {'id': 'A', 'type_id': 0}},
      {'SpecialToken': {'id': bos, 'type_id': 1}},
      {'Sequence': {'id': 'B', 'type_id': 1}},
    ],
    'special_tokens': {bos: {'id': bos, 'ids': [number], 'tokens': [bos]}},
  }


def _unigram(pieces: Sequence[Any]) -> dict[str, Any]:
  return {
    'type': 'Unigram',
    'unk_id': next(i for i, p in enumerate(pieces) if p.type == Piece.UNKNOWN),
    'byte_fallback': True,
    'vocab': [
      [p.piece, p.score if p.type == Piece.NORMAL else NEVER] for p in pieces
    ],
  }


def _bpe(pieces: Sequence[Any]) -> dict[str, Any]:
  """Returns a BPE model: pieces join by score, as in SentencePiece.

  The library wants a list of merges, which SentencePiece does not store: each
  cut of a piece into two pieces is one.
  """
  normal = {p.piece: p.score for p in pieces if p.type == Piece.NORMAL}
  order = sorted(normal, key=lambda piece: -normal[piece])
  merges = [
    [piece[:n], piece[n:]]
    for piece in order
    for n in range(1, len(piece))
    if piece[:n] in normal and piece[n:] in normal
  ]
  return {
    'type': 'BPE',
    'unk_token': next(p.piece for p in pieces if p.type == Piece.UNKNOWN),
    'fuse_unk': True,
    'byte_fallback': True,
    'vocab': {p.piece: i for i, p in enumerate(pieces)},
    'merges': merges,
  }
