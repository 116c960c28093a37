"""Builds the e-mail task from the licensed Avocado collection (LDC2015T03).

The benchmark publishes ids only: which mail a row completes, after what number
of words, and which mails are its profile. Joined with the mails they become
what the official builder writes; it writes no outputs for test, this does. This
is the only door to mail-parser, by which the official builder reads mails.
"""

import collections
import contextlib
import json
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import mailparser
from etils import epath
from mailparser import exceptions

from restpg_jax import errors, folders, storage
from restpg_jax.data import cleaning, files, json_rows, longlamp, rows

SPLITS = ('train', 'dev', 'test')
REQUEST = 'Complete the text of the following email. title: {}. text: {}'
Mails = Callable[[str], tuple[str, str] | None]  # id -> (subject, text)


def build_task(
  mails: epath.Path,
  ids: epath.Path,
  *,
  to: epath.Path,
  unusable: rows.Unusable = rows.stop,
) -> dict[str, int]:
  """Writes TO/{train,dev,test}_questions.json and _outputs.json.

  mails: avocado-1.0.2/data/text, zip files of folders of mails, a file each.
  ids: a folder with the benchmark's {train,dev,test}_questions.json.
  Returns the number of rows of each split. TO appears when it is whole.
  """
  archives = _archives(mails)
  # This pass only collects ids; the second one reports unusable rows.
  pass_over = rows.unusable('skip', [])
  mail_ids = {
    id
    for split in SPLITS
    for id in _ids_of_mails(_questions(ids, split, pass_over))
  }
  part = to.with_name(f'{to.name}.part')
  if part.exists():  # an interrupted attempt's
    part.rmtree()
  part.mkdir(parents=True)
  counts = {}
  with (
    tempfile.TemporaryDirectory() as folder,
    contextlib.closing(sqlite3.connect(f'{folder}/mails.db')) as store,
  ):
    _fill(store, archives, mail_ids)
    for split in SPLITS:
      questions = _questions(ids, split, unusable)
      pairs = _build_rows(questions, _mailbox(store), unusable)
      counts[split] = _write(part, split, pairs)
      longlamp.check_some(counts[split], ids, split)
  if to.exists():
    to.rmtree()
  part.rename(to)
  return counts


def mail_request(
  question: dict[str, Any], mails: Mails, location: rows.RowLocation
) -> tuple[dict[str, Any], str]:
  """Returns the row that a row of ids stands for, and its output."""
  subject, text = _mail(question, 'input', mails, location)
  words, given = text.split(), question.get('content_length')
  if not isinstance(given, int) or not 0 <= given < len(words):
    raise errors.InputError(
      f'{location}: content_length is {given!r}, and the mail has {len(words)} '
      'words; it must be less, so that something is left to write'
    )
  profile = []
  for n, item in enumerate(
    cleaning.items(question.get('profile'), location), 1
  ):
    item_location = f'{location}: profile item {n}'
    title, body = _mail(
      json_rows.as_object(item, item_location), 'text', mails, item_location
    )
    profile.append(item | {'text': body, 'title': title})
  row = {
    'id': question['id'],
    'input': REQUEST.format(subject, ' '.join(words[:given])),
    'profile': profile,
  }
  if 'user_id' in question:
    row['user_id'] = question['user_id']
  return row, ' '.join(words[given:])


def parse_mail(data: bytes) -> tuple[str, str]:
  """Returns (subject, text) of a mail as it lies in the collection."""
  mail = mailparser.parse_from_bytes(data)
  counts = collections.Counter()
  subject, text = str(mail.subject or ''), mail.body.strip()
  return cleaning.mend(subject, counts), cleaning.mend(text, counts)


def _build_rows(
  questions: rows.Rows, mails: Mails, unusable: rows.Unusable
) -> Iterator[tuple[dict[str, Any], str]]:
  for location, question in questions:
    try:
      files.identity(question, location)
      pair = mail_request(question, mails, location)
    except errors.InputError as error:
      unusable(location, error)
    else:
      yield pair


def _mail(
  row: dict[str, Any], field: str, mails: Mails, location: object
) -> tuple[str, str]:
  mail = mails(files.required(row, field, location))
  if mail is None:
    raise errors.InputError(
      f'{location}: {field} is the mail {row[field]!r}, which is in none of '
      'the zip files, or is no mail; use the ids of the same release'
    )
  return mail


def _questions(
  ids: epath.Path, split: str, unusable: rows.Unusable
) -> rows.Rows:
  path = ids / f'{split}_questions.json'
  if not path.exists():
    raise errors.InputError(
      f'{path}: no such file; --ids needs train_, dev_ and '
      "test_questions.json, the benchmark's ids of e-mail"
    )
  return json_rows.list_rows(path, unusable)


def _ids_of_mails(questions: rows.Rows) -> Iterator[str]:
  """Yields the ids of all mails that the questions name."""
  for _, question in questions:
    yield str(question.get('input'))
    profile = question.get('profile')
    for item in profile if isinstance(profile, list) else []:
      if isinstance(item, dict):
        yield str(item.get('text'))


def _archives(mails: epath.Path) -> list[epath.Path]:
  archives = folders.matching(mails, '*.zip')
  if not archives:
    raise errors.InputError(
      f'{mails}: no zip files there; give the folder data/text of the '
      'collection as --avocado'
    )
  return archives


def _fill(
  store: sqlite3.Connection, archives: list[epath.Path], mail_ids: set[str]
) -> None:
  """Stores the mails with these ids on disk, as there are 100,000s of them."""
  store.execute('CREATE TABLE mails (id TEXT PRIMARY KEY, subject, text)')
  for archive in archives:
    for id, data in _members(archive, mail_ids):
      # A mail that cannot be parsed is reported by the row that needs it.
      with contextlib.suppress(exceptions.MailParserError):
        mail = (id, *parse_mail(data))
        store.execute('INSERT OR REPLACE INTO mails VALUES (?, ?, ?)', mail)
  store.commit()


def _mailbox(store: sqlite3.Connection) -> Mails:
  def mail(id: str) -> tuple[str, str] | None:
    return store.execute(
      'SELECT subject, text FROM mails WHERE id = ?', (id,)
    ).fetchone()

  return mail


def _members(
  archive: epath.Path, mail_ids: set[str]
) -> Iterator[tuple[str, bytes]]:
  try:
    with storage.opened(archive) as f, zipfile.ZipFile(f) as members:
      for name in members.namelist():
        id = name.rpartition('/')[2]  # the file's name
        if id in mail_ids:
          yield id, members.read(name)
  except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
    raise errors.InputError(
      f'{archive}: not readable as a zip file ({errors.detail(error)}); '
      f'{errors.CUT}'
    ) from error


def _write(
  folder: epath.Path, split: str, pairs: Iterator[tuple[dict[str, Any], str]]
) -> int:
  """Writes the official builder's two files; returns the number of rows."""
  count = 0
  with (
    (folder / f'{split}_questions.json').open('w') as questions,
    (folder / f'{split}_outputs.json').open('w') as outputs,
  ):
    for row, output in pairs:
      opening = ',\n' if count else '['
      answer = {'id': row['id'], 'output': output}
      questions.write(opening + json.dumps(row))
      outputs.write(opening + json.dumps(answer))
      count += 1
    questions.write(']' if count else '[]')
    outputs.write(']' if count else '[]')
  return count
