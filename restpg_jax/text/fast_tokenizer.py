"""A tokenizer.json of the library `tokenizers`, with the notes beside it.

Ids are those of `transformers`, which calls these fast tokenizers, and so are
decoded texts. Three things differ on purpose: added tokens inside a text stay
characters, no blank is put before a text, and a literal U+2581 stays itself.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

from restpg_jax import errors
from restpg_jax.text import tokenizer

CONFIG, MAP = 'tokenizer_config.json', 'special_tokens_map.json'
GENERATION = 'generation_config.json'
# What lies beside a tokenizer.json and is read with it.
NOTES = (CONFIG, MAP, GENERATION)
# clean_up_tokenization of transformers, which is done where a file asks for it
# and the model is no BPE.
CLEANED = {
  **{f' {mark}': mark for mark in ('.', '?', '!', ',')},
  " ' ": "'",
  **{f' {end}': end for end in ("n't", "'m", "'s", "'ve", "'re")},
}
PREFIXES = {  # parts that put a blank before a text, and how they do not
  'ByteLevel': {'add_prefix_space': False},
  'Metaspace': {'add_prefix_space': False, 'prepend_scheme': 'never'},
}
# A part of the file -> what in a Sequence there holds its members.
PARTS = {
  'normalizer': 'normalizers',
  'pre_tokenizer': 'pretokenizers',
  'decoder': 'decoders',
}


class FastTokenizer(tokenizer.Tokenizer):
  """A tokenizer.json whose BPE or Unigram model encodes any byte.

  Control tokens are its added tokens, but for those that are text
  (tokenizer.is_text) and not special, and bos, eos, pad and unk. Whether a
  prompt begins with bos is what the file's own post-processor does.
  """

  def __init__(self, content: bytes, notes: Mapping[str, Any] | None = None):
    """Reads a file's content and the notes beside it, name -> JSON object.

    Raises ValueError for another kind of file, one that changes texts, and one
    whose notes name no eos token.
    """
    spec, self._hidden = _edited(content)
    self._model = _read(spec)
    self._model.encode_special_tokens = True  # texts hold none
    known = self._model.get_vocab(with_added_tokens=True)
    self.vocab_size = max(known.values()) + 1

    notes = notes or {}
    self.bos, eos, self.pad = (
      self._special(name, notes) for name in ('bos', 'eos', 'pad')
    )
    if eos is None:
      raise ValueError(
        f'no eos token: {CONFIG}, {MAP} and {GENERATION} beside it name none; '
        'copy them too'
      )
    self.eos = eos
    self.ends = self._generation_ends(notes)
    self._cleans = spec['model']['type'] != 'BPE' and bool(
      _config(notes).get('clean_up_tokenization_spaces')
    )
    self.control = self._steering(spec['model'], spec['added_tokens'])
    self.begin = self._prompt_begin()
    named = {i for i in (self.bos, eos, self.pad, *self.begin) if i is not None}
    self.rows = 1 + max({*known.values()} - self.control | named)
    self._blank = None
    if self._decoded(self._ids(tokenizer.BLANK)) != tokenizer.BLANK:
      data = tokenizer.BLANK.encode()
      self._blank = [self._id(f'<0x{byte:02X}>') for byte in data]
    self._check()

  def decode(self, ids: Sequence[int]) -> str:
    text = self._decoded([int(i) for i in ids if int(i) not in self._hidden])
    if self._cleans:
      for unclean, clean in CLEANED.items():
        text = text.replace(unclean, clean)
    return text

  def piece(self, number: int) -> str:
    return self._model.id_to_token(number) or ''

  def config(self) -> dict[str, Any]:
    """Returns a tokenizer_config.json for a folder that has none."""
    ids = {'bos_token': self.bos, 'eos_token': self.eos, 'pad_token': self.pad}
    names = {name: self.piece(i) for name, i in ids.items() if i is not None}
    return {'tokenizer_class': 'PreTrainedTokenizerFast', **names}

  def _decoded(self, ids: Sequence[int]) -> str:
    return self._model.decode(ids, skip_special_tokens=False)

  def _ids(self, text: str) -> list[int]:
    return self._model.encode(text, add_special_tokens=False).ids

  def _find(self, piece: str) -> int | None:
    return self._model.token_to_id(piece)

  def _texts(self) -> list[str]:
    ids = [[i] for i in range(self.vocab_size)]
    return self._model.decode_batch(ids, skip_special_tokens=False)

  def _special(self, name: str, notes: Mapping[str, Any]) -> int | None:
    """Returns the id of bos, eos or pad as transformers finds it.

    generation_config.json counts where the tokenizer's own notes are silent.
    """
    key, config = f'{name}_token', _config(notes)
    if token := config.get(key):
      piece = token.get('content') if isinstance(token, dict) else token
      number = self._find(piece) if isinstance(piece, str) else None
      if number is not None:
        return number
      raise ValueError(
        f'its notes name {key} {piece!r}, which it does not have'
      )
    if key in config and name != 'eos':
      return None
    ids = notes.get(GENERATION, {}).get(f'{key}_id')
    number = ids[0] if isinstance(ids, list) and ids else ids
    if number is None:
      return None
    if type(number) is not int or number < 0 or not self.piece(number):
      raise ValueError(
        f'{GENERATION} has {key}_id {number!r}, which is no id of it'
      )
    return number

  def _generation_ends(self, notes: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the ids at which generation_config.json says to end.

    One that the vocabulary lacks cannot be drawn.
    """
    ids = notes.get(GENERATION, {}).get('eos_token_id')
    several = ids if isinstance(ids, list) else [ids]
    rows = range(self.vocab_size)
    return tuple(i for i in several if type(i) is int and i in rows)

  def _steering(
    self, model: Mapping[str, Any], added: Sequence[Mapping[str, Any]]
  ) -> frozenset[int]:
    """Returns the ids of control tokens."""
    ids = {token['id'] for token in added if token['special']}
    ids |= {self.bos, self.eos, self.pad, model.get('unk_id')}
    ids |= {
      self._find(p) for p in (model.get('unk_token'), *tokenizer.TURNS) if p
    }
    return frozenset(i for i in ids if i is not None)

  def _prompt_begin(self) -> tuple[int, ...]:
    """Returns the tokens that the post-processor puts before a text."""
    encoding = self._model.encode('a')
    count = (*encoding.special_tokens_mask, 0).index(0)
    return tuple(encoding.ids[:count])

  def _check(self) -> None:
    """Raises ValueError where texts would not come back as they were."""
    odd = tokenizer.ODD + 'é'  # an accent could be taken off
    plain = self._plain(odd)
    tokens = {f'<0x{byte:02X}>' for byte in range(256)}
    encodes = any(all(map(self._has, each)) for each in (tokens, _letters()))
    if not encodes or self._decoded(plain) != odd:
      raise ValueError(
        'it normalises text, or has no bytes to fall back on; '
        f'{tokenizer.NEEDED}'
      )
    for number in self.control:
      text = self.piece(number)
      if len(text) == 1 and number in self._ids(text):
        raise ValueError(f'its control token {text!r} is a character of texts')

  def _has(self, piece: str) -> bool:
    return self._find(piece) is not None


def _letters() -> set[str]:
  """Returns the letters that stand for the bytes of texts at the byte level.

  Not those of control characters and of planes where Unicode has nothing:
  SmolLM2 has no token for them, so that it drops them as transformers does.
  """
  codes = (
    *(*b'\t\n\r', *range(0x20, 0x7F), *range(0x80, 0x800)),
    *(*range(0x800, 0xD800, 64), *range(0xE000, 0x10000, 64)),
    *(0x10000, 0xE0001, 0x10FFFD),
  )
  bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  ((letters, _),) = bytes_of.pre_tokenize_str(''.join(map(chr, codes)))
  return {*letters}


def _edited(content: bytes) -> tuple[dict[str, Any], set[int]]:
  """Returns a tokenizer.json as it is used here, and its own special ids.

  Raises ValueError where it is none or its model is none that is read.
  """
  if content.startswith(b'version https://git-lfs'):
    raise ValueError(
      'a pointer of Git LFS and not the file itself: run `git lfs pull`'
    )
  try:
    spec = json.loads(content)
    kind = spec['model'].get('type')
    added = [
      {'special': False} | token for token in spec.get('added_tokens') or []
    ]
    special = {token['id'] for token in added if token['special']}
    # Of all added tokens the library spares special ones only.
    spec['added_tokens'] = [
      token
      | {'special': token['special'] or not tokenizer.is_text(token['content'])}
      for token in added
    ]
    for part, members in PARTS.items():
      spec[part] = _without_prefix(spec.get(part), members)
    unknown = sorted(_named(spec.get('post_processor')))
  except (ValueError, TypeError, KeyError, AttributeError) as e:
    raise ValueError(f'no tokenizer.json or a damaged one; {errors.CUT}') from e
  if kind not in ('BPE', 'Unigram'):
    raise ValueError(f'its model is {kind or "of no type"}; {tokenizer.NEEDED}')
  if unknown:  # the library would panic: no Exception, and a stack on stderr
    raise ValueError(
      f'its post_processor puts {unknown[0]!r} into texts, which its '
      'special_tokens lack'
    )
  return spec, special


def _read(spec: Mapping[str, Any]) -> tokenizers.Tokenizer:
  try:
    model = tokenizers.Tokenizer.from_str(json.dumps(spec))
    model.encode(tokenizer.ODD)
  except Exception as e:  # the library raises nothing more special
    raise ValueError(f'the library `tokenizers` refuses it: {e}') from e
  model.no_padding()
  model.no_truncation()
  return model


def _named(part: Any) -> set[str]:
  """Returns the tokens that templates of a post-processor name and lack."""
  if not isinstance(part, Mapping):
    return set()
  inner = [_named(each) for each in part.get('processors') or ()]
  pieces = [*(part.get('single') or ()), *(part.get('pair') or ())]
  names = {p['SpecialToken']['id'] for p in pieces if 'SpecialToken' in p}
  return (names - {*(part.get('special_tokens') or ())}).union(*inner)


def _config(notes: Mapping[str, Any]) -> dict[str, Any]:
  """Returns tokenizer_config.json with special_tokens_map.json over it.

  As in transformers, which reads the latter in folders of older versions only.
  """
  config = dict(notes.get(CONFIG, {}))
  return (
    config
    if 'added_tokens_decoder' in config
    else (config | notes.get(MAP, {}))
  )


def _without_prefix(part: Any, members: str) -> Any:
  """Returns a part of a tokenizer.json that leaves a text's begin alone.

  Otherwise texts could not be put together from the ids of their parts.
  """
  if not part:
    return part
  if part['type'] == 'Sequence':
    kept = [_without_prefix(inner, members) for inner in part[members]]
    return part | {members: [inner for inner in kept if inner]}
  strips = part['type'] == 'Strip' and members == 'decoders'
  if part['type'] == 'Prepend' or strips:
    return None
  return part | (
    PREFIXES.get(part['type'], {}) if members != 'normalizers' else {}
  )
