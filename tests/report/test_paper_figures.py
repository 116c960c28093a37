"""Facts about restpg_jax/report/paper_figures.py and groups.py."""

import pytest

from restpg_jax.report import build, charts, groups, paper_figures
from tests import runs

pytestmark = pytest.mark.usefixtures('no_warnings')
TWO = [runs.example(runs.EMAIL, row) for row in range(2)]


def scored(*rewards):
  return TWO, [runs.answer(*pair) for pair in zip(TWO, rewards, strict=True)]


def finish(workdir, method, stem, *rewards, **settings):
  """A run whose two test rewards of each iteration are given."""
  choices = [
    runs.choose(workdir, f'{stem}/choice{t}', TWO, scored(*pair)[1])
    for t, pair in enumerate(rewards)
  ]
  runs.finish(
    workdir,
    method,
    [scored(*pair) for pair in rewards],
    stem=stem,
    choices=choices,
    **settings,
  )


def charts_of(workdir):
  results = build.build_report(workdir)
  methods = build._finished(workdir)
  return {c.name: c for c in paper_figures.figures(results, methods)}


def lines(chart, panel=0):
  return {
    (s.title, s.paper): [(p.x, pytest.approx(p.y)) for p in s.points]
    for s in chart.panels[panel].series
  }


def draw(m):
  return runs.settings()['draw'] | {'m': m}


def test_figures_3_and_11_are_the_iterations(tmp_path):
  finish(tmp_path, 'sft', 'sft', (0.1, 0.3))
  finish(tmp_path, 'rest_pg', 'pg', (0.1, 0.3), (0.5, 0.7))
  drawn = charts_of(tmp_path)
  assert list(drawn) == [
    *('figure3_iterations', 'figure3_iterations_true'),
    *('figure11_iterations', 'figure11_iterations_true'),
  ]  # one task: no chart by task
  chart = drawn['figure3_iterations']
  ours, paper = ('REST-PG', False), ('REST-PG', True)
  assert lines(chart)[ours] == [(0, 0.2), (1, 0.6)]
  assert lines(chart)[paper] == [
    (0, 0.3905),
    (1, 0.4231),
    (2, 0.435),
    (3, 0.4554),
  ]
  assert ('SFT', False) not in lines(chart)
  assert 'other models, other data' in chart.note
  assert lines(drawn['figure11_iterations'])[paper] == [
    (0, 0.4231),
    (3, 0.4846),
  ]
  assert [s.style for s in chart.panels[0].series] == [3, 3]


def test_a_shorter_run_is_not_drawn_beside_its_longer_one(tmp_path):
  finish(tmp_path, 'rest_pg', 'pg', (0.1, 0.3), (0.5, 0.7))
  whole = build._finished(tmp_path)[0]
  short = whole | {'iterations': whole['iterations'][:1]}
  other = short | {'method': 'sft_reasoning'}
  assert groups.unextended([short, whole, other]) == [whole, other]


def test_seeds_are_one_line(tmp_path):
  for seed, last in enumerate((0.5, 0.7, 0.9)):
    finish(
      tmp_path, 'rest_pg', f'pg{seed}', (0.1, 0.3), (last, last), seed=seed
    )
  (line,) = [
    s
    for s in charts_of(tmp_path)['figure3_iterations'].panels[0].series
    if not s.paper
  ]
  first, last = line.points
  assert (first.y, first.low) == (pytest.approx(0.2), None)  # no spread
  assert (last.y, last.low) == pytest.approx(
    (0.7, 0.7 - 4.303 * 0.11547), abs=1e-3
  )


def test_figures_2_and_9_are_the_budgets_after_one_iteration(tmp_path):
  finish(tmp_path, 'rest_pg', 'a', (0.1, 0.1), (0.4, 0.6), draw=draw(8))
  finish(
    tmp_path, 'rest_pg', 'b', (0.1, 0.1), (0.6, 0.8), (1, 1),
    draw=draw(16), iterations=2,
  )  # fmt: skip
  drawn = charts_of(tmp_path)
  chart = drawn['figure2_budget']
  assert chart.doubling
  assert lines(chart)['REST-PG', False] == [(8, 0.5), (16, 0.7)]
  assert lines(chart)['REST-PG', True][0] == (8, 0.4194)
  assert lines(drawn['figure9_budget']).keys() == {('REST-PG', False)}
  assert 'left out' in drawn['figure9_budget'].note


def test_figures_4_and_10_are_relative(tmp_path):
  finish(tmp_path, 'rest_pg', 'a', (0.1, 0.1), (0.4, 0.6), fresh_start=True)
  finish(tmp_path, 'rest_pg', 'b', (0.1, 0.1), (0.3, 0.5), fresh_start=False)
  drawn = charts_of(tmp_path)
  chart = drawn['figure4_start']
  assert chart.names == ('email', 'macro 1')
  assert lines(chart)['REST-PG', False] == [(0, 0.8), (1, 0.8)]
  assert lines(chart)['REST-PG', True] == [(0, 0.998), (1, 0.98)]
  assert '96 %' in chart.note and 'figure10_start' in drawn


def test_a_ratio_has_the_error_of_both():
  value = charts.Value
  ratio = paper_figures.ratio(value(1, 0.03), value(2, 0.08))
  assert (ratio.mean, ratio.stderr) == pytest.approx((0.5, 0.025))
  assert paper_figures.ratio(value(1, 0.03), value(0, 0.1)) is None


def test_figure_5_is_the_share_of_shuffled_profiles(tmp_path):
  for share, reward in ((0.0, 0.6), (0.5, 0.4)):
    finish(
      tmp_path,
      'sft',
      f's{share}',
      (reward, reward),
      retrieval=runs.settings()['retrieval'] | {'shuffle': share},
    )
  chart = charts_of(tmp_path)['figure5_shuffle']
  assert lines(chart)['SFT', False] == [(0, 0.6), (0.5, 0.4)]
  assert lines(chart)['SFT', True][-1] == (1.0, 0.319)


def test_what_no_run_has_is_not_drawn(tmp_path):
  finish(tmp_path, 'sft', 'sft', (0.1, 0.3))
  assert charts_of(tmp_path) == {}
