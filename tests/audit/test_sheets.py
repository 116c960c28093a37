"""Forms for people: blinded, in order of the seed, and read back."""

import csv
import io
import json
import re

import pytest

from restpg_jax import main
from restpg_jax.audit import forms, people, sheets, subjects
from tests import runs

pytestmark = pytest.mark.filterwarnings('ignore:the form of')
TASKS = runs.EMAIL, runs.TOPIC
HOSTILE = '<script>alert(1)</script>'


def finish(workdir, count=6, low=0.1, high=0.7):
  """SFT has `low` on every input, REST-PG `high` on all but the first."""
  examples = [runs.example(TASKS[n % 2], n) for n in range(count)]
  for method, rewards in (
    ('sft', [low] * count),
    ('rest_pg', [low] + [high] * (count - 1)),
  ):
    scored = [
      runs.answer(e, r, f'{method} says red {HOSTILE}')
      for e, r in zip(examples, rewards, strict=True)
    ]
    runs.finish(workdir, method, [(examples, scored)])


@pytest.fixture
def workdir(tmp_path):
  finish(tmp_path / 'w')
  return tmp_path / 'w'


def audit(workdir, *flags):
  return main.main(
    ['audit', f'--workdir={workdir}', '--method=sft', '--examples=0', *flags]
  )


def pairs_of(workdir, seed=0, count=100):
  last = subjects.read_subject(workdir, 'sft').last
  return forms.pairs_form(last, gap=0.5, count=count, seed=seed)


def fill(workdir, kind, value_of):
  """Fills the form of a kind; returns the rows of the sheet."""
  (path,) = (workdir / 'audit').glob(f'{kind}-*.csv')
  (key,) = (workdir / 'audit' / 'keys').glob(f'{kind}-*.jsonl')
  items = map(json.loads, key.read_text().splitlines())
  values = {item['id']: value_of(item) for item in items}
  rows = list(csv.DictReader(io.StringIO(path.read_text())))
  return [(row['id'], values[row['id']]) for row in rows]


def better(item):
  a, b = item['texts']
  return 'A' if a['reward'] > b['reward'] else 'B'


def write(path, column, rows):
  path.write_text(''.join(f'{a},{b}\n' for a, b in [('id', column), *rows]))
  return f'--sheet={path}'


def test_pairs_are_apart_and_of_one_input(workdir):
  form = pairs_of(workdir)
  assert len(form.items) == 5  # the first input has no gap
  for item in form.items:
    assert {t.method for t in item.texts} == {'sft', 'rest_pg'}
    assert abs(item.texts[0].reward - item.texts[1].reward) >= 0.5
  assert len({item.example_id for item in form.items}) == 5


def test_a_gap_of_rounding_counts(tmp_path):
  finish(tmp_path / 'w', low=0.2, high=0.7)  # .7 - .2 < .5 in binary
  assert len(pairs_of(tmp_path / 'w').items) == 5


def test_the_seed_decides_order_and_sides(workdir):
  assert pairs_of(workdir, 3) == pairs_of(workdir, 3)
  orders = {
    tuple((i.example_id, i.texts[0].method) for i in pairs_of(workdir, s).items)
    for s in range(4)
  }
  assert len(orders) == 4
  first = {
    i.texts[0].method for s in range(4) for i in pairs_of(workdir, s).items
  }
  assert first == {'sft', 'rest_pg'}


def test_what_people_get_is_blind_and_safe(workdir, capsys):
  assert audit(workdir) == 0
  assert '5 pairs:' in capsys.readouterr().out
  for path in (workdir / 'audit').glob('*.*'):
    text = path.read_text()
    # The texts themselves say "sft says": all else must not.
    rest = re.sub(r'(sft|rest_pg) says red', '', text)
    for secret in ('sft', 'rest_pg', 'reward', '0.7', 'product', '/test/'):
      assert secret not in rest, (path, secret)
  (page,) = (workdir / 'audit').glob('pairs-*.html')
  assert HOSTILE not in page.read_text()
  assert page.read_text().count('<script') == 1
  assert page.read_text().count('type="radio"') == 10


def test_a_formula_is_no_formula(workdir):
  form = pairs_of(workdir)
  texts = tuple(
    forms.Text('=1+1', t.method, 0, 0, t.reward, None)
    for t in form.items[0].texts
  )
  item = forms.Item('x-1', 'e', 't', '@a', '-b', texts)
  text = sheets.form_csv(forms.Form('pairs', 'x', (item,)))
  assert text.splitlines()[1] == "x-1,'@a,'-b,'=1+1,'=1+1,"


def test_a_filled_sheet_is_compared_with_the_judge(workdir, tmp_path, capsys):
  assert audit(workdir) == 0
  rows = fill(workdir, 'pairs', better)
  rows[0] = rows[0][0], 'B' if rows[0][1] == 'A' else 'A'  # one disagrees
  rows.reverse()
  ratings = fill(workdir, 'ratings', lambda item: 1 + 4 * (
    item['texts'][0]['reward'] > 0.5))  # fmt: skip
  one = write(tmp_path / 'one.csv', 'Choice', rows)
  two = write(tmp_path / 'two.csv', 'rating', ratings)
  capsys.readouterr()
  assert audit(workdir, f'{one},{tmp_path}/two.csv') == 0 and two
  lines = capsys.readouterr().out.splitlines()
  assert 'agreement 80% (38% to 96%), correlation 0.60' in lines[1]
  assert 'correlation with the reward 1.00' in lines[3]
  assert lines[4].startswith(
    'paper: 100 pairs, agreement 73%, correlation 0.46'
  )
  result = json.loads((workdir / 'audit' / 'people.json').read_text())
  pairs, _ = result['forms']
  assert pairs['sheets'][0]['agreement']['n'] == 5
  assert result['paper']['correlation'] == 0.46


def test_several_people(workdir, tmp_path):
  assert audit(workdir, '--ratings=0') == 0
  rows = fill(workdir, 'pairs', better)
  other = {'A': 'B', 'B': 'A'}
  for name, wrong in (('a', 0), ('b', 1), ('c', 2)):
    changed = [
      (i, other[v] if n < wrong else v) for n, (i, v) in enumerate(rows)
    ]
    write(tmp_path / f'{name}.csv', 'choice', changed)
  filled = [
    sheets.read_sheet(tmp_path / f'{n}.csv', workdir / 'audit') for n in 'abc'
  ]
  (form,) = people.compare_sheets(filled)
  assert [s['agreement']['share'] for s in form['sheets']] == [1, 0.8, 0.6, 0.8]
  assert form['sheets'][-1]['sheet'] == 'together'
  assert [b['agreement']['share'] for b in form['between']] == [0.8, 0.6, 0.8]


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    (lambda rows: rows[1:], '1 of 5 ids are missing ('),
    (lambda rows: [*rows, rows[0]], '1 ids are doubled ('),
    (lambda rows: [*rows, ('other-1', 'A')], '1 ids are unknown (other-1 in'),
    (lambda rows: [(i, '') for i, _ in rows], '5 rows have no choice of A, B'),
    (lambda rows: [(f'x{i}', v) for i, v in rows], 'unknown ids ('),
    (lambda rows: [], 'it has no rows'),
  ],
)
def test_a_bad_sheet_gets_one_line(workdir, tmp_path, capsys, change, words):
  assert audit(workdir, '--ratings=0') == 0
  sheet = write(
    tmp_path / 's.csv', 'choice', change(fill(workdir, 'pairs', better))
  )
  capsys.readouterr()
  assert audit(workdir, sheet) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'error: {tmp_path}/s.csv: ')
  assert words in line


@pytest.mark.parametrize(
  ('content', 'words'),
  [
    (None, 'no such file'),
    (b'', 'its first line has no columns'),
    (b'id,choice,rating\n', 'its first line has id, choice, rating'),
    (b'id;choice\n\xe4;A\n', 'not UTF-8'),
  ],
)
def test_a_file_that_is_no_sheet(workdir, tmp_path, capsys, content, words):
  if content is not None:
    (tmp_path / 's.csv').write_bytes(content)
  assert audit(workdir, f'--sheet={tmp_path}/s.csv') == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert words in line


def test_a_sheet_of_a_spreadsheet_in_german(workdir, tmp_path):
  assert audit(workdir, '--pairs=0') == 0
  rows = fill(workdir, 'ratings', lambda item: '4.0')
  lines = [f'{i};"red; and\nblue";{v}' for i, v in rows]
  (tmp_path / 's.csv').write_bytes(
    '\ufeffid;text;rating\r\n'.encode() + '\r\n'.join(lines).encode()
  )
  sheet = sheets.read_sheet(tmp_path / 's.csv', workdir / 'audit')
  assert sheet.values == ('4',) * 6


@pytest.mark.parametrize(
  ('flag', 'words'),
  [
    ('--gap=0', '--gap=0: it must be a number above 0'),
    ('--gap=nan', '--gap=nan: it must be a number above 0'),
    ('--gap=0.9', '--gap=0.9: no two answers to one input are so far apart; '
     'the widest gap is 0.6'),
    ('--pairs=-1', '--pairs=-1: it must be a whole number'),
    ('--seed=x', '--seed=x: it must be a whole number'),
  ],
)  # fmt: skip
def test_flags_that_are_wrong(workdir, capsys, flag, words):
  assert audit(workdir, flag) == 2
  assert capsys.readouterr().err.startswith(f'error: {words}')
