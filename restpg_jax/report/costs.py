"""Computes what each method cost: chip-seconds by kind of stage, and by answer.

A chip here is a device as JAX counts them; the time is that of the wall.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from restpg_jax.report import charts, goodput, tables, timing

SECTION = 'cost'
KINDS = {  # by the end of a stage's name, in the order of a run
  'retrieve': 'retrieve',
  'reason': 'reasoning data',
  'train': 'train',
  'choose': 'choose',
  'draw': 'draw',
  'score': 'judge',
  'answer': 'answer',
  'measure': 'measure',
}
OTHER = 'other'
Stages = Sequence[Mapping[str, Any]]


def account(
  methods: Sequence[dict[str, Any]], stages: Sequence[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
  """Returns {'kinds': a row for each method and kind of stage, 'answers': one
  for each method, of its last iteration}.

  Here every method has all stages that it needs, those that others share too,
  for that is what it would cost alone. Chips are None for markers of before
  these were noted.
  """
  kinds, listed = [], []
  for method in methods:
    needed = timing.needed_stages(method, [*stages])
    own = [stage for stage in stages if stage['fingerprint'] in needed]
    kinds += _kinds(method['label'], own)
    listed += _answers(method, stages)
  return {'kinds': kinds, 'answers': listed}


def kind(name: str) -> str:
  """'e_step1/draw_2' -> 'draw', 'retrieve/train' -> 'retrieve'."""
  first, *_ = name.split('/')
  last = name.rpartition('/')[2].partition('_')[0]
  return KINDS.get('retrieve' if first == 'retrieve' else last, OTHER)


def _kinds(label: str, stages: Stages) -> Iterator[dict[str, Any]]:
  for name in (*KINDS.values(), OTHER):
    own = [stage for stage in stages if kind(stage['name']) == name]
    if own:
      yield {
        'method': label,
        'kind': name,
        'seconds': sum(stage['seconds'] for stage in own),
        'chip_seconds': _total(map(_chip_seconds, own)),
        'useful': _total(map(_useful, own)),
      }


def _answers(
  method: dict[str, Any], stages: Stages
) -> Iterator[dict[str, Any]]:
  """Yields what an answer takes: the reasoning before it is part of it."""
  last = method['iterations'][-1]
  for stage in stages:
    summary = stage['summary']
    if stage['folder'] == last['answers'] and summary.get('made'):
      count, tokens = summary['made'], summary.get('tokens')
      seconds = _useful(stage)
      seconds = stage['seconds'] if seconds is None else seconds
      chips = (stage.get('devices') or {}).get('count')
      yield {
        'method': method['label'],
        't': last['t'],
        'reasoning': bool(method['output']),
        'answers': count,
        'tokens': tokens and tokens / count,
        'seconds': seconds / count,
        'chip_seconds': chips and chips * seconds / count,
      }


def _chip_seconds(stage: Mapping[str, Any]) -> float | None:
  devices = stage.get('devices')
  return devices and devices['count'] * stage['seconds']


def _useful(stage: Mapping[str, Any]) -> float | None:
  """Returns a stage's seconds without compiling, waiting and redone work."""
  return goodput.spent(stage['sittings'])['useful']


def _total(values: Iterator[float | None]) -> float | None:
  known = [*values]
  return None if None in known else sum(v for v in known if v is not None)


def figures(results: dict[str, Any]) -> Iterator[charts.Chart]:
  """Yields the chart of where the time of each method goes."""
  rows = results['cost']['kinds']
  names = [
    n for n in (*KINDS.values(), OTHER) if n in {r['kind'] for r in rows}
  ]
  labels = list(dict.fromkeys(row['method'] for row in rows))
  series = [
    charts.Series(
      tables.title(label),
      tuple(
        charts.Point(names.index(row['kind']), row['seconds'] / 60)
        for row in rows
        if row['method'] == label
      ),
      n,
    )
    for n, label in enumerate(labels)
  ]
  if sum(row['seconds'] for row in rows):
    yield charts.Chart(
      name='cost_by_stage',
      section=SECTION,
      title='Time of each method by kind of stage',
      x='stage',
      y='minutes',
      panels=(charts.Panel('', tuple(series)),),
      note='Each with all stages that it needs, those that others share too.',
      bars=True,
      names=tuple(names),
    )


def tables_of(results: dict[str, Any]) -> dict[str, Any]:
  """Returns the two tables for people: {'kinds', 'answers'}, each {columns,
  rows {method, name, cells}}."""
  cost = results['cost']
  return {
    'kinds': {
      'columns': ['time', 'chip-hours', 'useful'],
      'rows': [
        {
          'method': tables.title(row['method']),
          'name': row['kind'],
          'cells': [
            tables.seconds(row['seconds']),
            tables.number(_hours(row['chip_seconds']), 3),
            tables.percent(_share(row)),
          ],
        }
        for row in cost['kinds']
      ],
    },
    'answers': {
      'columns': ['answers', 'tokens', 'seconds', 'chip-seconds'],
      'rows': [
        {
          'method': tables.title(row['method']),
          'name': 'with' if row['reasoning'] else 'without',
          'cells': [
            f'{row["answers"]:,}',
            tables.number(row['tokens'], 1),
            tables.number(row['seconds'], 3),
            tables.number(row['chip_seconds'], 3),
          ],
        }
        for row in cost['answers']
      ],
    },
  }


def _hours(seconds: float | None) -> float | None:
  return None if seconds is None else seconds / 3600


def _share(row: Mapping[str, Any]) -> float | None:
  useful, seconds = row['useful'], row['seconds']
  return None if useful is None or not seconds else min(1, useful / seconds)
