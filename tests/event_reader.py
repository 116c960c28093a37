"""Event files as TensorBoard's own reader sees them, beside metrics.jsonl."""

import json
import sys
import types

import numpy as np
import pytest

STEPS = 'done', 'step'  # the field that counts, of a stage and of training


def read(folder):
  """TensorBoard's EventAccumulator of one run, everything in it."""
  # TensorBoard then leaves TensorFlow alone, which takes seconds to import.
  sys.modules.setdefault(
    'tensorboard.compat.notf', types.ModuleType('tensorboard.compat.notf')
  )
  reader = pytest.importorskip(
    'tensorboard.backend.event_processing.event_accumulator'
  )
  sizes = {'scalars': 0, 'tensors': 0, 'images': 0}
  events = reader.EventAccumulator(str(folder), size_guidance=sizes)
  events.Reload()
  return events


def scalars(folder) -> dict:
  """{'loss': [(2, 4.5), (4, 4.25)], ..}, in the order of the files.

  Without tags all of whose events were dropped.
  """
  events = read(folder)
  return {
    tag: [(event.step, event.value) for event in kept]
    for tag in events.Tags()['scalars']
    if (kept := events.Scalars(tag))
  }


def metrics(path) -> dict:
  """The same of a metrics.jsonl, as single floats."""
  found = {}
  for line in map(json.loads, path.read_text().splitlines()):
    (step,) = (line[name] for name in STEPS if name in line)
    goodput = line.pop('goodput') or {}
    line |= {f'goodput/{name}': value for name, value in goodput.items()}
    for name, value in line.items():
      if value is not None:
        found.setdefault(name, []).append((step, float(np.float32(value))))
  return found


def compare(workdir) -> set:
  """Asserts that all runs have what their metrics.jsonl has; names these."""
  compared = set()
  for path in sorted(workdir.glob('**/metrics.jsonl')):
    run = path.parent.relative_to(workdir)
    found = scalars(workdir / 'tensorboard' / run)
    assert found == metrics(path), run
    for name, pairs in found.items():
      steps = [step for step, _ in pairs]
      assert steps == sorted(steps), f'{run}: {name} goes back'
    compared.add(str(run).rpartition('-')[0])
  return compared
