"""Compares the settings of finished methods, those that decided something.

Settings are dotted here: {'seed': 0, 'data.world.train': 1000, ..}.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from restpg_jax import config, effective
from restpg_jax.engines import input_files
from restpg_jax.io import fingerprints

Record = dict[str, Any]  # a file of WORKDIR/methods
SFT = ('sft', 'sft_reasoning')  # rows of Table 1 without iterations
SHORT = {'draw.m': 'm'}  # as the paper calls it
SEEDS = ('seed', 'data.world.seed')  # in which repetitions of a run differ


def stated(record: Record) -> dict[str, Any]:
  """Returns all settings of a method but those that cannot change results."""
  local = {'methods', *_local(config.Config())}
  return {n: v for n, v in _flat(record['config']) if n not in local}


def settings(record: Record) -> dict[str, Any]:
  """Returns those that decided something: with data.path no data.world, ..."""
  unused = tuple(f'{name}.' for name in _unused(record))
  return {
    name: value
    for name, value in stated(record).items()
    if not f'{name}.'.startswith(unused)
  }


def repeated(record: Record) -> dict[str, Any]:
  """Returns the settings that all repetitions of a run have in common."""
  return {n: v for n, v in settings(record).items() if n not in SEEDS}


def repetitions(
  all_records: Sequence[Record],
  view: Callable[[Record], dict[str, Any]] = repeated,
) -> list[list[Record]]:
  """Groups records that differ in nothing but their seeds, if at all; with
  another `view` in nothing that it has.

  rest_pg (seed 0), rest_pg (seed 1), rest_pg (seed 0, m 16)
    ->  [[rest_pg (seed 0), rest_pg (seed 1)], [rest_pg (seed 0, m 16)]]
  """
  groups: list[list[Record]] = []
  for record in all_records:
    for group in groups:
      pair = [group[0], record]
      same = record['method'] == group[0]['method']
      if same and not setting_names(pair, view):
        group.append(record)
        break
    else:
      groups.append([record])
  return groups


def seed_texts(all_records: Sequence[Record]) -> list[str]:
  """Returns each record's seed, of those of SEEDS that differ among them.

  ['0', '1', '1/2']: two differ, the run's and that of its synthetic world.
  """
  all_settings = [settings(record) for record in all_records]
  differing = [
    name
    for name in SEEDS
    if len({decided.get(name) for decided in all_settings}) > 1
  ]
  return [
    '/'.join(
      dict.fromkeys(
        str(decided[name]) for name in differing or SEEDS[:1] if name in decided
      )
    )
    for decided in all_settings
  ]


def same_reward(a: Record, b: Record) -> bool:
  """Returns whether two methods were scored alike.

  Files are compared by what they held where both records have it, else by name.
  """
  if 'reward' in a and 'reward' in b:
    return a['reward'] == b['reward']
  one, other = (
    effective.reward(_built(config.Reward(), record['config']['reward']))
    for record in (a, b)
  )
  return one == other


def contents(cfg: config.Config, record: Record) -> dict[str, str]:
  """Returns digests of what the settings that name files stood for.

  {'policy.checkpoint': '0123..', 'prompt.template': '89ab..', ..}
  """
  known = _only(cfg, {*settings(record)})
  return dict(_contents(known, fingerprints.meaning(known, input_files.READS)))


def setting_names(
  all_records: Sequence[Record],
  view: Callable[[Record], dict[str, Any]] = settings,
) -> list[str]:
  """Returns the settings that differ among the records that have them."""
  views = [(record, view(record)) for record in all_records]
  every = dict.fromkeys(name for _, flat in views for name in flat)
  return [
    name
    for name in every
    if not _alike([(r, flat[name]) for r, flat in views if name in flat], name)
  ]


def setting_texts(
  all_records: Sequence[Record],
  view: Callable[[Record], dict[str, Any]] = settings,
) -> list[str]:
  """Returns for each record its values of the settings that differ.

  ['seed 0, m 16', 'seed 1, m 16']
  """
  differing = {
    name: short_label(name) for name in setting_names(all_records, view)
  }
  return [
    ', '.join(
      f'{title} {_text(record, name, flat[name])}'
      for name, title in differing.items()
      if name in flat
    )
    for record, flat in ((record, view(record)) for record in all_records)
  ]


def short_label(name: str) -> str:
  """Returns the last part of a setting's name, unless others end in it."""
  last = name.rpartition('.')[2]
  every = dataclasses.asdict(config.Config())
  ends = [other.rpartition('.')[2] for other, _ in _flat(every)]
  return SHORT.get(name, last if ends.count(last) == 1 else name)


def order(text: str) -> list[str | float]:
  """Returns a key for sorting labels: 'm 8' comes before 'm 16'."""
  pieces = re.split(r'(\d+(?:\.\d+)?(?:e[-+]?\d+)?)', text)
  return [float(p) if n % 2 else p for n, p in enumerate(pieces)]


def _unused(record: Record) -> Iterator[str]:
  """Yields settings and sections that decided nothing of this method."""
  cfg = _built(config.Config(), record['config'])
  if record['method'] in SFT:
    yield 'iterations'
  if len(record['iterations']) == 1:  # no E-step
    yield from ('draw', 'select', 'fresh_start')
  if not record['output']:  # the method does not reason
    yield 'reason'
  idle = {
    f'{name}.{field}'
    for name, section in (*vars(cfg).items(), ('train.lora', cfg.train.lora))
    for field in effective.idle(section)
  }
  yield from _unmeasured(cfg, idle)


def _unmeasured(cfg: config.Config, idle: set[str]) -> set[str]:
  """Returns the idle settings that no metric uses either."""
  idle = idle | {'evaluate.encoder'}
  if 'judge' in cfg.evaluate.metrics:
    idle = {name for name in idle if not name.startswith('reward.')}
  elif 'reward.dtype' in idle:  # no judge is asked
    idle.add('evaluate.dtype')
  if 'cosine' in cfg.evaluate.metrics:
    section = 'evaluate' if cfg.evaluate.encoder else 'retrieval'
    idle.discard(f'{section}.encoder')
  return idle


def _built(default: Any, stated: dict[str, Any]) -> Any:
  """Returns the settings as a dataclass; fields of another version that are
  unknown here are left out."""
  return dataclasses.replace(
    default,
    **{
      name: _built(getattr(default, name), value)
      if isinstance(value, dict)
      else value
      for name, value in stated.items()
      if hasattr(default, name)
    },
  )


def _flat(
  section: dict[str, Any], prefix: str = ''
) -> Iterator[tuple[str, Any]]:
  """Yields ('data.world.train', 1000) for {'data': {'world': ..}}."""
  for name, value in section.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value


def _local(section: Any, prefix: str = '') -> Iterator[str]:
  """Yields the dotted names of the fields that cannot change results."""
  for field in dataclasses.fields(section):
    value, name = getattr(section, field.name), f'{prefix}{field.name}'
    if dataclasses.is_dataclass(value):
      yield from _local(value, f'{name}.')
    elif field.metadata == config.LOCAL:
      yield name


def _only(section: Any, names: set[str], prefix: str = '') -> Any:
  """Empties the texts that are not in `names`: the files that they stand for
  were perhaps never there."""
  changed = {}
  for field in dataclasses.fields(section):
    value, name = getattr(section, field.name), f'{prefix}{field.name}'
    if dataclasses.is_dataclass(value):
      changed[field.name] = _only(value, names, f'{name}.')
    elif isinstance(value, str) and name not in names:
      changed[field.name] = ''
  return dataclasses.replace(section, **changed)


def _contents(
  section: Any, meaning: dict[str, Any], prefix: str = ''
) -> Iterator[tuple[str, str]]:
  """Yields (name, digest) for each text that stands for a file or for code."""
  for key, value in meaning.items():
    name = f'{prefix}{key}'
    inner = getattr(section, key, None)
    if dataclasses.is_dataclass(inner):
      yield from _contents(inner, value, f'{name}.')
    elif isinstance(value, dict):
      text = json.dumps(value, sort_keys=True)
      yield name, hashlib.sha256(text.encode()).hexdigest()


def _alike(pairs: Sequence[tuple[Record, Any]], name: str) -> bool:
  """Returns whether all values are equal, or name files of one content."""
  digests = [record.get('contents', {}).get(name) for record, _ in pairs]
  values = [value for _, value in pairs] if None in digests else digests
  return all(value == values[0] for value in values)


def _text(record: Record, name: str, value: Any) -> str:
  """Returns a value in a few characters, of a path only the last part."""
  digest = record.get('contents', {}).get(name)
  if digest:
    return f'{os.path.basename(value.rstrip("/"))} {digest[:6]}'
  return value_text(value)


def value_text(value: Any) -> str:
  """Returns a value in a few characters, of a path only the last part."""
  if isinstance(value, list | tuple):
    return '/'.join(map(str, value)) or 'none'
  if isinstance(value, str):
    return os.path.basename(value.rstrip('/')) or 'none'
  return str(value)
