"""Rows of JSON files, of any size, one in memory at a time.

Of a text of more than rows.LONGEST bytes only the beginning is read: a field of
hundreds of megabytes is cut to data.max_text characters in the end, and would
be held several times over before that.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from etils import epath

from restpg_jax import errors, storage
from restpg_jax.data import remedies, rows

PIECE = 1 << 20  # bytes read at once
SPACE = re.compile(r'[ \t\n\r]*')
HALF_ESCAPE = re.compile(rb'\\(?:u[0-9a-fA-F]{0,3})?\Z')
HALF_CHARACTER = re.compile(rb'[\xc0-\xff][\x80-\xbf]{0,2}\Z')
NEAR = 16  # characters before the end of what is read that may be half a word
DECODER = json.JSONDecoder()


def line_rows(
  path: epath.Path, unusable: rows.Unusable = rows.stop
) -> rows.Rows:
  """Each (place, row) of a file with an object a line; blank ones are none."""
  number, size = 1, max(path.stat().length, 1)
  with storage.opened(path) as f:
    for line, data in enumerate(_lines(f), 1):
      place = rows.RowLocation(str(path), number, line, f.tell() / size)
      try:
        text = decoded(data, place).strip()
        if not text:
          continue
        row = as_object(parse_value(text, place, last=f.tell() >= size), place)
      except errors.InputError as error:
        unusable(place, error)
      else:
        yield place, row
      number += 1


def list_rows(
  path: epath.Path, unusable: rows.Unusable = rows.stop
) -> rows.Rows:
  """Each (place, row) of a file that is one list.

  A row that is no JSON is always an InputError: where it ends is not known.
  """
  number, size = 0, max(path.stat().length, 1)
  with storage.opened(path) as f:
    text = _Text(capped(iter(functools.partial(f.read, PIECE), b'')))
    if text.next() != '[':
      head = text.text[: remedies.HEAD].encode('utf-8', 'surrogateescape')
      remedy = remedies.of_file(head) or (
        'write [{...}, {...}], or one row a line in a file named .jsonl'
      )
      raise errors.InputError(
        f'{path}: row 1: not a JSON list of rows in UTF-8; {remedy}'
      )
    text.at += 1
    while text.next() != ']':
      number += 1
      place = rows.RowLocation(str(path), number, share=f.tell() / size)
      value, mistake = _element(text, place)
      try:
        if mistake:
          raise mistake
        row = as_object(value, place)
      except errors.InputError as error:
        unusable(place, error)
      else:
        yield place, row
    text.at += 1
    if text.next():
      raise errors.InputError(
        f'{path}: row {number + 1}: text after the end of the list; write all '
        'rows as one list'
      )


def whole_file(path: epath.Path) -> object:
  """The value of a file that is read at once."""
  with storage.opened(path) as f:
    data = b''.join(capped(iter(functools.partial(f.read, PIECE), b'')))
  return parse_value(decoded(data, path), path)


def parse_value(text: str, place: object, *, last: bool = True) -> object:
  """A JSON value, NaN allowed; last: its file ends with it."""
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise _no_json(text, error, place, last=last) from error


def decoded(data: bytes, place: object) -> str:
  """UTF-8 with or without a byte-order mark."""
  try:
    return data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    remedy = remedies.of_file(data[: remedies.HEAD]) or errors.RECODE
    raise errors.InputError(
      f'{place}: not UTF-8 ({errors.detail(error)}); {remedy}'
    ) from error


def as_object(value: object, place: object) -> dict:
  if not isinstance(value, dict):
    listed = isinstance(value, list) and all(isinstance(x, dict) for x in value)
    raise errors.InputError(
      f'{place}: is a {type(value).__name__}; it must be an object with the '
      'fields of a row'
      + ": part the rows of a list into lines, as jq -c '.[]' does"
      * listed
    )
  return value


def capped(
  pieces: Iterable[bytes], *, limit: int = rows.LONGEST
) -> Iterator[bytes]:
  """JSON, with the middle of each text of more than `limit` bytes left out.

  What is left out is whole pieces without a quote, and the texts stay whole
  JSON: neither an escape nor a character is torn.
  """
  inside, run, rest = False, 0, b''
  for piece in pieces:
    piece = rest + piece
    end = _whole(piece)
    piece, rest = piece[:end], piece[end:]
    if quotes := _quotes(piece):
      inside ^= quotes % 2 == 1
      run = 0
    elif inside:
      run += len(piece)
      if run > limit:
        continue
    yield piece
  yield rest


def _quotes(piece: bytes) -> int:
  """How many quotes open or close a text."""
  if b'\\' in piece:
    piece = piece.replace(b'\\\\', b'').replace(b'\\"', b'')
  return piece.count(b'"')


def _whole(piece: bytes) -> int:
  r"""The length without an escape (\, \u12) or character that is cut off."""
  end = len(piece)
  if match := HALF_ESCAPE.search(piece, max(end - 5, 0)):
    before = piece[: match.start() + 1]
    slashes = len(before) - len(before.rstrip(b'\\'))
    return match.start() if slashes % 2 else end
  if match := HALF_CHARACTER.search(piece, max(end - 3, 0)):
    return match.start()
  return end


def _lines(f: BinaryIO) -> Iterator[bytes]:
  while data := f.readline(PIECE):
    if len(data) == PIECE:
      data = b''.join(capped(_line(f, data)))
    yield data


def _line(f: BinaryIO, piece: bytes) -> Iterator[bytes]:
  """The pieces of a line, from the first one on."""
  while piece:
    yield piece
    piece = b'' if piece.endswith(b'\n') else f.readline(PIECE)


class _Text:
  """The text of a file from `at` on; more of it is read when it is asked."""

  def __init__(self, pieces: Iterator[bytes]):
    self._pieces = pieces
    self.text = ''
    self.at = 0
    self._code = 'utf-8-sig'  # of the first piece
    self.broken = False  # some bytes were not UTF-8

  def more(self) -> bool:
    """At least as much again, for what is tried anew at each call."""
    rest = self.text[self.at :]
    parts, length = [rest], 0
    while length <= len(rest):
      piece = next(self._pieces, None)
      if piece is None:
        break
      parts.append(self._decoded(piece))
      length += len(parts[-1])
    self.text, self.at = ''.join(parts), 0
    return length > 0

  def next(self) -> str:
    """The character after white space, '' at the end of the file."""
    while True:
      self.at = SPACE.match(self.text, self.at).end()
      if self.at < len(self.text) or not self.more():
        return self.text[self.at : self.at + 1]

  def _decoded(self, piece: bytes) -> str:
    code, self._code = self._code, 'utf-8'
    try:
      return piece.decode(code)
    except UnicodeDecodeError:
      self.broken = True
      return piece.decode(code, 'surrogateescape')


def _element(
  text: _Text, place: rows.RowLocation
) -> tuple[object, errors.InputError | None]:
  """The value at `text`, and what is wrong with it alone; moves behind it and
  its comma."""
  while True:
    try:
      value, end = DECODER.raw_decode(text.text, text.at)
      if end < len(text.text) or not text.more():
        break
    except (ValueError, RecursionError) as error:
      tried = text.text
      if not (_unfinished(error, tried) and text.more()):
        raise _no_json(tried, error, place) from error
  mistake = None
  if text.broken:
    try:
      text.text[text.at : end].encode()
    except UnicodeEncodeError:
      mistake = errors.InputError(f'{place}: not UTF-8; {errors.RECODE}')
  text.at = end
  if text.next() not in (',', ']'):
    error = json.JSONDecodeError('Expecting , or ]', text.text, text.at)
    raise _no_json(text.text, error, place)
  text.at += text.next() == ','
  return value, mistake


def _unfinished(error: Exception, text: str) -> bool:
  """Whether more text may mend it."""
  if not isinstance(error, json.JSONDecodeError):
    return False
  near = error.pos >= len(text) - NEAR
  return near or error.msg.startswith('Unterminated string')


def _no_json(
  text: str, error: Exception, place: object, *, last: bool = True
) -> errors.InputError:
  remedy = remedies.of_json(text, error, last=last)
  return errors.InputError(
    f'{place}: not valid JSON ({errors.detail(error)}); {remedy}'
  )
