"""What a person opens: report.md, the pages index.html and doctor.html."""

import base64
import hashlib
import json
import math
import pathlib
from collections.abc import Sequence

import jinja2
import markupsafe
from etils import epath

from restpg_jax import types
from restpg_jax.stages import answers, survey_tables, tables

EXAMPLES = 25  # test examples of each task in the page's browser
CHARACTERS = 6000  # of one text in the page's browser
# Of the paper's numbers.
PAPER_PLACES = {
  **tables.TASK_TITLES,
  'macro': 'macro 4',
  'macro_public': 'macro 3',
}
FOLDER = pathlib.Path(__file__).parents[1] / 'assets' / 'report'


def markdown(results: dict) -> str:
  """report.md."""
  return _render('report.md.j2', results, escape=False)


def html(results: dict, evaluations: list[answers.Evaluation]) -> str:
  """index.html: one file, nothing loaded from elsewhere.

  Texts of users and models enter as JSON inside a script element that no
  browser executes, and reach the page as textContent only.
  """
  script = (FOLDER / 'browser.js').read_text('utf-8')
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
  return _render(
    'index.html.j2',
    results,
    escape=True,
    style=markupsafe.Markup((FOLDER / 'style.css').read_text('utf-8')),
    script=markupsafe.Markup(script),
    script_hash=digest.decode(),
    samples=markupsafe.Markup(script_json(samples(evaluations))),
    charts=[
      c
      for c in (
        chart(results, 'reward', 'Reward'),
        chart(results, 'true_score', 'True score'),
      )
      if c
    ],
    examples=EXAMPLES,
    characters=CHARACTERS,
  )


def doctor(found: dict, tables: Sequence[survey_tables.Table]) -> str:
  """doctor.html: one file, no script; `found` is what doctor.json holds."""
  return _template('doctor.html.j2', escape=True).render(
    found=found,
    tables=tables,
    leaks=[leak for of in found['splits'] for leak in of['leaks']],
    config=json.dumps(found['config'], indent=2, ensure_ascii=False),
    style=markupsafe.Markup((FOLDER / 'style.css').read_text('utf-8')),
  )


def write(path: epath.Path, text: str) -> None:
  """The file appears whole or not at all."""
  part = path.parent / f'{path.name}.part'
  part.write_bytes(text.encode('utf-8', 'replace'))
  part.replace(path)


def script_json(value) -> str:
  """Strict ASCII JSON that cannot end the script element it stands in."""
  text = json.dumps(value, ensure_ascii=True, allow_nan=False)
  for character in '<>&':
    text = text.replace(character, f'\\u{ord(character):04x}')
  return text


def chart(results: dict, measure: str, title: str) -> dict | None:
  """Macro `measure` by iteration, as coordinates in a 520 x 240 box.

  None where there is nothing to draw: no iterations, or an unknown measure.
  """
  series = {
    m: [
      (i['t'], i['macro'][measure], i['macro'].get(f'{measure}_stderr'))
      for i in numbers['iterations']
      if i['macro'][measure] is not None
    ]
    for m, numbers in results['methods'].items()
  }
  series = {m: points for m, points in series.items() if points}
  end = max((t for points in series.values() for t, *_ in points), default=0)
  if not end:
    return None
  ends = [
    v + sign * (error or 0)
    for points in series.values()
    for _, v, error in points
    for sign in (-1, 1)
  ]
  ticks = _ticks(min(ends), max(ends))
  digits = 2 if ticks[1] - ticks[0] > 0.009 else 3

  def x(t: float) -> float:
    return round(46 + 454 * t / end, 1)

  def y(value: float) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return round(206 - 190 * share, 1)

  order = list(results['methods'])
  return {
    'title': title,
    'xs': [{'x': x(t), 'label': str(t)} for t in range(end + 1)],
    'ys': [{'y': y(v), 'label': tables.number(v, digits)} for v in ticks],
    'lines': [
      {
        'title': tables.title(m),
        'kind': order.index(m) % 4,
        'dash': 3 * (order.index(m) // 4),  # kinds come again, dashed
        'level': len(points) == 1,
        'points': [
          {
            'x': x(t),
            'y': y(v),
            'low': y(v - (error or 0)),
            'high': y(v + (error or 0)),
            'label': f'{tables.title(m)}, iteration {t}: {v:.4f}',
          }
          for t, v, error in points
        ],
      }
      for m, points in series.items()
    ],
  }


def samples(evaluations: list[answers.Evaluation]) -> dict:
  """What the page's browser shows: the same first examples for all runs."""
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
          'metrics': answers.numbers(a),
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
  """One answer to each of the first EXAMPLES examples of each task."""
  by_task = {task: {} for task in types.EVERY_TASK}
  for a in evaluation.answers:
    of_task = by_task[a.example.task]
    if len(of_task) < EXAMPLES or a.example.id in of_task:
      of_task.setdefault(a.example.id, a)
  return [a for of_task in by_task.values() for a in of_task.values()]


def _cut(text: str) -> str:
  if len(text) <= CHARACTERS:
    return text
  return f'{text[:CHARACTERS]} [... {len(text) - CHARACTERS} more characters]'


def _ticks(low: float, high: float) -> list[float]:
  """Round values that enclose [low, high], at most seven."""
  spread = max(high - low, 0.02)
  step = next(
    s
    for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 10, 100, 1e9)
    if spread <= 5 * s
  )
  first, last = math.floor(low / step), math.ceil(high / step)
  return [i * step for i in range(first, max(last, first + 1) + 1)]


def _template(name: str, *, escape: bool) -> jinja2.Template:
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER),
    autoescape=escape,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
  environment.filters.update(
    number=tables.number,
    seconds=tables.seconds,
    p_value=tables.p_value,
    method=tables.title,
  )
  return environment.get_template(name)


def _render(name: str, results: dict, *, escape: bool, **more) -> str:
  return _template(name, escape=escape).render(
    results=results,
    rows=tables.rows(results),
    columns=tables.columns(results),
    metrics=tables.metrics(results, tables.macros(results)),
    metrics_by_task=tables.metrics(results, tables.titles_of(results)),
    iterations=tables.iterations(results),
    gains=tables.gains(results),
    speed=tables.speeds(results),
    titles=tables.TITLES,
    places=tables.places(results),
    macro=tables.macros(results)['macro'],
    paper_places=PAPER_PLACES,
    config=json.dumps(results['config'], indent=2, ensure_ascii=False),
    **more,
  )
