"""Reads what the reasoner wrote for training inputs: Figures 12 and 13.

Stage `reason` keeps it before the gold text, as the policy learns to write it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from restpg_jax import types
from restpg_jax.io import records
from restpg_jax.report import samples
from restpg_jax.text import templates

STAGE = 'reason'


def read_reasoned(
  workdir: epath.Path,
  methods: Iterable[dict[str, Any]],
  stages: Iterable[dict[str, Any]],
) -> list[samples.Run]:
  """Returns a run for each finished stage `reason`, its inputs in their order.

  `methods` are records of experiments.py, whose `output` says how a target
  parts reasoning and answer; `stages` are DONE.json with their `folder`. A
  stage is left out where its inputs were removed, or where no method has the
  form of its targets.
  """
  forms = {templates.Output(**m['output']) for m in methods if m.get('output')}
  runs = []
  for stage in stages:
    if stage['name'] == STAGE:
      (source, *_) = stage['inputs']
      made_of = workdir / source['path'] / 'examples.jsonl'
      targets = workdir / stage['folder'] / 'trajectories.jsonl'
      if made_of.exists() and targets.exists():
        rows = [*_read(made_of, targets, forms)]
        if rows:
          runs.append(samples.Run(_title(stage), None, rows))
  return _told_apart(runs)


def _read(
  examples: epath.Path, targets: epath.Path, forms: set[templates.Output]
) -> Iterator[samples.Sample]:
  """Yields the reasoning of each input that has some."""
  by_id = {t.example_id: t for t in records.read(targets, types.Trajectory)}
  for example in records.read(examples, types.Example):
    if example.id in by_id:
      target = by_id[example.id].text
      form = next((f for f in forms if f.has_marker(target)), None)
      if form:
        reasoning, _ = form.split(target)
        yield samples.Sample(example, reasoning, None, {})


def _title(stage: dict[str, Any]) -> str:
  """Says which model the reasoner is."""
  settings = (stage['cfg'] or {}).get('reason', {})
  checkpoint = settings.get('model', {}).get('checkpoint', '')
  return f'reasoner {checkpoint.rstrip("/").split("/")[-1]}'.rstrip()


def _told_apart(runs: list[samples.Run]) -> list[samples.Run]:
  """Numbers runs if there are several."""
  if len(runs) < 2:
    return runs
  return [
    samples.Run(f'{run.method} ({n})', run.t, run.samples)
    for n, run in enumerate(runs, 1)
  ]
