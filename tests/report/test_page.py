"""Facts about restpg_jax/report/page.py: texts stay text, nothing is loaded."""

import html.parser
import json
import warnings

import pytest

from restpg_jax import types
from restpg_jax.report import build, page
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
    self.links = []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes.update(name for name, _ in attrs)
    self.links += [text for name, text in attrs if name.endswith('href')]
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
  assert found.tags.count('script') == 3  # numbers, texts, the browser


def test_script_json_is_ascii_without_markup():
  text = page.script_json(HOSTILE + '猫')
  assert text.isascii() and not set('<>&') & set(text)
  assert json.loads(text) == HOSTILE + '猫'


def test_page_loads_nothing(tmp_path):
  runs.two_methods(tmp_path)
  text = (tmp_path / 'report' / 'index.html').read_text()
  found = Page(text)
  assert not {'src', 'srcset'} & found.attributes
  assert all(link.startswith(('#', 'figures/')) for link in found.links)
  assert not {'link', 'iframe', 'object'} & set(found.tags)
  assert 'url(' not in text and '@import' not in text
  assert json.loads(found.scripts[0])['views'][0]['inputs'] == 4


def test_numbers_stand_before_words(tmp_path, drawn):
  runs.two_methods(tmp_path)
  text = (tmp_path / 'report' / 'index.html').read_text()
  body = text[text.index('<body>') :]
  order = ['<nav', '<table>', 'in such digits', '<svg', 'synthetic users']
  starts = [body.index(part) for part in order]
  assert starts == sorted(starts)
  written = [*(tmp_path / 'report' / 'figures').glob('*.svg')]
  assert body.count('<svg') == len(written) > 4
  assert '<em>' not in body[: starts[1]] and '<p' not in body[: starts[1]]


def test_the_papers_numbers_stand_beside_ours(tmp_path):
  runs.two_methods(tmp_path)
  text = (tmp_path / 'report' / 'index.html').read_text()
  table = text[text.index('Table 1: test') :]
  table = table[: table.index('</table>')]
  sft = ['0.2974', '0.2270', '0.3976', '0.4310']
  rest_pg = ['0.3059', '0.3238', '0.4554', '0.5053']
  assert [
    part[: part.index('<')] for part in table.split('class="paper">')[1:]
  ] == [*sft, *rest_pg]


def test_every_link_within_the_page_has_its_end(tmp_path, drawn):
  runs.two_methods(tmp_path)
  text = (tmp_path / 'report' / 'index.html').read_text()
  links = {link[1:] for link in Page(text).links if link.startswith('#')}
  assert len(links) > 6
  assert [link for link in links if f'id="{link}"' not in text] == []
