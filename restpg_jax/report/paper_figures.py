"""Figures 2 to 5 and 9 to 11 of the paper, as far as the runs have them."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from restpg_jax import paper
from restpg_jax.report import charts, groups, tables

Record = dict[str, Any]
Results = dict[str, Any]
TITLES = {'reward': 'reward', 'true_score': 'true score'}
SPLITS = {'test': 'test', 'validation': 'validation'}
SECTIONS = {'test': 'experiments', 'validation': 'validation'}
# Settings of a sweep: its figure on the test set and on validation.
NUMBERS = {
  'iterations': {'test': 'Figure 3', 'validation': 'Figure 11'},
  'budget': {'test': 'Figure 2', 'validation': 'Figure 9'},
  'start': {'test': 'Figure 4', 'validation': 'Figure 10'},
  'shuffle': {'test': 'Figure 5'},
}
UNREAD = "The paper's own is left out: its values cannot be read exactly."
OF_TABLE = (
  "The paper's ends are those of its Table 3; other models, other data."
)
RELATIVE = (
  'Bars: 95 % intervals; of one run, as if the two were tested on different '
  'examples, which is wider than a paired one.'
)


def figures(
  results: Results, methods: Sequence[Record]
) -> Iterator[charts.Chart]:
  """Yields the charts that the runs have data for.

  `methods` are the records of what `results` (results.json) holds.
  """
  scores = ['reward', *['true_score'] * tables.has_truth(results)]
  for split in SPLITS:
    for score in scores:
      yield from _iterations(results, methods, split, score)
    for score in scores:
      yield from _budgets(results, methods, split, score)
    yield from _starts(results, methods, split)
  for score in scores:
    yield from _shuffles(results, methods, score)
  yield from _thresholds(results, methods)


def value(
  results: Results,
  label: str,
  t: int,
  *,
  column: str,
  split: str,
  score: str,
) -> charts.Value | None:
  """Returns a run's mean after iteration t; None where it is not known.

  t = -1 is the last iteration.
  """
  iterations = results['methods'][label]['iterations']
  by_t = {i['t']: i for i in iterations} | {-1: iterations[-1]}
  summary = by_t.get(t)
  if split == 'validation':
    summary = summary and summary['validation']
  if not summary:
    return None
  cell = tables.cell(summary, column, score)
  if cell['value'] is None:
    return None
  return charts.Value(cell['value'], cell['stderr'])


def _iterations(
  results: Results, methods: Sequence[Record], split: str, score: str
) -> Iterator[charts.Chart]:
  """Yields Figure 3 or 11: each experiment by iteration."""
  drawn = groups.groups(groups.unextended(methods))
  ends = {
    group.title: results['methods'][group.labels[0]]['iterations'][-1]['t']
    for group in drawn
  }
  drawn = [group for group in drawn if ends[group.title]]
  paper_curves = paper.ITERATIONS[split] if score == 'reward' else {}

  def series(column: str) -> Iterator[charts.Series]:
    for method, curves in paper_curves.items():
      if any(group.method == method for group in drawn):
        style = groups.style_of(drawn, method)
        yield _paper(paper.TITLES[method], curves.get(column, {}), style)
    for group in drawn:
      points = [
        charts.combine(
          t,
          [
            value(results, label, t, column=column, split=split, score=score)
            for label in group.labels
          ],
        )
        for t in range(ends[group.title] + 1)
      ]
      yield charts.Series(group.title, charts.known(points), group.style)

  notes = [charts.INTERVALS]
  if paper_curves:
    read = paper.READ if split == 'test' else OF_TABLE
    notes.append(read)
    if split == 'test' and any(group.method == 'rest_em' for group in drawn):
      notes.append(paper.INCONSISTENT['iterations'])
      notes.append('Of ReST-EM by task only the ends are known, from Table 1.')
  yield from _charts(
    results, 'iterations', split, score, 'iteration', series, notes=notes
  )


def _budgets(
  results: Results, methods: Sequence[Record], split: str, score: str
) -> Iterator[charts.Chart]:
  """Yields Figure 2 or 9: after one iteration, by m."""
  besides = 'iterations', 'draw.rounds'
  curves = paper.BUDGETS.get(split, {}) if score == 'reward' else {}
  notes = [charts.INTERVALS, paper.READ if curves else '']
  if split == 'validation' and score == 'reward':
    notes.append(UNREAD)
  series = functools.partial(
    _swept,
    results,
    groups.by_setting(methods, 'draw.m', besides),
    curves,
    1,
    split,
    score,
  )
  yield from _charts(
    results,
    'budget',
    split,
    score,
    'exploration budget m',
    series,
    notes=notes,
    doubling=True,
  )


def _shuffles(
  results: Results, methods: Sequence[Record], score: str
) -> Iterator[charts.Chart]:
  """Yields Figure 5: by the share of test users with another one's profile."""
  curves = paper.SHUFFLES if score == 'reward' else {}
  series = functools.partial(
    _swept,
    results,
    groups.by_setting(methods, 'retrieval.shuffle'),
    curves,
    -1,
    'test',
    score,
  )
  notes = [charts.INTERVALS, paper.READ if curves else '']
  yield from _charts(
    results,
    'shuffle',
    'test',
    score,
    'share of profiles that are of another user',
    series,
    notes=notes,
  )


def _thresholds(
  results: Results, methods: Sequence[Record]
) -> Iterator[charts.Chart]:
  """Yields the sweeps over the bar of the E-step, which the paper lacks."""
  for axis in ('select.threshold', 'select.floor'):
    series = functools.partial(
      _swept,
      results,
      groups.by_setting(methods, axis, ('iterations',)),
      {},
      1,
      'test',
      'reward',
    )
    yield from _charts(
      results,
      axis.replace('select.', ''),
      'test',
      'reward',
      f'{axis}, lowest reward that is kept',
      series,
      notes=[charts.INTERVALS],
    )


def _swept(
  results: Results,
  sweeps: Sequence[groups.Sweep],
  curves: paper.Curves,
  t: int,
  split: str,
  score: str,
  column: str,
) -> Iterator[charts.Series]:
  """Yields the paper's curve and a line for each sweep over one setting."""
  if sweeps and curves.get(column):
    method = 'rest_pg' if t == 1 else 'sft'
    style = [*paper.TITLES].index(method)
    yield _paper(paper.TITLES[method], curves[column], style)
  names = [_method(sweep) for sweep in sweeps]
  for n, sweep in enumerate(sweeps):
    points = [
      charts.combine(
        x,
        [
          value(
            results,
            record['label'],
            t,
            column=column,
            split=split,
            score=score,
          )
          for record in runs.values()
        ],
      )
      for x, runs in sweep.items()
    ]
    title = tables.title(names[n])
    if names.count(names[n]) > 1:
      title = f'{title}, sweep {1 + names[:n].count(names[n])}'
    yield charts.Series(title, charts.known(points), _style(names, n))


def _starts(
  results: Results, methods: Sequence[Record], split: str
) -> Iterator[charts.Chart]:
  """Yields Figure 4 or 10: start from SFT by start from the base."""
  sweeps = groups.by_setting(methods, 'fresh_start', ('iterations',))
  columns = [*tables.column_titles(results)]
  names = [_method(sweep) for sweep in sweeps]
  listed = []
  for n, sweep in enumerate(sweeps):
    points = []
    for x, column in enumerate(columns):
      of = functools.partial(
        value, results, t=1, column=column, split=split, score='reward'
      )
      pairs = [
        (of(record['label']), of(sweep[True][seed]['label']))
        for seed, record in sweep[False].items()
        if seed in sweep[True]
      ]
      ratios = [ratio(a, b) for a, b in pairs if a and b]
      points.append(charts.combine(x, ratios))
    if charts.known(points):
      listed.append(
        charts.Series(
          tables.title(names[n]), charts.known(points), _style(names, n)
        )
      )
  if not listed:
    return
  own = paper.STARTS.get(split, {})
  if own:
    curve = {float(x): own[c] for x, c in enumerate(columns) if c in own}
    listed.append(_paper(paper.TITLES['rest_pg'], curve, 3))
  yield charts.Chart(
    name=f'{_number("start", split)}_start',
    section=SECTIONS[split],
    title=f'{NUMBERS["start"][split]}: reward of a start from SFT, relative to '
    f'one from the base, {SPLITS[split]}',
    x='task',
    y='relative reward',
    panels=(charts.Panel('', tuple(listed)),),
    note=_joined(
      RELATIVE,
      paper.READ if own else UNREAD,
      paper.INCONSISTENT['start'] if own else '',
    ),
    bars=True,
    names=(*tables.column_titles(results).values(),),
  )


def ratio(a: charts.Value, b: charts.Value) -> charts.Value | None:
  """Returns a / b of independent means, its error by the delta method.

  1 ± .03 by 2 ± .08: .5 ± .5 sqrt(.03^2 + .04^2) = .5 ± .025
  """
  if not a.mean or not b.mean:
    return None
  quotient = a.mean / b.mean
  if a.stderr is None or b.stderr is None:
    return charts.Value(quotient)
  error = math.hypot(a.stderr / a.mean, b.stderr / b.mean)
  return charts.Value(quotient, quotient * error)


def _charts(
  results: Results,
  kind: str,
  split: str,
  score: str,
  x: str,
  series: Callable[[str], Iterator[charts.Series]],
  *,
  notes: Sequence[str],
  doubling: bool = False,
) -> Iterator[charts.Chart]:
  """Yields a figure of the macro, and one of the tasks where there are some.

  Nothing where no line has two points.
  """
  macros, tasks = tables.macros(results), tables.titles_of(results)
  by_task = tasks if len(tasks) > 1 else {}
  number = NUMBERS.get(kind, {}).get(split, '')
  stem = '_'.join(
    part
    for part in (
      _number(kind, split),
      kind,
      'true' if score == 'true_score' else '',
    )
    if part
  )
  title = f'{TITLES[score].capitalize()} by {x}, {SPLITS[split]}'
  if number and score == 'reward':
    title = f'{number}: {title[0].lower()}{title[1:]}'
  for columns, end in ((macros, ''), (by_task, '_by_task')):
    panels = [
      charts.Panel(heading, (*_nonempty(series(column)),))
      for column, heading in columns.items()
    ]
    ours = [s for panel in panels for s in panel.series if not s.paper]
    if any(len(s.points) > 1 for s in ours):
      what = 'by task' if end else ', '.join(columns.values())
      yield charts.Chart(
        name=f'{stem}{end}',
        section=SECTIONS[split],
        title=f'{title}, {what}',
        x=x,
        y=TITLES[score],
        panels=tuple(panels),
        note=_joined(*notes) if not end else '',
        doubling=doubling,
      )


def _nonempty(series: Iterator[charts.Series]) -> Iterator[charts.Series]:
  return (s for s in series if s.points)


def _paper(
  title: str, curve: Mapping[float, float], style: int
) -> charts.Series:
  points = tuple(charts.Point(x, y) for x, y in curve.items())
  return charts.Series(title, points, style, paper=True)


def _method(sweep: groups.Sweep) -> str:
  runs = next(iter(sweep.values()))
  return next(iter(runs.values()))['method']


def _style(names: Sequence[str], n: int) -> int:
  """Returns a method's usual style for its first sweep, else another one."""
  usual = [*paper.TITLES]
  first = names.index(names[n]) == n and names[n] in usual
  return usual.index(names[n]) if first else len(usual) + n


def _number(kind: str, split: str) -> str:
  """Returns 'figure3', for the names of files."""
  return NUMBERS.get(kind, {}).get(split, '').lower().replace(' ', '')


def _joined(*notes: str) -> str:
  return ' '.join(note for note in notes if note)
