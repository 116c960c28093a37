"""Writes forms as CSV and as a page, and reads the sheets that come back."""

import base64
import csv
import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Sequence

from etils import epath

from restpg_jax import errors
from restpg_jax.audit import forms
from restpg_jax.io import pages, records

FOLDER = pathlib.Path(__file__).with_name('templates')
KEYS = 'keys'  # a folder of what people must not see
SHOWN = 3  # ids that a message names
# A spreadsheet takes a cell that begins with one of these for a formula.
FORMULA = '=', '+', '-', '@', '\t', '\r'
SEPARATORS = ',', ';', '\t'
LIMIT = 1 << 30  # characters of a cell; the csv module's own is 131,072


@dataclasses.dataclass(frozen=True)
class Sheet:
  """A filled form."""

  path: str
  form: forms.Form
  values: tuple[str, ...]  # one of forms.VALUES for each item of the form


def write_form(out: epath.Path, form: forms.Form) -> list[epath.Path]:
  """Writes KIND-NAME.csv and .html for people, and keys/KIND-NAME.jsonl.

  Returns the paths of the two that are for people.
  """
  (out / KEYS).mkdir(parents=True, exist_ok=True)
  records.write(_key(out, form.kind, form.name), form.items)
  stem = f'{form.kind}-{form.name}'
  paths = [out / f'{stem}.csv', out / f'{stem}.html']
  pages.write_page(paths[0], form_csv(form))
  pages.write_page(paths[1], form_page(form))
  return paths


def form_csv(form: forms.Form) -> str:
  """Returns the form as CSV, its last column empty."""
  texts = ['text A', 'text B'] if form.kind == forms.PAIRS else ['text']
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow(
    ['id', 'instruction', 'expected', *texts, forms.COLUMN[form.kind]]
  )
  for item in form.items:
    cells = item.instruction, item.expected, *(t.text for t in item.texts)
    writer.writerow([item.id, *map(_cell, cells), ''])
  return file.getvalue()


def form_page(form: forms.Form) -> str:
  """Returns the form as one HTML file, which gives a CSV file when filled.

  Nothing in it says which method wrote a text, or what its score is.
  """
  script = (FOLDER / 'form.js').read_text('utf-8')
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
  return pages.render(
    FOLDER / 'form.html.j2',
    escape=True,
    filters={},
    form=form,
    column=forms.COLUMN[form.kind],
    values=forms.VALUES[form.kind],
    style=pages.style(),
    script=pages.trusted(script),
    script_hash=digest.decode(),
  )


def read_sheet(path: epath.PathLike, out: epath.Path) -> Sheet:
  """Reads a filled form; `out` is the folder to which the form was written.

  The file needs the columns `id` and `choice` or `rating`; others are ignored,
  and rows may be in any order. Raises InputError, which names the rows, for ids
  that are missing, doubled or of no form, and for values that are none.
  """
  path = epath.Path(path)
  kind, rows = _rows(path)
  if not rows:
    raise errors.InputError(f'{path}: it has no rows; give a filled form')
  form = _form_of(rows, kind, out, path)
  line_of, faults = _by_id(rows, form)
  allowed = forms.VALUES[kind]
  values = {
    id: value.strip().upper().removesuffix('.0')  # as spreadsheets write 4
    for _, id, value in rows
  }
  if wrong := [i for i in line_of if values[i] not in allowed]:
    first = wrong[0]
    faults.append(
      f'{len(wrong)} rows have no {forms.COLUMN[kind]} of {", ".join(allowed)} '
      f'(line {line_of[first]}, id {first}: {values[first][:40]!r})'
    )
  if faults:
    raise errors.InputError(f'{path}: {"; ".join(faults)}')
  return Sheet(str(path), form, tuple(values[item.id] for item in form.items))


def _form_of(
  rows: list[tuple[int, str, str]], kind: str, out: epath.Path, path: epath.Path
) -> forms.Form:
  """Returns the form to which most ids of a sheet belong."""
  prefixes = [id.rpartition('-')[0] for _, id, _ in rows]
  for name in sorted({*prefixes}, key=prefixes.count, reverse=True):
    # A name is hex digits only: no id leads out of the folder.
    if name.isalnum() and (key := _key(out, kind, name)).exists():
      return forms.Form(kind, name, tuple(records.read(key, forms.Item)))
  raise errors.InputError(
    f'{path}: unknown ids ({_some([id for _, id, _ in rows])}): no form of '
    f'{kind} in {out / KEYS} has them; give the --workdir whose audit wrote '
    'the form'
  )


def _by_id(
  rows: list[tuple[int, str, str]], form: forms.Form
) -> tuple[dict[str, int], list[str]]:
  """Returns the line of each id of the form, and what is wrong with ids."""
  known = {item.id for item in form.items}
  line_of: dict[str, int] = {}
  doubled, unknown = [], []
  for line, id, _ in rows:
    if id not in known:
      unknown.append(f'{id or "empty"} in line {line}')
    elif id in line_of:
      doubled.append(f'{id} in lines {line_of[id]} and {line}')
    else:
      line_of[id] = line
  missing = sorted(known - line_of.keys())
  faults = []
  if missing:
    faults.append(
      f'{len(missing)} of {len(known)} ids are missing ({_some(missing)}): '
      'fill the whole form'
    )
  if doubled:
    faults.append(
      f'{len(doubled)} ids are doubled ({_some(doubled)}): keep one'
    )
  if unknown:
    faults.append(
      f'{len(unknown)} ids are unknown ({_some(unknown)}): form '
      f'{form.name} has none such'
    )
  return line_of, faults


def _rows(path: epath.Path) -> tuple[str, list[tuple[int, str, str]]]:
  """Returns the kind of a sheet and (line, id, value) of each of its rows."""
  if not path.exists() or path.is_dir():
    raise errors.InputError(
      f'--sheet={path}: no such file; give a filled form as CSV'
    )
  try:
    text = path.read_bytes().decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise errors.InputError(
      f'{path}: not UTF-8 ({errors.detail(error)}); {errors.RECODE}'
    ) from error
  head = text.partition('\n')[0]
  separator = max(SEPARATORS, key=head.count)
  csv.field_size_limit(LIMIT)
  reader = csv.DictReader(io.StringIO(text, newline=''), delimiter=separator)
  names = [name.strip().lower() for name in reader.fieldnames or ()]
  reader.fieldnames = names
  kinds = [kind for kind, column in forms.COLUMN.items() if column in names]
  if 'id' not in names or len(kinds) != 1:
    raise errors.InputError(
      f'{path}: its first line has {", ".join(names)[:200] or "no columns"}; '
      "it must have the form's own: id, and choice or rating"
    )
  column = forms.COLUMN[kinds[0]]
  try:
    rows = [
      (reader.line_num, (row['id'] or '').strip(), row[column] or '')
      for row in reader
      if any(row.values())
    ]
  except csv.Error as error:
    raise errors.InputError(
      f'{path}: line {reader.line_num}: no CSV ({errors.detail(error)}); save '
      'the sheet as CSV again'
    ) from error
  return kinds[0], rows


def _key(out: epath.Path, kind: str, name: str) -> epath.Path:
  return out / KEYS / f'{kind}-{name}.jsonl'


def _cell(text: str) -> str:
  return f"'{text}" if text.startswith(FORMULA) else text


def _some(texts: Sequence[str]) -> str:
  shown = ', '.join(text[:80] for text in texts[:SHOWN])
  return shown + ', ..' * (len(texts) > SHOWN)
