"""Computes how long the stages of each method took, and how fast they were."""

from typing import Any

# The count in its summary that a stage works on, by the end of its name.
ITEMS = {
  'reason': 'made',
  'draw': 'made',
  'answer': 'made',
  'score': 'distinct',
  'measure': 'made',
  'train': 'made',
  'choose': 'answers',
}
# Keys that are copied from a stage's summary, where it has them.
COPIED = ('tokens_per_s', 'occupancy', 'accepted', 'saved')


def stage_speeds(
  methods: list[dict[str, Any]], stages: list[dict[str, Any]]
) -> list[dict[str, Any]]:
  """Returns a row for each stage that draws, scores, measures or trains.

  `methods` are the records of experiments.py, `stages` the DONE.json of all
  stages, each after its inputs and with its `folder`. A stage that several
  methods share stands with the first of them.
  """
  rows, seen = [], set()
  for method in methods:
    needed = needed_stages(method, stages)
    for stage in stages:
      fingerprint = stage['fingerprint']
      name = _base_name(stage)
      if name and fingerprint in needed - seen:
        row = _row(stage, ITEMS[name])
        rows.append({'method': method['label'], **row})
    seen |= needed
  return rows


def _base_name(stage: dict[str, Any]) -> str | None:
  """Returns 'draw' of 'e_step1/draw_2'; None for what only reads and sorts."""
  *folder, name = stage['name'].split('/')
  name = name.partition('_')[0]  # later rounds: _2 ..
  return name if name in ITEMS and folder != ['retrieve'] else None


def _row(stage: dict[str, Any], counted: str) -> dict[str, Any]:
  """Returns a stage's row; `counted` is the key of what it works on."""
  summary, seconds = stage['summary'], stage['seconds']
  items = summary.get(counted, summary['made'])
  return {
    'stage': stage['name'],
    'items': items,
    'seconds': seconds,
    'items_per_s': summary.get(
      'items_per_s', items / seconds if seconds > 0 else None
    ),
    **{key: summary.get(key) for key in COPIED},
    'accept': (stage['cfg'] or {}).get('accept'),
  }


def needed_stages(
  method: dict[str, Any], stages: list[dict[str, Any]]
) -> set[str]:
  """Returns the fingerprints of all stages behind a method's numbers."""
  inputs = {s['fingerprint']: s['inputs'] for s in stages}
  ends = {
    run.get(stage)
    for run in method['iterations']
    for stage in ('scores', 'measures')
  }
  pending = [s['fingerprint'] for s in stages if s['folder'] in ends]
  needed = set()
  while pending:
    fingerprint = pending.pop()
    if fingerprint not in needed:
      needed.add(fingerprint)
      pending += [
        source['fingerprint'] for source in inputs.get(fingerprint, ())
      ]
  return needed
