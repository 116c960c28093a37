"""Reads rows of JSON files of any size, one in memory at a time.

Of a text of more than rows.LONGEST bytes only the beginning is read: a field of
hundreds of megabytes is cut to data.max_text characters in the end, and would
be held several times over before that.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

from etils import epath

from restpg_jax import errors, storage
from restpg_jax.data import remedies, rows

PIECE = 1 << 20  # bytes read at once
SPACE = re.compile(r'[ \t\n\r]*')
HALF_ESCAPE = re.compile(rb'\\(?:u[0-9a-fA-F]{0,3})?\Z')
HALF_CHARACTER = re.compile(rb'[\xc0-\xff][\x80-\xbf]{0,2}\Z')
NEAR = 16  # characters: an error so close to the end may be a word cut in half
DECODER = json.JSONDecoder()


def line_rows(
  path: epath.Path, unusable: rows.Unusable = rows.stop
) -> rows.Rows:
  """Yields (location, row) of a file with an object a line.

  Blank lines are not counted. An unusable row goes to `unusable`.
  """
  number, size = 1, max(path.stat().length, 1)
  with storage.opened(path) as f:
    for line, data in enumerate(_lines(f), 1):
      location = rows.RowLocation(str(path), number, line, f.tell() / size)
      try:
        text = decoded(data, location).strip()
        if not text:
          continue
        row = as_object(
          parse_value(text, location, last=f.tell() >= size), location
        )
      except errors.InputError as error:
        unusable(location, error)
      else:
        yield location, row
      number += 1


def numbered_rows(
  path: epath.Path, counts: dict[str, int], like: str
) -> rows.Rows:
  """Yields what `line_rows` does of a file that a user gives, counted in
  counts['rows'].

  Raises InputError at a row that is unusable, and where the file cannot be read
  or has no row; `like` shows the fields of one.
  """
  try:
    for location, row in line_rows(path):
      counts['rows'] += 1
      yield location, row
  except OSError as error:
    raise errors.InputError(
      f'{path}: cannot be read ({errors.detail(error)}); give a file of JSON '
      'lines, a row each'
    ) from error
  if not counts['rows']:
    raise errors.InputError(
      f'{path}: it has no rows; write one a line, as {like}'
    )


def list_rows(
  path: epath.Path, unusable: rows.Unusable = rows.stop
) -> rows.Rows:
  """Yields (location, row) of a file that is one list.

  Raises InputError at a row that is no JSON, whatever `unusable` does: where
  such a row ends is not known.
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
    text.position += 1
    while text.next() != ']':
      number += 1
      location = rows.RowLocation(str(path), number, share=f.tell() / size)
      value, mistake = _element(text, location)
      try:
        if mistake:
          raise mistake
        row = as_object(value, location)
      except errors.InputError as error:
        unusable(location, error)
      else:
        yield location, row
    text.position += 1
    if text.next():
      raise errors.InputError(
        f'{path}: row {number + 1}: text after the end of the list; write all '
        'rows as one list'
      )


def whole_file(path: epath.Path) -> object:
  """Returns the value of a file that is read at once."""
  with storage.opened(path) as f:
    data = b''.join(capped(iter(functools.partial(f.read, PIECE), b'')))
  return parse_value(decoded(data, path), path)


def parse_value(text: str, location: object, *, last: bool = True) -> object:
  """Returns a JSON value, NaN allowed; last: its file ends with it."""
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise _no_json(text, error, location, last=last) from error


def decoded(data: bytes, location: object) -> str:
  """Decodes UTF-8 with or without a byte-order mark."""
  try:
    return data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    remedy = remedies.of_file(data[: remedies.HEAD]) or errors.RECODE
    raise errors.InputError(
      f'{location}: not UTF-8 ({errors.detail(error)}); {remedy}'
    ) from error


def as_object(value: object, location: object) -> dict[str, Any]:
  """Returns a row's object; InputError where the value is none."""
  if not isinstance(value, dict):
    listed = isinstance(value, list) and all(isinstance(x, dict) for x in value)
    raise errors.InputError(
      f'{location}: is a {type(value).__name__}; it must be an object with the '
      'fields of a row'
      + ": part the rows of a list into lines, as jq -c '.[]' does"
      * listed
    )
  return value


def capped(
  pieces: Iterable[bytes], *, limit: int = rows.LONGEST
) -> Iterator[bytes]:
  """Yields JSON without the middle of each text of more than `limit` bytes.

  What is left out is whole pieces without a quote, and the texts stay whole
  JSON: neither an escape nor a character is torn.
  """
  inside, run, rest = False, 0, b''
  for piece in pieces:
    piece = rest + piece
    end = _whole(piece)
    piece, rest = piece[:end], piece[end:]
    if quotes := _quotes(piece):
      inside ^= quotes % 2 == 1  # an odd number ends in the other state
      run = 0
    elif inside:
      run += len(piece)
      if run > limit:
        continue
    yield piece
  yield rest


def _quotes(piece: bytes) -> int:
  """Returns the number of quotes that open or close a text."""
  if b'\\' in piece:
    piece = piece.replace(b'\\\\', b'').replace(b'\\"', b'')
  return piece.count(b'"')


def _whole(piece: bytes) -> int:
  r"""Returns the length without a cut-off escape (\, \u12) or character."""
  end = len(piece)
  if match := HALF_ESCAPE.search(piece, max(end - 5, 0)):
    before = piece[: match.start() + 1]
    slashes = len(before) - len(before.rstrip(b'\\'))
    return match.start() if slashes % 2 else end
  if match := HALF_CHARACTER.search(piece, max(end - 3, 0)):
    return match.start()
  return end


def _lines(f: IO[bytes]) -> Iterator[bytes]:
  while data := f.readline(PIECE):
    if len(data) == PIECE:
      data = b''.join(capped(_line(f, data)))
    yield data


def _line(f: IO[bytes], piece: bytes) -> Iterator[bytes]:
  """Yields the pieces of a line, from the first one on."""
  while piece:
    yield piece
    piece = b'' if piece.endswith(b'\n') else f.readline(PIECE)


class _Text:
  """The text of a file from `position` on; `more` reads more of it."""

  def __init__(self, pieces: Iterator[bytes]) -> None:
    self._pieces = pieces
    self.text = ''
    self.position = 0
    self._code = 'utf-8-sig'  # of the first piece
    self.broken = False  # some bytes were not UTF-8

  def more(self) -> bool:
    """Reads on; returns whether there was any more.

    What is left is at least doubled: a value is parsed anew after each call, so
    this keeps the time linear in its length.
    """
    rest = self.text[self.position :]
    parts, length = [rest], 0
    while length <= len(rest):
      piece = next(self._pieces, None)
      if piece is None:
        break
      parts.append(self._decoded(piece))
      length += len(parts[-1])
    self.text, self.position = ''.join(parts), 0
    return length > 0

  def next(self) -> str:
    """Returns the character after white space, '' at the end of the file."""
    while True:
      if space := SPACE.match(self.text, self.position):
        self.position = space.end()
      if self.position < len(self.text) or not self.more():
        return self.text[self.position : self.position + 1]

  def _decoded(self, piece: bytes) -> str:
    code, self._code = self._code, 'utf-8'
    try:
      return piece.decode(code)
    except UnicodeDecodeError:
      # Keeps the bytes, so that only the row that holds them is refused.
      self.broken = True
      return piece.decode(code, 'surrogateescape')


def _element(
  text: _Text, location: rows.RowLocation
) -> tuple[object, errors.InputError | None]:
  """Returns the next value, and the error that concerns it alone.

  Moves the position behind the value and its comma.
  """
  while True:
    try:
      value, end = DECODER.raw_decode(text.text, text.position)
      # At the end of what is read, 12 may go on as 123.
      if end < len(text.text) or not text.more():
        break
    except (ValueError, RecursionError) as error:
      read = text.text
      if not (_unfinished(error, read) and text.more()):
        raise _no_json(read, error, location) from error
  mistake = None
  if text.broken:
    try:
      text.text[text.position : end].encode()
    except UnicodeEncodeError:
      mistake = errors.InputError(f'{location}: not UTF-8; {errors.RECODE}')
  text.position = end
  if text.next() not in (',', ']'):
    error = json.JSONDecodeError('Expecting , or ]', text.text, text.position)
    raise _no_json(text.text, error, location)
  text.position += text.next() == ','
  return value, mistake


def _unfinished(error: Exception, text: str) -> bool:
  """Returns whether more text may mend the error."""
  if not isinstance(error, json.JSONDecodeError):
    return False
  near = error.pos >= len(text) - NEAR
  return near or error.msg.startswith('Unterminated string')


def _no_json(
  text: str, error: Exception, location: object, *, last: bool = True
) -> errors.InputError:
  remedy = remedies.of_json(text, error, last=last)
  return errors.InputError(
    f'{location}: not valid JSON ({errors.detail(error)}); {remedy}'
  )
