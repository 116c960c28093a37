"""Says what a file that cannot be read is, and what to do about it."""

import json
import re

from restpg_jax import errors

HEAD = 512  # bytes of a file that tell what it is
PACKED = {
  b'\x1f\x8b': 'gzip',
  b'BZh': 'bzip2',
  b'\xfd7zXZ': 'xz',
  b'\x28\xb5\x2f\xfd': 'zstd',
  b'PK\x03\x04': 'zip',
}
TABLES = {b'PAR1': 'Parquet', b'ARROW1': 'Arrow', b'\x89HDF': 'HDF5'}
# Words, in lower case, of Python and JavaScript that JSON lacks or spells
# differently.
WORDS = {'none', 'true', 'false', 'nan', 'inf', 'infinity', 'undefined'}
LITERALS = 'true', 'false', 'null', 'NaN', 'Infinity', '-Infinity'
PYTHON = 'this is how Python shows a value: write it by json.dumps'
ONE_LINE = 'write each row as one line, as jq -c . does'


def of_file(head: bytes) -> str:
  """Returns a remedy by a file's first bytes, or '' if they tell nothing."""
  for magic, name in PACKED.items():
    if head.startswith(magic):
      return f'the file is packed by {name}: unpack it'
  for magic, name in TABLES.items():
    if head.startswith(magic):
      return f'the file is {name}: give it a name that says so, or convert it'
  # By its byte-order mark, or by the zero byte of an ASCII character.
  if head.startswith((b'\xff\xfe', b'\xfe\xff')) or b'\0' in head[:4]:
    return f'the file is UTF-16: {errors.RECODE}'
  text = head.decode('utf-8-sig', 'replace').lstrip().lower()
  if text.startswith('version https://git-lfs.'):
    return 'the file is a pointer of Git LFS: git lfs pull gets what it names'
  if text.startswith(('<!doctype', '<html', '<?xml', '<head')):
    return 'the file is a web page: download the raw file'
  return ''


def of_json(text: str, error: Exception, *, last: bool = True) -> str:
  """Returns a remedy for a text that is no JSON; last: the file ends there."""
  if not isinstance(error, json.JSONDecodeError):
    return 'it is nested too deeply, or a number has too many digits'
  before, rest = text[: error.pos].rstrip(), text[error.pos :].lstrip()
  if remedy := of_file(text[:HEAD].encode('utf-8', 'replace')):
    return remedy
  if _is_cut(rest, error):
    return errors.CUT if last else f'it goes on in the next line: {ONE_LINE}'
  if error.msg == 'Extra data':
    return _extra(text[: error.pos], rest)
  if error.msg.startswith('Invalid control character'):
    return r'write line breaks and tabs inside a text as \n and \t'
  if 'escape' in error.msg:
    return r'write a backslash inside a text as \\'
  if rest[:1] == "'" or before[-1:] == "'" or _word(rest) in WORDS:
    return PYTHON
  if (before[-1:] == ',' and rest[:1] in ('}', ']')) or rest[:1] == ',':
    return 'take out the comma that nothing follows'
  return 'write it by a JSON library, as json.dumps does'


def _extra(before: str, rest: str) -> str:
  """Returns a remedy for text behind the end of a value."""
  if rest[0] in '{[':
    if '\r' in before:
      return 'its lines end in a carriage return alone: end them in a line feed'
    return f'there is more than one row in it: {ONE_LINE}'
  if rest == ',':
    return 'take out the comma behind the row'
  return f'there is text behind the end of the row: {ONE_LINE}'


def _is_cut(rest: str, error: json.JSONDecodeError) -> bool:
  """Returns whether the text is right as far as it goes.

  Then what follows the error is empty or begins a value.
  """
  if error.msg.startswith('Unterminated string'):
    return True
  if r'\uXXXX' in error.msg:
    return len(rest) < len(r'u1234"')
  return any(word.startswith(rest) for word in LITERALS)


def _word(text: str) -> str:
  [word] = re.findall(r'\A-?(\w*)', text)
  return word.lower()
