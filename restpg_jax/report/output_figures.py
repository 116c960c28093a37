"""Charts of test answers: length, reward against length, calibration."""

from collections.abc import Iterator, Sequence
from typing import Any

from restpg_jax.report import charts, e_step_figures, groups, moments

SECTION = 'outputs'
LENGTHS = {
  'completions/mean_length': (
    'Length of test outputs (completions/mean_length)',
    'tokens',
  ),
  'completions/clipped_ratio': (
    'Test outputs cut at the limit (completions/clipped_ratio)',
    'share of outputs',
  ),
}
AGAINST = {'true_score': 'true score', 'rougeL': 'ROUGE-L'}
CALIBRATION = (
  'Where rewards are right on average, higher ones stand higher. After the '
  'last iteration; rewards to the nearest tenth, those of one answer left out.'
)
Rows = Sequence[dict[str, Any]]


def figures(
  rows: Rows, methods: Sequence[dict[str, Any]]
) -> Iterator[charts.Chart]:
  """Yields the charts of what outputs.numbers returns."""
  drawn = groups.groups(groups.unextended(methods))
  by_run = {(row['method'], row['t']): row for row in rows}
  last = {label: t for label, t in sorted(by_run)}
  ends = {
    group.title: [by_run[label, last[label]] for label in group.labels]
    for group in drawn
  }
  counted = any(row['completions/mean_length'][0] for row in rows)
  if counted:  # runs of before tokens were counted have none
    for name, (title, y) in LENGTHS.items():
      panel = charts.Panel('', (*_by_iteration(drawn, by_run, name),))
      yield _chart(f'output_{name.rpartition("/")[2]}', title, y, (panel,))
  yield _chart(
    'output_words',
    'Length of reasoning and answer at the test',
    'words',
    tuple(
      charts.Panel(title, (*_by_iteration(drawn, by_run, name),))
      for name, title in (
        ('reasoning_words', 'reasoning'),
        ('answer_words', 'answer'),
      )
    ),
  )
  if counted:
    series = [
      charts.Series(
        group.title,
        e_step_figures.by_length(
          [row['reward_by_length'] for row in ends[group.title]]
        ),
        group.style,
      )
      for group in drawn
    ]
    yield from _known(
      charts.Chart(
        name='output_reward_by_length',
        section=SECTION,
        title='Reward of test outputs against their length',
        x='tokens',
        y='reward',
        panels=(charts.Panel('', tuple(series)),),
        note='After the last iteration.',
      )
    )
  for name, title in AGAINST.items():
    series = [
      charts.Series(
        group.title,
        e_step_figures.by_length(
          [row['calibration'].get(name, []) for row in ends[group.title]]
        ),
        group.style,
      )
      for group in drawn
    ]
    yield from _known(
      charts.Chart(
        name=f'calibration_{name}',
        section=SECTION,
        title=f'Calibration: {title} of answers of each reward',
        x='reward',
        y=title,
        panels=(charts.Panel('', tuple(series)),),
        note=CALIBRATION,
      )
    )


def _by_iteration(
  drawn: Sequence[groups.Group],
  by_run: dict[tuple[str, int], dict[str, Any]],
  name: str,
) -> Iterator[charts.Series]:
  ts = sorted({t for _, t in by_run})
  for group in drawn:
    points = [
      charts.combine(
        t,
        [
          moments.value_of(by_run[label, t][name])
          for label in group.labels
          if (label, t) in by_run
        ],
      )
      for t in ts
    ]
    yield charts.Series(group.title, charts.known(points), group.style)


def _chart(
  name: str, title: str, y: str, panels: tuple[charts.Panel, ...]
) -> charts.Chart:
  return charts.Chart(
    name=name,
    section=SECTION,
    title=title,
    x='iteration',
    y=y,
    panels=panels,
    note=charts.INTERVALS if name == 'output_words' else '',
  )


def _known(chart: charts.Chart) -> Iterator[charts.Chart]:
  """Yields the chart without empty lines, if a line is left."""
  (panel,) = chart.panels
  series = tuple(s for s in panel.series if s.points)
  if series:
    panels = (charts.Panel(panel.title, series),)
    yield charts.Chart(**{**vars(chart), 'panels': panels})
