"""Chooses and packs what the page's sample browser shows.

Numbers and the beginnings of the inputs enter the page as JSON that is read at
once. The texts lie beside it in blocks of gzip, each unpacked when its inputs
are looked at, so that a page of thousands of samples opens at once.
"""

import base64
import collections
import dataclasses
import gzip
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from restpg_jax import paper, types
from restpg_jax.report import answers, tables
from restpg_jax.text import names, words

SAMPLES = 10_000  # shown in all; of LongLaMP's lengths they take about 15 MB
REASONED = 1_000  # of them what the reasoner wrote, for training inputs
CHARACTERS = 6000  # of one text
PACKED = 26_000_000  # characters of all blocks, for samples of any lengths
BLOCK = 32  # inputs; unpacked in a few milliseconds
TEST, REASONER = 'test', 'reasoner'  # the views
START = 120  # characters of an input in the list
# A word that this share of the golds has, or more, is not marked as shared:
# where all have it, it says nothing of a user. At least so many must have it.
COMMON_SHARE, COMMON_GOLDS = 0.25, 3
MEASURES = {
  'reward': 'reward',
  'true_score': 'true score',
  **tables.METRIC_TITLES,
  'names': 'names from nowhere',
}


@dataclasses.dataclass(frozen=True)
class Sample:
  """An input with what one run wrote to it."""

  example: types.Example
  reasoning: str
  answer: str | None  # None: the output never reached the answer marker
  scores: dict[str, float]
  ended: bool = True  # False: cut at the output limit


@dataclasses.dataclass(frozen=True)
class Run:
  """A column of the browser: a method at an iteration, or a reasoner."""

  method: str  # as people read it
  t: int | None
  samples: Sequence[Sample]  # one an input


@dataclasses.dataclass(frozen=True)
class Packed:
  """What goes into the page."""

  index: dict[str, Any]
  blocks: list[str]  # base64 of gzip of a JSON list, an object an input


def test_runs(evaluations: Iterable[answers.Evaluation]) -> list[Run]:
  """Returns the answers to test inputs, one to each input."""
  runs = []
  for evaluation in evaluations:
    by_example: dict[str, Sample] = {}
    for a in evaluation.answers:
      scores = {'reward': a.reward} | answers.answer_metrics(a)
      if a.true_score is not None:
        scores['true_score'] = a.true_score
      by_example.setdefault(
        a.example.id, Sample(a.example, a.reasoning, a.text, scores, a.ended)
      )
    method = tables.title(evaluation.method)
    runs.append(Run(method, evaluation.t, [*by_example.values()]))
  return runs


def pack(test: list[Run], reasoned: list[Run]) -> Packed:
  """Returns the index and the blocks of both views.

  `reasoned` has the training inputs, with reasoning and no answer.
  """
  views, blocks = [], []
  share = REASONED / SAMPLES if reasoned else 0.0
  for key, runs, part in (
    (TEST, test, 1 - share),
    (REASONER, reasoned, share),
  ):
    if runs:
      bounds = round(part * SAMPLES), round(part * PACKED)
      view, more = _view(runs, *bounds, reads_gold=key == REASONER)
      views.append(view | {'key': key, 'first': len(blocks)})
      blocks += more
  titles = {
    task: paper.TASK_TITLES.get(task, task) for task in types.EVERY_TASK
  }
  index = {'views': views, 'block': BLOCK, 'tasks': titles}
  return Packed(index, blocks)


@dataclasses.dataclass
class _Row:
  """An input, and which run wrote what to it."""

  example: types.Example
  rank: int  # among its run's inputs of this task
  samples: dict[int, Sample] = dataclasses.field(default_factory=dict)


def _view(
  runs: list[Run], samples: int, packed: int, *, reads_gold: bool
) -> tuple[dict[str, Any], list[str]]:
  """Returns the index of one view and its blocks, within these bounds."""
  rows = _rows(runs)
  counts = itertools.accumulate(len(row.samples) for row in rows)
  chosen = [
    row for row, n in zip(rows, counts, strict=True) if n <= samples
  ] or rows[:1]
  shown, blocks, cut = [], [], 0
  for start in range(0, len(chosen), BLOCK):
    part = chosen[start : start + BLOCK]
    entries = [_texts(row, len(runs), reads_gold) for row in part]
    block = _block([entry for entry, _ in entries])
    packed -= len(block)
    if packed < 0 and blocks:
      break
    shown += zip(part, (entry for entry, _ in entries), strict=True)
    blocks.append(block)
    cut += sum(count for _, count in entries)
  rows_shown = [row for row, _ in shown]
  view = {
    'examples': [*_examples(rows_shown)],
    'runs': [_columns(run, n, shown) for n, run in enumerate(runs)],
    'measures': _measures(runs),
    'common': _common(row.example.output for row in rows_shown),
    'inputs': len(rows),
    'samples': sum(len(row.samples) for row in rows_shown),
    'all_samples': sum(len(run.samples) for run in runs),
    'cut': cut,
  }
  return view, blocks


def _rows(runs: list[Run]) -> list[_Row]:
  """Returns all inputs, the first of each task of each run first.

  So the inputs within a bound are the same for all runs that have the same, and
  every task has its part. Runs of other seeds may give an id to another input.
  """
  rows: dict[tuple, _Row] = {}
  for n, run in enumerate(runs):
    ranks = collections.Counter()
    for sample in run.samples:
      e = sample.example
      rank = ranks[e.task]
      ranks[e.task] += 1
      key = e.id, e.input, e.context, e.output
      rows.setdefault(key, _Row(e, rank)).samples[n] = sample
  return sorted(rows.values(), key=lambda row: row.rank)


def _texts(
  row: _Row, num_runs: int, reads_gold: bool
) -> tuple[dict[str, Any], int]:
  """Returns the texts of an input, and how many of them were cut.

  Names are from nowhere that stand in nothing that the writer has read.
  """
  example, cut = row.example, 0
  sources = [example.input, *example.context, *[example.output] * reads_gold]

  def short(text: str) -> str:
    nonlocal cut
    cut += len(text) > CHARACTERS
    return _shorter(text)

  runs: list[list[Any] | None] = [None] * num_runs
  for n, sample in row.samples.items():
    reasoning = short(sample.reasoning)
    answer = None if sample.answer is None else short(sample.answer)
    both = f'{reasoning}\n{answer or ""}'
    runs[n] = [reasoning, answer, names.unsupported_names(both, sources)]
  entry = {
    'input': short(example.input),
    'gold': short(example.output),
    'context': [short(text) for text in example.context],
    'runs': runs,
  }
  return entry, cut


def _shorter(text: str) -> str:
  if len(text) <= CHARACTERS:
    return text
  return f'{text[:CHARACTERS]} [... {len(text) - CHARACTERS} more characters]'


def _block(entries: list[dict[str, Any]]) -> str:
  # mtime: the same samples give the same page.
  packed = gzip.compress(json.dumps(entries).encode(), mtime=0)
  return base64.b64encode(packed).decode()


def _examples(rows: list[_Row]) -> Iterator[dict[str, str]]:
  """Yields what the list shows of each input.

  The words by which all inputs of a task begin tell none from another.
  """
  by_task = collections.defaultdict(list)
  for row in rows:
    by_task[row.example.task].append(row.example.input)
  begins = {task: _beginning(inputs) for task, inputs in by_task.items()}
  for row in rows:
    example = row.example
    own = example.input[begins[example.task] :][: 2 * START]
    yield {
      'id': example.id,
      'task': example.task,
      'start': ' '.join(own.split())[:START],
    }


def _beginning(inputs: list[str]) -> int:
  """Returns how many characters of whole words all inputs begin with."""
  prefix = os.path.commonprefix(inputs) if len({*inputs}) > 1 else ''
  return prefix.rfind(' ') + 1


def _columns(
  run: Run, n: int, shown: list[tuple[_Row, dict[str, Any]]]
) -> dict[str, Any]:
  """Returns the numbers of a run, a list of all inputs each; None: no sample.

  `cut` has the numbers of the inputs whose output was cut at its limit.
  """
  keys = {key for sample in run.samples for key in sample.scores}
  scores = {key: [] for key in MEASURES if key in keys}
  for row, _ in shown:
    sample = row.samples.get(n)
    for key, column in scores.items():
      value = sample and sample.scores.get(key)
      column.append(None if value is None else round(value, 4))
  scores['names'] = [
    entry['runs'][n] and len(entry['runs'][n][2]) for _, entry in shown
  ]
  cut = [
    at
    for at, (row, _) in enumerate(shown)
    if n in row.samples and not row.samples[n].ended
  ]
  return {'method': run.method, 't': run.t, 'scores': scores, 'cut': cut}


def _measures(runs: list[Run]) -> list[tuple[str, str]]:
  """Returns the measures that some run has, with their titles."""
  keys = {key for run in runs for s in run.samples for key in s.scores}
  return [
    (key, title)
    for key, title in MEASURES.items()
    if key in keys or key == 'names'
  ]


def _common(golds: Iterable[str]) -> list[str]:
  """Returns the words that so many golds have that they tell nothing."""
  counts, total = collections.Counter(), 0
  for gold in golds:
    counts.update({*words.words(_shorter(gold))})
    total += 1
  least = max(COMMON_GOLDS, COMMON_SHARE * total)
  return sorted(word for word, count in counts.items() if count >= least)
