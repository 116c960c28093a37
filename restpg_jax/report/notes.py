"""Says what a reader must know before believing the report's tables."""

from collections.abc import Iterator
from typing import Any

from restpg_jax import variants


def of_methods(
  methods: list[dict[str, Any]],
  by_method: dict[str, Any],
) -> list[str]:
  """Says what a reader must know before believing the table."""
  notes = []
  for method, numbers in by_method.items():
    without, cut = (
      sum(task[count] for task in numbers['tasks'].values())
      for count in ('no_answer', 'cut')
    )
    if without or cut:
      notes.append(
        f'{method}: {without} outputs never reached the answer marker (no '
        f'answer); {cut} were cut at the output limit.'
      )
  num_tasks = max(len(numbers['tasks']) for numbers in by_method.values())
  for method, numbers in by_method.items():
    if len(numbers['tasks']) < num_tasks:
      notes.append(
        f'{method}: it has {len(numbers["tasks"])} of {num_tasks} tasks, its '
        'macros are over these.'
      )
  notes += _unmeasured(methods)
  different = sorted(variants.setting_names(methods))
  if different:
    notes.append(
      f'The methods were run with different settings: {", ".join(different)}.'
    )
  return [*notes, *_old_choices(by_method)]


def refusals(
  test_sets: list[list[str]], over_seeds: dict[str, Any]
) -> Iterator[str]:
  """Says what is not compared, for it was tested on different examples."""
  if len(test_sets) > 1:
    yield (
      'Not compared with each other, for they were tested on different '
      f'examples: {" | ".join(", ".join(labels) for labels in test_sets)}.'
    )
  for pair in over_seeds['pairs']:
    if pair['refused']:
      yield (
        f'{pair["a"]} - {pair["b"]}: over seeds without '
        f'{", ".join(pair["refused"])}, tested on different examples; run both '
        'on the same test data.'
      )


def _old_choices(by_method: dict[str, Any]) -> Iterator[str]:
  """Says which methods have no validation by task."""
  old = [
    label
    for label, numbers in by_method.items()
    if any(
      not (i['validation'] or {}).get('tasks') for i in numbers['iterations']
    )
  ]
  if old:
    yield (
      f'{", ".join(old)}: checkpoints were chosen before validation was kept '
      'by task, or their folders were removed; a run in another workdir has it.'
    )


def _unmeasured(methods: list[dict[str, Any]]) -> Iterator[str]:
  """Says which text metrics are missing, and how to get them."""
  older = [
    method['label']
    for method in methods
    if not all('measures' in run for run in method['iterations'])
  ]
  if older:
    yield (
      f'{", ".join(older)}: finished before there were text metrics; the same '
      'command again measures them and makes nothing else.'
    )
  metrics = {
    name
    for method in methods
    for name in method['config'].get('evaluate', {}).get('metrics', ())
  }
  if 'meteor' not in metrics:
    yield (
      "METEOR was not measured: it needs NLTK's data (README.md, Metrics)."
    )
