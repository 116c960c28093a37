"""Keeps records of finished methods: WORKDIR/methods, a file an experiment.

An experiment is a method with all that decides its results. The names of the
folders of its answers and scores say which one it is, for they end in
fingerprints of everything that made them: settings, seed, iterations, the
content of data and weights. What is measured of the answers beside is left out:
it decides nothing, and with other metrics it is the same experiment.

Its file is methods/NAME-DIGEST.json; before there were several experiments of
one name it was NAME.json, without a `number`.
"""

import dataclasses
import datetime
import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from etils import epath

from restpg_jax import config, errors, paper, variants
from restpg_jax.engines import input_files, prompting
from restpg_jax.io import artifacts, fingerprints, located, records
from restpg_jax.text import templates

KEYS = {'method', 'config', 'output', 'iterations'}  # of every record


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """The test answers of the policy after iteration t, and their numbers."""

  t: int
  test: artifacts.Artifact
  answers: artifacts.Artifact
  scores: artifacts.Artifact
  measures: artifacts.Artifact | None  # None: no metric is computed
  reward: config.Reward  # what gave the scores


def note_method(
  workdir: epath.Path,
  name: str,
  cfg: config.Config,
  evaluations: Sequence[Evaluation],
  *,
  reasoning: bool,
  seconds: float,
) -> str:
  """Writes the record of a finished method, from which reports are built.

  Returns its key.
  """
  template = prompting.load_template(cfg.prompt.template)
  output = templates.Output.of(template)

  def folder(artifact: artifacts.Artifact) -> str:
    return str(artifact.path.relative_to(workdir))

  record = {
    'method': name,
    'config': located.noted(cfg, workdir),
    'seconds': seconds,
    'output': dataclasses.asdict(output) if reasoning else None,
    'reward': fingerprints.meaning(evaluations[-1].reward, input_files.READS),
    'iterations': [
      {
        't': e.t,
        'examples': folder(e.test),
        'answers': folder(e.answers),
        'scores': folder(e.scores),
        'measures': e.measures and folder(e.measures),
      }
      for e in evaluations
    ],
  }
  record['contents'] = variants.contents(cfg, record)
  return note(workdir, record)


def note(workdir: epath.Path, record: dict[str, Any]) -> str:
  """Writes the record of an experiment in place of its earlier one, if any.

  Returns its key, of which its file is called.

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
  return key


def read_experiments(workdir: epath.PathLike) -> list[dict[str, Any]]:
  """Returns every record with its `key` and `label`, in Table 1's order and
  those of one name by the settings in which they differ.

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
  """As `read_experiments`, but the last finished last; those without a number
  come first."""
  return sorted(
    read_experiments(workdir), key=lambda r: (_number(r), r['label'])
  )


def pick(workdir: epath.PathLike, method: str = '') -> dict[str, Any]:
  """Returns the record called `method`, by name, label or key; without a name
  the one that was finished last.

  Raises InputError where that is not certain: for a name of several
  experiments, and for records without a number.
  """
  finished = by_age(workdir)
  known = ', '.join(r['label'] for r in finished) or 'none'
  if method:
    matches = [
      r for r in finished if method in (r['method'], r['label'], r['key'])
    ]
    if not matches:
      raise errors.InputError(
        f'--method={method}: finished in {workdir} are {known}'
      )
    if len(matches) > 1:
      choices = ', '.join(
        f'--method={r["key"]} for {r["label"]}' for r in matches
      )
      raise errors.InputError(
        f'--method={method}: {workdir} has {len(matches)} of that name; give '
        f'{choices}'
      )
    return matches[0]
  _, torn = _files(epath.Path(workdir))
  if torn:
    raise errors.InputError(
      f'{torn[0]}: no whole record of a method, which may be the one finished '
      f'last; give --method=NAME (whole are {known}) or remove that file'
    )
  if not finished:
    raise errors.InputError(f'{workdir}: no method is finished there yet')
  if len(finished) > 1 and _number(finished[-1]) == _number(finished[-2]):
    raise errors.InputError(
      f'{workdir}: its files do not say which of {known} was finished last; '
      'give --method=NAME'
    )
  return finished[-1]


def choice_of(
  workdir: epath.Path, iteration: dict[str, Any]
) -> epath.Path | None:
  """Returns the folder in which an iteration's policy was chosen, of a record's
  `iterations`; None where it was removed, or the answers of that policy."""
  answers = workdir / iteration['answers'] / artifacts.DONE
  if not answers.exists():
    return None
  sources = records.read_json(answers)['inputs']
  if not sources:
    return None
  folder = workdir / sources[0]['path']
  return folder if (folder / artifacts.DONE).exists() else None


def key_of(record: dict[str, Any]) -> str:
  """Returns 'rest_pg-0123456789ab', the same for the same experiment only."""
  identity = [
    record['config']['answer']['m'],  # in no fingerprint: a store's extent
    *([i['t'], i['answers'], i.get('scores')] for i in record['iterations']),
  ]
  digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
  return f'{record["method"]}-{digest[:12]}'


def _files(
  workdir: epath.Path,
) -> tuple[dict[epath.Path, dict[str, Any]], list[epath.Path]]:
  """Returns the records by their files, and the files that hold none."""
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


def _labelled(finished: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns each experiment once: a kill may leave its earlier record, too."""
  unique = {key_of(r): r for r in sorted(finished, key=_number)}
  by_name = {}
  for key, record in unique.items():
    by_name.setdefault(record['method'], []).append(record | {'key': key})
  order = [*paper.TITLES, *sorted(by_name.keys() - paper.TITLES.keys())]
  return [
    record for name in order for record in _variants(by_name.get(name, []))
  ]


def _variants(same_name: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns records of one name with labels of what they differ in."""
  if len(same_name) < 2:
    return [record | {'label': record['method']} for record in same_name]
  texts = variants.setting_texts(same_name)
  if len({*texts}) < len(texts):
    texts = variants.setting_texts(same_name, variants.stated)
  labelled = []
  for record, text in zip(same_name, texts, strict=True):
    if not text or texts.count(text) > 1:  # other code or content made it
      digest = record['key'].removeprefix(f'{record["method"]}-')
      text = f'{text}, {digest}'.removeprefix(', ')
    labelled.append(record | {'label': f'{record["method"]} ({text})'})
  return sorted(labelled, key=lambda r: variants.order(r['label']))
