"""Charts of E-steps: rewards, acceptance, pass@m, what was kept, lengths."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from restpg_jax.report import charts, e_steps, groups, moments

SECTION = 'e_steps'
# Numbers of results.json by iteration: their titles, axis and file.
BY_ITERATION = {
  'accepted': (
    'Acceptance: samples that reach the bar of the E-step',
    'share of samples',
  ),
  'frac_reward_zero_std': (
    'Inputs whose rewards are all equal (frac_reward_zero_std)',
    'share of inputs',
  ),
  'reward_std': (
    'Spread of the rewards of an input (reward_std)',
    'mean standard deviation',
  ),
  'completions/mean_length': (
    'Length of samples (completions/mean_length)',
    'tokens',
  ),
  'completions/clipped_ratio': (
    'Samples cut at the output limit (completions/clipped_ratio)',
    'share of samples',
  ),
}
OVER_INPUTS = charts.INTERVALS.replace('examples', 'inputs')
BY_POLICY = 'Iteration t draws from the policy of iteration t - 1.'
Rows = Sequence[dict[str, Any]]


def figures(
  rows: Rows, methods: Sequence[dict[str, Any]]
) -> Iterator[charts.Chart]:
  """Yields the charts of what e_steps.read returns; none of nothing."""
  by_run = e_steps.by_run(rows)
  kept = {label for label, _ in by_run}
  drawn = [
    group
    for group in groups.groups(groups.unextended(methods))
    if kept & {*group.labels}
  ]
  if not drawn:
    return
  ts = sorted({t for _, t in by_run})

  def runs(group: groups.Group, t: int) -> list[dict[str, Any]]:
    return [by_run[key] for x in group.labels if (key := (x, t)) in by_run]

  yield _histogram(drawn, ts, runs, 'rewards')
  yield _line(drawn, ts, runs, 'accepted')
  yield _passes(drawn, ts, runs)
  yield _histogram(drawn, ts, runs, 'kept')
  for name in ('frac_reward_zero_std', 'reward_std'):
    yield _line(drawn, ts, runs, name)
  yield _words(drawn, ts, runs)
  for name in ('completions/mean_length', 'completions/clipped_ratio'):
    yield _line(drawn, ts, runs, name)
  yield _by_length(drawn, ts, runs)


Runs = Callable[[groups.Group, int], list[dict[str, Any]]]
Groups = Sequence[groups.Group]


def _line(drawn: Groups, ts: list[int], runs: Runs, name: str) -> charts.Chart:
  title, y = BY_ITERATION[name]
  return charts.Chart(
    name=f'e_step_{name.rpartition("/")[2]}',
    section=SECTION,
    title=title,
    x='iteration',
    y=y,
    panels=(charts.Panel('', (*_lines(drawn, ts, runs, name),)),),
    note=f'{OVER_INPUTS} {BY_POLICY}' if name == 'accepted' else '',
  )


def _lines(
  drawn: Groups, ts: list[int], runs: Runs, name: str
) -> Iterator[charts.Series]:
  for group in drawn:
    points = [
      charts.combine(t, [moments.value_of(r[name]) for r in runs(group, t)])
      for t in ts
    ]
    yield charts.Series(group.title, charts.known(points), group.style)


def _words(drawn: Groups, ts: list[int], runs: Runs) -> charts.Chart:
  parts = {'reasoning_words': 'reasoning', 'answer_words': 'answer'}
  return charts.Chart(
    name='e_step_words',
    section=SECTION,
    title='Length of reasoning and answer in samples',
    x='iteration',
    y='words',
    panels=tuple(
      charts.Panel(title, (*_lines(drawn, ts, runs, name),))
      for name, title in parts.items()
    ),
    note='Of samples that reach an answer.',
  )


def _passes(drawn: Groups, ts: list[int], runs: Runs) -> charts.Chart:
  """Returns pass@m: a panel an experiment, a line an iteration."""
  panels = []
  for group in drawn:
    series = []
    for n, t in enumerate(ts):
      here = runs(group, t)
      budgets = {int(k): None for row in here for k in row['pass_at']}
      points = [
        charts.combine(
          k, [moments.value_of(row['pass_at'].get(str(k))) for row in here]
        )
        for k in sorted(budgets)
      ]
      if charts.known(points):
        title = f'iteration {t}'
        series.append(charts.Series(title, charts.known(points), n))
    panels.append(charts.Panel(group.title, tuple(series)))
  return charts.Chart(
    name='e_step_pass',
    section=SECTION,
    title='pass@m: inputs with a sample that reaches the bar among m',
    x='m',
    y='share of inputs',
    panels=tuple(panels),
    note='1 - C(n - c, m) / C(n, m) of n samples with c good ones.',
    doubling=True,
  )


def _histogram(
  drawn: Groups, ts: list[int], runs: Runs, name: str
) -> charts.Chart:
  """Returns shares of the counts of `rewards` or `kept`, by iteration."""
  every = {
    value
    for group in drawn
    for t in ts
    for row in runs(group, t)
    for value in row[name]
  }
  names = sorted(every, key=float)
  panels = []
  for group in drawn:
    series = []
    for n, t in enumerate(ts):
      here = runs(group, t)
      points = [
        charts.combine(x, [charts.Value(share(row[name], v)) for row in here])
        for x, v in enumerate(names)
      ]
      if here:
        title = f'iteration {t}'
        series.append(charts.Series(title, charts.known(points), n))
    panels.append(charts.Panel(group.title, tuple(series)))
  of_rewards = name == 'rewards'
  return charts.Chart(
    name=f'e_step_{name}',
    section=SECTION,
    title='Rewards of samples'
    if of_rewards
    else 'Samples of an input that are kept',
    x='reward' if of_rewards else 'kept of an input',
    y='share of samples' if of_rewards else 'share of inputs',
    panels=tuple(panels),
    note='Rewards are counted to the nearest tenth.' if of_rewards else '',
    bars=True,
    names=tuple(names),
  )


def share(counts: dict[str, int], value: str) -> float:
  """{'0': 1, '10': 3}, '10'  ->  0.75"""
  return counts.get(value, 0) / sum(counts.values())


def _by_length(drawn: Groups, ts: list[int], runs: Runs) -> charts.Chart:
  """Returns mean reward by length in tokens."""
  panels = []
  for group in drawn:
    series = []
    for n, t in enumerate(ts):
      points = by_length([row['reward_by_length'] for row in runs(group, t)])
      if points:
        series.append(charts.Series(f'iteration {t}', points, n))
    panels.append(charts.Panel(group.title, tuple(series)))
  return charts.Chart(
    name='e_step_reward_by_length',
    section=SECTION,
    title='Reward of samples against their length',
    x='tokens',
    y='reward',
    panels=tuple(panels),
  )


def by_length(runs: Sequence[list[list[Any]]]) -> tuple[charts.Point, ...]:
  """Returns mean rewards by length, bins of one output left out."""
  lengths = sorted({bin_[0] for run in runs for bin_ in run})
  points = [
    charts.combine(
      length,
      [
        charts.Value(mean, error)
        for run in runs
        for at, n, mean, error in run
        if at == length and n > 1
      ],
    )
    for length in lengths
  ]
  return charts.known(points)
