"""Facts about restpg_jax/report/plots.py and figures.py."""

import dataclasses
import html.parser
import json

import pytest

from restpg_jax.report import charts, figures, plots

pytestmark = pytest.mark.usefixtures('no_warnings', 'drawn')


def chart(**changed):
  points = (charts.Point(0, 0.5, 0.4, 0.6), charts.Point(1, 0.7))
  example = charts.Chart(
    name='figure3',
    section='experiments',
    title='Reward & more',
    x='iteration',
    y='reward',
    panels=(
      charts.Panel(
        'macro 4',
        (
          charts.Series('REST-PG', points, 3),
          charts.Series('REST-PG', points[1:], 3, paper=True),
        ),
      ),
    ),
  )
  return dataclasses.replace(example, **changed)


def test_the_same_chart_is_the_same_bytes():
  one, other = plots.draw(chart()), plots.draw(chart())
  assert one == other
  assert '<dc:date>' not in one.svg
  assert one.png.startswith(b'\x89PNG') and b'Software' not in one.png


def test_a_drawing_within_a_page_has_the_colours_of_the_page():
  svg = plots.for_page(plots.draw(chart()).svg, 'Reward & <more>')
  assert svg.startswith('<svg viewBox="0 0 ')
  assert 'aria-label="Reward &amp; &lt;more&gt;"' in svg
  html.parser.HTMLParser().feed(svg)
  for name in ('c3', 'card', 'line', 'soft'):
    assert f'var(--{name})' in svg
    assert plots.palette()[name] not in svg
  assert '<style' not in svg and 'DejaVu' not in svg and 'url(' not in svg
  assert '>REST-PG, paper</text>' in svg


@pytest.mark.parametrize('count', (1, 8))
def test_no_two_lines_look_alike(count):
  styles = [plots._style(charts.Series('', (), n)) for n in range(count * 4)]
  assert len({tuple(style.values()) for style in styles}) == len(styles)


def test_bars_have_names(tmp_path):
  named = chart(bars=True, names=('email', 'topic'))
  assert '>topic</text>' in plots.draw(named).svg
  assert charts.table(named).splitlines() == [
    'panel,series,x,y,low,high,name',
    'macro 4,REST-PG,0,0.5,0.4,0.6,email',
    'macro 4,REST-PG,1,0.7,,,topic',
    'macro 4,REST-PG (paper),1,0.7,,,topic',
  ]


def test_a_chart_is_drawn_once(tmp_path, monkeypatch):
  first = figures.write(tmp_path, [chart(), chart(name='old')])
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    *(
      f'{name}.{end}' for name in ('figure3',) for end in ('csv', 'png', 'svg')
    ),
    'index.json',
    *(f'old.{end}' for end in ('csv', 'png', 'svg')),
  ]
  monkeypatch.setattr(plots, 'draw', None)
  assert figures.write(tmp_path, [chart()]) == first[:1]
  assert not (tmp_path / 'old.svg').exists()
  assert list(json.loads((tmp_path / 'index.json').read_text())) == ['figure3']
  with pytest.raises(TypeError):
    figures.write(tmp_path, [chart(title='new')])


def test_one_run_has_its_error_and_several_their_spread():
  value = charts.Value
  assert charts.combine(1, [None]) is None
  assert charts.combine(1, [value(0.5)]) == charts.Point(1, 0.5)
  one = charts.combine(1, [value(0.5, 0.1), None])
  assert (one.low, one.high) == pytest.approx((0.304, 0.696))
  three = charts.combine(1, [value(v, 0.1) for v in (0.5, 0.6, 0.7)])
  assert (three.y, three.low) == pytest.approx((0.6, 0.3516), abs=1e-4)


def test_wide_intervals_do_not_flatten_the_lines():
  points = charts.Point(0, 0.4, -3.0, 4.0), charts.Point(1, 0.6, 0.5, 0.7)
  panel = charts.Panel('', (charts.Series('', points),))
  assert plots._bounds(panel) == pytest.approx((0.1, 0.9))
  wide, narrow = plots._cut(panel.series[0], *plots._bounds(panel)).points
  assert (wide.low, wide.high) == pytest.approx((0.1, 0.9))
  assert narrow == points[1]
