"""How long the stages of each method took, and how fast they worked."""

# Stages by the end of their name, and what of their summary they work on.
ITEMS = {
  'reason': 'made',
  'draw': 'made',
  'answer': 'made',
  'score': 'distinct',
  'measure': 'made',
  'train': 'made',
  'choose': 'answers',
}
# What is taken over from a stage's summary, where it is there.
TAKEN = ('tokens_per_s', 'occupancy', 'accepted', 'saved')


def stage_speeds(methods: list[dict], stages: list[dict]) -> list[dict]:
  """A row for each stage that draws, scores, measures or trains.

  methods: of experiments.read; stages: DONE.json of all, each after its inputs
  and with its `folder`. A stage that several methods share stands with the
  first of them.
  """
  rows, seen = [], set()
  for method in methods:
    needed = _needed(method, stages)
    for stage in stages:
      mark = stage['fingerprint']
      if mark in needed - seen and _kind(stage):
        rows.append({'method': method['label'], **_row(stage)})
    seen |= needed
  return rows


def _kind(stage: dict) -> str | None:
  """'e_step1/draw_2' -> 'draw'; None for what only reads and sorts."""
  *folder, kind = stage['name'].split('/')
  kind = kind.partition('_')[0]  # later rounds: _2 ..
  return kind if kind in ITEMS and folder != ['retrieve'] else None


def _row(stage: dict) -> dict:
  summary, seconds = stage['summary'], stage['seconds']
  items = summary.get(ITEMS[_kind(stage)], summary['made'])
  return {
    'stage': stage['name'],
    'items': items,
    'seconds': seconds,
    'items_per_s': summary.get(
      'items_per_s', items / seconds if seconds > 0 else None
    ),
    **{key: summary.get(key) for key in TAKEN},
    'accept': (stage['cfg'] or {}).get('accept'),
  }


def _needed(method: dict, stages: list[dict]) -> set[str]:
  """Fingerprints of all that a method's numbers were made from."""
  inputs = {s['fingerprint']: s['inputs'] for s in stages}
  ends = {
    run.get(kind)
    for run in method['iterations']
    for kind in ('scores', 'measures')
  }
  left = [s['fingerprint'] for s in stages if s['folder'] in ends]
  needed = set()
  while left:
    mark = left.pop()
    if mark not in needed:
      needed.add(mark)
      left += [made['fingerprint'] for made in inputs.get(mark, ())]
  return needed
