"""Table 2: how many examples there are, and how long their texts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from restpg_jax import paper, types
from restpg_jax.io import records
from restpg_jax.report import moments, timing
from restpg_jax.text import words

VERSION = 1  # of the numbers; those of another one are counted anew
PREFIX = 'retrieve/'
TEXTS = 'input', 'output'
Stages = Sequence[dict[str, Any]]


def read(
  workdir: epath.Path,
  method: dict[str, Any],
  stages: Stages,
  known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Returns Table 2 of the data that a method was run on.

  {'method', 'tasks': {task: {'examples': {'train': 16, ..}, 'input': [mean
  words, their standard deviation], 'output': ..}}}. `known` is that of an
  earlier report, which holds for the same data. Examples are read as a stream.
  """
  needed = timing.needed_stages(method, [*stages])
  own = [
    stage
    for stage in stages
    if stage['name'].startswith(PREFIX) and stage['fingerprint'] in needed
  ]
  marks = [stage['fingerprint'] for stage in own]
  same = {'version': VERSION, 'stages': marks}
  if known and known.items() >= same.items():
    return {**known, 'method': method['label']}
  counts: dict[str, dict[str, int]] = {}
  lengths: dict[tuple[str, str], moments.Moments] = {}
  for stage in own:
    path = workdir / stage['folder'] / 'examples.jsonl'
    for example in _examples(path):
      by_split = counts.setdefault(example.task, {})
      split = stage['name'].removeprefix(PREFIX)
      by_split[split] = by_split.get(split, 0) + 1
      for text in TEXTS:
        sums = lengths.setdefault((example.task, text), moments.Moments())
        sums.add(len(words.words(getattr(example, text))))
  tasks = {
    task: {
      'examples': counts[task],
      **{text: spread(lengths[task, text]) for text in TEXTS},
    }
    for task in types.EVERY_TASK
    if task in counts
  }
  return {**same, 'method': method['label'], 'tasks': tasks}


def spread(sums: moments.Moments) -> list[float | None]:
  """Returns [mean, standard deviation]; 0, 0, 1, 1 -> [0.5, 0.577]."""
  error = sums.stderr
  return [sums.mean, None if error is None else error * math.sqrt(sums.n)]


def table(data: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns a row a task for people: {'title', 'cells': [(ours, paper's)]}."""
  rows = []
  for task, numbers in data['tasks'].items():
    title = str(paper.TASK_TITLES.get(task, task))
    own = paper.LONGLAMP.get(title)
    cells = [
      (
        f'{numbers["examples"].get(split, 0):,}',
        f'{own.examples[n]:,}' if own else '',
      )
      for n, split in enumerate(paper.SPLITS)
    ]
    for text in TEXTS:
      cells.append(
        (_mean(numbers[text]), _mean(getattr(own, text)) if own else '')
      )
    cells.append(('', _mean(own.profile) if own else ''))
    rows.append({'title': title, 'cells': cells})
  return rows


def _mean(pair: Sequence[float | None]) -> str:
  mean, deviation = pair
  if mean is None:
    return '-'
  return f'{mean:.1f}' + (f' ± {deviation:.1f}' if deviation else '')


def _examples(path: epath.Path) -> Iterator[types.Example]:
  """Yields the examples of a file; none where it was removed."""
  if path.exists():
    yield from records.read(path, types.Example)
