"""Finished methods: WORKDIR/methods, a file an experiment, and their names.

An experiment is a method with all that decides its results. The names of the
folders of its answers and scores say which one it is, for they end in
fingerprints of everything that made them: settings, seed, iterations, the
content of data and weights. What is measured of the answers beside is left out:
it decides nothing, and with other metrics it is the same experiment.

Its file is methods/NAME-DIGEST.json; before there were several experiments of
one name it was NAME.json, without a `number`.
"""

import datetime
import hashlib
import json
import warnings
from collections.abc import Iterable
from typing import Any

from etils import epath

from restpg_jax import errors, paper, variants
from restpg_jax.io import records

KEYS = {'method', 'config', 'output', 'iterations'}  # of every record


def note(workdir: epath.Path, record: dict[str, Any]) -> None:
  """Writes the record of an experiment in place of its earlier one, if any.

  Its `number` is one more than the largest there: the order of finishing, which
  a copy of the workdir keeps, as it does not keep the times of files.
  """
  whole, _ = _files(workdir)
  key = key_of(record)
  path = workdir / 'methods' / f'{key}.json'
  now = datetime.datetime.now(datetime.UTC)
  order = {
    'number': 1 + max(map(_number, whole.values()), default=0),
    'finished': now.isoformat(timespec='seconds'),
  }
  records.write_json(path, record | order)
  for other, earlier in whole.items():
    if other != path and key_of(earlier) == key:
      other.unlink()


def read_experiments(workdir: epath.PathLike) -> list[dict[str, Any]]:
  """Every record with its `key` and `label`: in Table 1's order, those of one
  name by the settings in which they differ.

  The label is the method's name where there is one experiment of it, else it
  says what is its own: 'rest_pg (seed 1, m 16)'. Files that are no whole record
  are warned of and left out.
  """
  whole, torn = _files(epath.Path(workdir))
  for path in torn:
    warnings.warn(
      f'{path} is no whole record of a method and is left out; remove it, and '
      'the same run again will write it and make nothing else anew',
      errors.DataWarning,
      stacklevel=2,
    )
  return _labelled(whole.values())


def by_age(workdir: epath.PathLike) -> list[dict[str, Any]]:
  """As `read`, the last finished last; those without a number come first."""
  return sorted(
    read_experiments(workdir), key=lambda r: (_number(r), r['label'])
  )


def pick(workdir: epath.PathLike, method: str = '') -> dict[str, Any]:
  """The record that is called `method`, by name, label or key; without it the
  one that was finished last.

  Raises InputError where that is not certain: for a name of several
  experiments, and for records without a number.
  """
  found = by_age(workdir)
  known = ', '.join(r['label'] for r in found) or 'none'
  if method:
    fits = [r for r in found if method in (r['method'], r['label'], r['key'])]
    if not fits:
      raise errors.InputError(
        f'--method={method}: finished in {workdir} are {known}'
      )
    if len(fits) > 1:
      choices = ', '.join(f'--method={r["key"]} for {r["label"]}' for r in fits)
      raise errors.InputError(
        f'--method={method}: {workdir} has {len(fits)} of that name; give '
        f'{choices}'
      )
    return fits[0]
  _, torn = _files(epath.Path(workdir))
  if torn:
    raise errors.InputError(
      f'{torn[0]}: no whole record of a method, which may be the one finished '
      f'last; give --method=NAME (whole are {known}) or remove that file'
    )
  if not found:
    raise errors.InputError(f'{workdir}: no method is finished there yet')
  if len(found) > 1 and _number(found[-1]) == _number(found[-2]):
    raise errors.InputError(
      f'{workdir}: its files do not say which of {known} was finished last; '
      'give --method=NAME'
    )
  return found[-1]


def key_of(record: dict[str, Any]) -> str:
  """'rest_pg-0123456789ab': the same for the same experiment only."""
  made = [
    record['config']['answer']['m'],  # in no fingerprint: a store's extent
    *([i['t'], i['answers'], i.get('scores')] for i in record['iterations']),
  ]
  digest = hashlib.sha256(json.dumps(made).encode()).hexdigest()
  return f'{record["method"]}-{digest[:12]}'


def _files(
  workdir: epath.Path,
) -> tuple[dict[epath.Path, dict[str, Any]], list[epath.Path]]:
  """The records by their files, and files that hold none."""
  folder = workdir / 'methods'
  whole, torn = {}, []
  for path in sorted(folder.iterdir()) if folder.exists() else ():
    if path.suffix != '.json' or path.name.startswith('.'):
      continue  # what a kill left, or what a file manager puts there
    try:
      record = records.read_json(path)
    except ValueError:
      record = None
    if isinstance(record, dict) and record.keys() >= KEYS:
      whole[path] = record
    else:
      torn.append(path)
  return whole, torn


def _number(record: dict[str, Any]) -> int:
  return record.get('number', 0)


def _labelled(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
  """Each experiment once: a kill may leave its earlier record beside it."""
  unique = {key_of(r): r for r in sorted(found, key=_number)}
  of_name = {}
  for key, record in unique.items():
    of_name.setdefault(record['method'], []).append(record | {'key': key})
  order = [*paper.TITLES, *sorted(of_name.keys() - paper.TITLES.keys())]
  return [
    record for name in order for record in _variants(of_name.get(name, []))
  ]


def _variants(of_name: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Records of one name with their labels, by what they differ in."""
  if len(of_name) < 2:
    return [record | {'label': record['method']} for record in of_name]
  texts = variants.setting_texts(of_name)
  if len({*texts}) < len(texts):
    texts = variants.setting_texts(of_name, variants.stated)
  found = []
  for record, text in zip(of_name, texts, strict=True):
    if not text or texts.count(text) > 1:  # other code or content made it
      digest = record['key'].removeprefix(f'{record["method"]}-')
      text = f'{text}, {digest}'.removeprefix(', ')
    found.append(record | {'label': f'{record["method"]} ({text})'})
  return sorted(found, key=lambda r: variants.order(r['label']))
