"""Renders what a person opens: report.md and the page index.html."""

import base64
import hashlib
import json
import pathlib
from typing import Any

from restpg_jax import paper, types
from restpg_jax.io import pages
from restpg_jax.report import answers, figures, tables

EXAMPLES = 25  # test examples of each task in the page's browser
CHARACTERS = 6000  # of one text in the page's browser
# Headings of the paper's numbers.
PAPER_COLUMNS = {
  **paper.TASK_TITLES,
  'macro': 'macro 4',
  'macro_public': 'macro 3',
}
FOLDER = pathlib.Path(__file__).with_name('templates')


def markdown(results: dict[str, Any]) -> str:
  """Returns report.md."""
  return _render('report.md.j2', results, escape=False)


def report_page(
  results: dict[str, Any], evaluations: list[answers.Evaluation]
) -> str:
  """Returns index.html: one file, nothing loaded from elsewhere.

  Texts of users and models enter as JSON inside a script element that no
  browser executes, and reach the page as textContent only.
  """
  script = (FOLDER / 'browser.js').read_text('utf-8')
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
  return _render(
    'index.html.j2',
    results,
    escape=True,
    style=pages.style(),
    script=pages.trusted(script),
    script_hash=digest.decode(),
    samples=pages.trusted(script_json(samples(evaluations))),
    charts=[
      c
      for c in (
        figures.chart(results, 'reward', 'Reward'),
        figures.chart(results, 'true_score', 'True score'),
      )
      if c
    ],
    examples=EXAMPLES,
    characters=CHARACTERS,
  )


def script_json(value: Any) -> str:
  """Returns strict ASCII JSON that cannot end its script element."""
  text = json.dumps(value, ensure_ascii=True, allow_nan=False)
  for character in '<>&':
    text = text.replace(character, f'\\u{ord(character):04x}')
  return text


def samples(evaluations: list[answers.Evaluation]) -> dict[str, Any]:
  """Returns what the page's browser shows: the same examples for all runs."""
  index, shown, runs = {}, [], []
  for evaluation in evaluations:
    rows = []
    for a in _first(evaluation):
      key = a.example.id, a.example.input, a.example.context, a.example.output
      if key not in index:
        index[key] = len(shown)
        shown.append(
          {
            'id': a.example.id,
            'task': a.example.task,
            'input': _cut(a.example.input),
            'context': [_cut(text) for text in a.example.context],
            'gold': _cut(a.example.output),
          }
        )
      rows.append(
        {
          'example': index[key],
          'reasoning': _cut(a.reasoning),
          'answer': None if a.text is None else _cut(a.text),
          'ended': a.ended,
          'reward': a.reward,
          'true_score': a.true_score,
          'metrics': answers.answer_metrics(a),
        }
      )
    runs.append(
      {
        'method': evaluation.method,
        'title': tables.title(evaluation.method),
        't': evaluation.t,
        'samples': rows,
      }
    )
  return {
    'examples': shown,
    'runs': runs,
    'metrics': [*tables.METRIC_TITLES.items()],
  }


def _first(evaluation: answers.Evaluation) -> list[answers.Answer]:
  """Returns one answer to each of the first EXAMPLES examples of a task."""
  by_task: dict[str, dict[str, answers.Answer]] = {
    task: {} for task in types.EVERY_TASK
  }
  for a in evaluation.answers:
    by_example = by_task[a.example.task]
    if len(by_example) < EXAMPLES or a.example.id in by_example:
      by_example.setdefault(a.example.id, a)
  return [a for by_example in by_task.values() for a in by_example.values()]


def _cut(text: str) -> str:
  if len(text) <= CHARACTERS:
    return text
  return f'{text[:CHARACTERS]} [... {len(text) - CHARACTERS} more characters]'


def _render(
  name: str, results: dict[str, Any], *, escape: bool, **more: Any
) -> str:
  return pages.render(
    FOLDER / name,
    escape=escape,
    filters={
      'number': tables.number,
      'seconds': tables.seconds,
      'p_value': tables.p_value,
      'method': tables.title,
    },
    results=results,
    rows=tables.method_rows(results),
    columns=tables.columns(results),
    metrics=tables.metrics(results, tables.macros(results)),
    metrics_by_task=tables.metrics(results, tables.titles_of(results)),
    iterations=tables.iterations(results),
    gains=tables.gains(results),
    speed=tables.speed_rows(results),
    titles=paper.TITLES,
    column_titles=tables.column_titles(results),
    macro=tables.macros(results)['macro'],
    paper_columns=PAPER_COLUMNS,
    config=json.dumps(results['config'], indent=2, ensure_ascii=False),
    **more,
  )
