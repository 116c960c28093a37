"""Facts about restpg_jax/report/page.py: texts stay text, nothing is loaded."""

import html.parser
import json
import warnings

import pytest

from restpg_jax import types
from restpg_jax.report import build, figures, page
from tests import runs


@pytest.fixture(autouse=True)
def no_warnings():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    # Of whatever is collected meanwhile, other tests' files among it.
    warnings.simplefilter('ignore', ResourceWarning)
    yield


HOSTILE = '</script><img src=x onerror=alert(1)>\u2028"&amp;<!--'


class Page(html.parser.HTMLParser):
  """Counts elements and keeps the samples' JSON."""

  def __init__(self, text: str):
    super().__init__()
    self.tags, self.attributes, self.scripts = [], set(), []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes.update(name for name, _ in attrs)
    if tag == 'script':
      self.scripts.append('')

  def handle_data(self, data):
    if self.scripts and self.cdata_elem == 'script':
      self.scripts[-1] += data


def test_hostile_texts_stay_text(tmp_path):
  one = runs.example(
    runs.EMAIL, 0, input=HOSTILE, output=HOSTILE, context=(HOSTILE, HOSTILE)
  )
  runs.finish(
    tmp_path,
    'rest_pg',
    [
      ([one], [runs.answer(one, 0.7, text=HOSTILE)]),
      (
        [one],
        [
          types.Trajectory(
            one.id, 0, f'Summary:\n{HOSTILE}\nAnswer:\nx', reward=1.0
          )
        ],
      ),
    ],
    data={'path': HOSTILE},
    policy={'checkpoint': HOSTILE},
  )
  build.build_report(tmp_path)
  found = Page((tmp_path / 'report' / 'index.html').read_text())
  assert 'img' not in found.tags and 'onerror' not in found.attributes
  assert found.tags.count('script') == 2  # the data and the browser
  data = json.loads(found.scripts[0])
  shown = data['examples'][0]
  assert shown['input'] == shown['gold'] == HOSTILE
  assert shown['context'] == [HOSTILE, HOSTILE]
  assert data['runs'][0]['samples'][0]['answer'] == HOSTILE
  assert data['runs'][1]['samples'][0]['reasoning'] == HOSTILE


def test_script_json_is_ascii_without_markup():
  text = page.script_json(HOSTILE + '猫')
  assert text.isascii() and not set('<>&') & set(text)
  assert json.loads(text) == HOSTILE + '猫'


def test_page_loads_nothing_and_embeds_only_some_samples(tmp_path):
  examples = [runs.example(runs.EMAIL, row) for row in range(40)]
  examples[3] = runs.example(runs.EMAIL, 3, input='long ' * 5000)
  runs.finish(
    tmp_path, 'sft', [(examples, [runs.answer(e, 0.1) for e in examples])]
  )
  build.build_report(tmp_path)
  text = (tmp_path / 'report' / 'index.html').read_text()
  found = Page(text)
  assert not {'src', 'href', 'srcset'} & found.attributes
  assert not {'link', 'iframe', 'object'} & set(found.tags)
  assert 'url(' not in text and '@import' not in text
  data = json.loads(found.scripts[0])
  assert len(data['examples']) == len(data['runs'][0]['samples']) == 25
  assert data['examples'][3]['input'].endswith('[... 19000 more characters]')
  assert 'first 25 test examples' in ' '.join(text.split())


def test_chart_places_points_between_round_ticks(tmp_path):
  chart = figures.chart(runs.two_methods(tmp_path), 'reward', 'Reward')
  sft, rest_pg = chart['lines']
  assert [tick['label'] for tick in chart['ys']] == [
    '0.20',
    '0.40',
    '0.60',
    '0.80',
  ]
  assert sft['level'] and not rest_pg['level']
  assert [point['y'] for point in rest_pg['points']] == [206, 16]
  assert [point['x'] for point in rest_pg['points']] == [46, 500]
  assert sft['points'][0]['y'] == pytest.approx(206 - 190 / 3, abs=0.1)


def test_no_two_lines_of_a_chart_look_alike(tmp_path):
  one = runs.example(runs.EMAIL, 0)
  for seed in range(6):
    scored = [([one], [runs.answer(one, r)]) for r in (0.1, 0.2 + seed / 10)]
    runs.finish(tmp_path, 'rest_pg', scored, stem=f'seed{seed}', seed=seed)
  chart = figures.chart(build.build_report(tmp_path), 'reward', 'Reward')
  assert [(line['kind'], line['dash']) for line in chart['lines']] == [
    *((0, 0), (1, 0), (2, 0), (3, 0), (0, 3), (1, 3))
  ]
  assert chart['lines'][4]['title'] == 'REST-PG (seed 4)'
  text = (tmp_path / 'report' / 'index.html').read_text()
  assert text.count('stroke-dasharray="3"') == 2 * 2 + 2  # charts and legend


def test_no_iterations_no_chart(tmp_path):
  one = runs.example(runs.EMAIL, 0)
  runs.finish(tmp_path, 'sft', [([one], [runs.answer(one, 0.7)])])
  results = build.build_report(tmp_path)
  assert figures.chart(results, 'reward', 'Reward') is None
