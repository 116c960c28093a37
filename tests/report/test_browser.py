"""The sample browser in a real browser, where one is installed."""

import pytest
from common import browser

from restpg_jax import types
from restpg_jax.io import records
from restpg_jax.report import build
from tests import runs

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    not browser.PROGRAM, reason='needs chromium or google-chrome'
  ),
]
HOSTILE = '</script><script>document.title = "broken"</script><b>bold</b>'
RTL = '\u202eمرحبا <b>x</b>'
LINE = 'long' * 250_000
INPUTS = 300
# What the tests ask the page, and how they use its controls.
HELPERS = """
var frame = () => new Promise(
    (done) => requestAnimationFrame(() => setTimeout(done)));
var wait = async (ready) => { while (!ready()) await frame(); };
var text = (selector) => document.querySelector(selector).textContent;
var all = (selector) =>
    [...document.querySelectorAll(selector)].map((n) => n.textContent);
var set = async (id, value) => {
  const node = document.getElementById(id);
  node.value = value;
  node.dispatchEvent(new Event('input', {bubbles: true}));
  node.dispatchEvent(new Event('change', {bubbles: true}));
  await wait(() => !text('#count').startsWith('reading'));
  for (let n = 0; n < 5; n++) await frame();
};
var position = () => text('#position');
"""


def reasoned(workdir) -> None:
  """A stage `reason` with one input."""
  one = runs.example(
    runs.EMAIL, 0, id=f'{runs.EMAIL}/train/0', output='Ann wrote of zebras'
  )
  records.write(workdir / 'train' / 'examples.jsonl', [one])
  target = f'Summary:\nlikes zebras, Ann and Bob\nAnswer:\n{one.output}'
  records.write(
    workdir / 'reason' / 'trajectories.jsonl',
    [types.Trajectory(one.id, 0, target, reward=1.0)],
  )
  done = {'name': 'reason', 'fingerprint': 'reason', 'cfg': None}
  done |= {'inputs': [{'path': 'train', 'fingerprint': 'train'}]}
  done |= {'summary': {'expected': 1, 'made': 1}, 'seconds': 1.0}
  records.write_json(workdir / 'reason' / 'DONE.json', done | {'versions': {}})


def written(workdir):
  """A report of two methods: hostile texts first, then many inputs."""
  examples = [
    runs.example(
      runs.EMAIL, 0, input=HOSTILE, output=HOSTILE, context=(HOSTILE, LINE)
    ),
    runs.example(runs.EMAIL, 1, input=RTL, output=LINE, context=(RTL,)),
    runs.example(
      runs.TOPIC,
      0,
      input='of whales',
      output='the blue whale of Rome sings',
      context=('a blue boat', 'whale songs'),
    ),
    *(
      runs.example(runs.TOPIC, n, input=f'of boats {n}', output=f'boat {n}')
      for n in range(1, INPUTS - 2)
    ),
  ]
  others = [f'boat {n}' for n in range(1, INPUTS - 2)]
  whale = 'Cleo saw the blue whale. The boat of Anne-Dora sings'

  def answers(texts, rewards):
    return [
      runs.answer(e, r, text=text)
      for e, text, r in zip(examples, texts, rewards, strict=True)
    ]

  first = answers([HOSTILE, LINE, 'none', *others], [0.5] * INPUTS)
  last = answers(
    [HOSTILE, RTL, whale, *others], [0.1, 0.2, 1.0, *[0.5] * (INPUTS - 3)]
  )
  runs.finish(workdir, 'sft', [(examples, first)])
  runs.finish(workdir, 'rest_pg', [(examples, first), (examples, last)])
  reasoned(workdir)
  build.build_report(workdir)
  return workdir / 'report' / 'index.html'


@pytest.fixture(scope='module')
def report(tmp_path_factory):
  return written(tmp_path_factory.mktemp('written'))


@pytest.fixture(scope='module')
def tab():
  with browser.chromium() as page:
    yield page


@pytest.fixture
def page(report, tab):
  """The page, opened anew; whatever its console says fails the test."""
  tab.errors.clear()
  tab.open(report.as_uri())
  tab.evaluate(HELPERS)
  tab.evaluate("wait(() => document.querySelector('#sample .column'))")
  yield tab
  assert tab.errors == []
  assert tab.evaluate('document.title') == 'REST-PG: results'


def shown_id(page) -> str:
  """'3 of 300: topic_writing/test/0'  ->  'topic_writing/test/0'"""
  return page.evaluate('position()').split(': ')[1]


def test_hostile_texts_stay_text(page):
  assert HOSTILE in page.evaluate("all('#sample .text')")
  page.evaluate("document.querySelector('#sample summary').click(); frame()")
  documents = page.evaluate("frame().then(() => all('.documents li'))")
  assert documents[0] == HOSTILE
  assert documents[1].endswith('[... 994000 more characters]')
  assert page.evaluate("document.querySelectorAll('#browser b').length") == 0
  page.evaluate("set('search', 'مرحبا')")
  assert shown_id(page) == f'{runs.EMAIL}/test/1'
  assert RTL in page.evaluate("all('#sample .text')")
  wide = 'document.documentElement.scrollWidth - innerWidth'
  assert page.evaluate(wide) <= 0


def test_methods_and_iterations_stand_side_by_side(page):
  titles = "all('#sample .column h3')"
  user = 'What the user wrote'
  assert page.evaluate(titles) == [
    *(user, 'SFT, iteration 0', 'REST-PG, iteration 1')
  ]
  page.evaluate("set('iteration', 'all')")
  assert page.evaluate(titles)[2:] == [
    *('REST-PG, iteration 0', 'REST-PG, iteration 1')
  ]
  page.evaluate("set('iteration', '0')")
  page.evaluate("document.querySelector('#methods input').click(); frame()")
  assert page.evaluate(titles) == [user, 'REST-PG, iteration 0']


def test_only_rows_on_the_screen_exist(page):
  rows = "document.querySelectorAll('.row-of-list').length"
  assert 5 < page.evaluate(rows) < 30
  page.evaluate("document.getElementById('list').scrollTop = 1e6; frame()")
  page.evaluate('frame().then(frame)')
  assert 5 < page.evaluate(rows) < 30
  last = "all('.row-of-list .start').at(-1)"
  assert page.evaluate(last) == f'boats {INPUTS - 3}'  # all begin with 'of'


def test_search_filters_and_order(page):
  count = "text('#count')"
  assert page.evaluate(count) == '300 of 300 inputs'
  page.evaluate("set('search', 'whale SONGS')")
  assert page.evaluate(count) == '1 of 300 inputs'
  assert shown_id(page) == f'{runs.TOPIC}/test/0'
  page.evaluate("set('search', 'whale nothing')")
  assert page.evaluate(count) == '0 of 300 inputs'
  assert page.evaluate("text('#sample')") == 'No input fits.'
  page.evaluate("set('search', '')")
  page.evaluate(f"set('task', '{runs.EMAIL}')")
  assert page.evaluate(count) == '2 of 300 inputs'
  page.evaluate("set('task', '')")
  page.evaluate("set('least', '0.15')")
  page.evaluate("set('most', '0.5')")
  assert page.evaluate(count) == '298 of 300 inputs'  # not 0.1 and 1.0
  page.evaluate("set('least', '')")
  page.evaluate("set('most', '')")
  values = "all('.row-of-list .value').slice(0, 6)"
  page.evaluate("set('order', 'larger')")
  assert page.evaluate(values) == ['1', '0.5', '+0.5', '0.5', '0.5', '0']
  page.evaluate("set('order', 'smaller')")
  assert page.evaluate(values) == ['0.1', '0.5', '-0.4', '0.2', '0.5', '-0.3']
  page.evaluate("set('measure', 'rouge1')")  # half the reward
  assert page.evaluate(values)[:3] == ['0.05', '0.25', '-0.2']


def test_words_and_names_are_marked(page):
  page.evaluate("set('search', 'whales')")
  marks = "all('#sample .column:last-child mark%s')"
  assert page.evaluate(marks % '.name') == ['Anne-Dora']
  assert page.evaluate(marks % '.gold.profile') == ['blue', 'whale']
  assert page.evaluate(marks % '.gold:not(.profile)') == [
    *('the', 'The', 'of', 'sings')
  ]
  line = """getComputedStyle(document.querySelector(
      '#sample .column:last-child mark.gold.profile')).textDecorationLine"""
  assert page.evaluate(line) == 'underline'
  page.evaluate("document.getElementById('shared').click()")
  assert page.evaluate(line) == 'none'


def test_keys_go_to_the_next_and_the_previous_input(page):
  page.evaluate("document.getElementById('list').focus()")
  for key, at in (
    *(('ArrowDown', 2), ('ArrowDown', 3), ('ArrowUp', 2)),
    *(('End', 300), ('Home', 1), ('j', 2), ('j', 3), ('k', 2)),
  ):
    page.press(key)
    page.evaluate('frame().then(frame)')
    assert page.evaluate('position()').startswith(f'{at} of 300: '), key
  active = """(() => {
    const id = document.getElementById('list')
        .getAttribute('aria-activedescendant');
    const row = document.getElementById(id);
    return [row.ariaSelected, row.ariaPosInSet, row.ariaSetSize];
  })()"""
  assert page.evaluate(active) == ['true', '2', '300']
  page.evaluate("document.getElementById('search').focus()")
  page.press('j')  # a letter of the search, not a key of the browser
  assert page.evaluate("document.getElementById('search').value") == 'j'


def test_every_control_has_a_label(page):
  unnamed = """[...document.querySelectorAll(
      '#browser select, #browser input, #browser button')].filter(
      (n) => !n.labels?.length && !n.ariaLabel).map((n) => n.id)"""
  assert page.evaluate(unnamed) == []


def test_what_the_reasoner_wrote_is_a_view_of_its_own(page):
  page.evaluate("set('view', '1')")
  assert page.evaluate("text('#count')") == '1 of 1 inputs'
  assert shown_id(page) == f'{runs.EMAIL}/train/0'
  column = "all('#sample .column:last-child %s')"
  assert page.evaluate(column % 'h3') == ['reasoner']
  assert page.evaluate(column % 'h4') == ['reasoning']
  assert page.evaluate(column % '.text') == ['likes zebras, Ann and Bob']
  assert page.evaluate(column % 'mark.name') == ['Bob']
  assert 'zebras' in page.evaluate(column % 'mark.gold')
