"""Facts about restpg_jax/data/json_rows.py: rows of files of any size."""

import json
import tracemalloc

import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from restpg_jax import errors
from restpg_jax.data import json_rows

TEXT = st.text(st.sampled_from('a"\\/é\u2028😀\n{}[],:u12'), max_size=30)
ROWS = st.lists(st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT)))


def rows(read, path, **how):
  return [row for _, row in read(epath.Path(path), **how)]


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 40), st.booleans())
def test_rows_do_not_depend_on_the_pieces(tmp_path_factory, given, size, ascii):
  path = tmp_path_factory.mktemp('rows')
  dump = json.JSONEncoder(ensure_ascii=ascii).encode
  (path / 'x.json').write_text(dump(given))
  (path / 'x.jsonl').write_text('\n'.join(map(dump, given)))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(json_rows, 'PIECE', size)
    assert rows(json_rows.list_rows, path / 'x.json') == given
    assert rows(json_rows.line_rows, path / 'x.jsonl') == given
    assert json_rows.whole_file(epath.Path(path / 'x.json')) == given


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT), TEXT, st.integers(1, 9), st.integers(20, 60))
def test_only_the_middle_of_long_texts_is_left_out(few, long, size, limit):
  value = [*few, long * 20, *few]
  whole = json.dumps(value, ensure_ascii=False).encode()
  pieces = [whole[n : n + size] for n in range(0, len(whole), size)]
  found = json.loads(b''.join(json_rows.capped(pieces, limit=limit)))
  assert len(found) == len(value)
  for a, b in zip(found, value, strict=True):
    assert len(a) <= len(b)
    kept = len(json.dumps(a, ensure_ascii=False).encode()) - 2
    # Whole pieces are left out, and half a character before or behind them.
    assert a == b or kept > limit - 2 * size - 4
    assert a == b or len(json.dumps(b, ensure_ascii=False).encode()) > limit


def test_a_short_text_is_never_cut():
  whole = json.dumps(['x' * 90, 'é' * 40, '\\' * 30, 'y' * 90]).encode()
  pieces = [whole[n : n + 7] for n in range(0, len(whole), 7)]
  assert b''.join(json_rows.capped(pieces, limit=270)) == whole


@pytest.mark.parametrize('read', ['list_rows', 'line_rows', 'whole_file'])
def test_a_giant_text_is_not_held_whole(tmp_path, read, monkeypatch):
  monkeypatch.setattr(json_rows, 'PIECE', 1 << 12)
  monkeypatch.setattr(json_rows.capped, '__kwdefaults__', {'limit': 1 << 14})
  path = tmp_path / 'x'
  row = '{"a": "%s", "b": "end"}' % ('\\u00e9' * 1_000_000)  # 6 MB
  path.write_text(row if read == 'line_rows' else f'[{row}]')
  tracemalloc.start()
  found = getattr(json_rows, read)(epath.Path(path))
  [value] = found if read == 'whole_file' else [row for _, row in found]
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert value['b'] == 'end'
  assert value['a'] == 'é' * len(value['a'])
  assert 2_000 < len(value['a']) < 4_000
  assert peak < 500_000


@pytest.mark.parametrize(
  'content, row',
  [
    (b'', 1),
    (b'[', 1),
    (b'[{"a": 1', 1),
    (b'[{"a": 1}', 1),
    (b'[{"a": 1}, ', 2),
    (b'[{"a": 1}, {"inp', 2),
    (b'[{"a": 1}, {"b": nul}, {"c": 1}]', 2),
    (b'[{"a": 1}, {"b": "\\u12z4"}, {"c": 1}]', 2),
    (b'[{"a": 1}] [{"a": 1}]', 2),
    (b'[{"a": 1} {"b": 2}]', 1),
    (b'[{"a": 1}, {"a": "caf\xe9"}]', 2),
  ],
)
@pytest.mark.parametrize('size', [1, 3, 1 << 20])
def test_a_broken_list_is_refused_in_any_pieces(
  tmp_path, monkeypatch, content, row, size
):
  monkeypatch.setattr(json_rows, 'PIECE', size)
  (tmp_path / 'x.json').write_bytes(content)
  with pytest.raises(errors.InputError, match=f'x.json: row {row}: '):
    rows(json_rows.list_rows, tmp_path / 'x.json')


def test_a_mistake_is_told_before_the_rest_is_read(tmp_path, monkeypatch):
  monkeypatch.setattr(json_rows, 'PIECE', 100)
  path = tmp_path / 'x.json'
  path.write_text('[{"a": 1}, {"b": oh}, ' + '{"c": "text"}, ' * 10_000)
  text = json_rows._Text
  read = []

  class Counted(text):
    def more(self):
      read.append(1)
      return super().more()

  monkeypatch.setattr(json_rows, '_Text', Counted)
  with pytest.raises(errors.InputError, match='row 2'):
    rows(json_rows.list_rows, path)
  assert len(read) < 4


def test_shares_rise_from_0_to_1(tmp_path):
  some = [{'a': 'x' * 1000}] * 3000
  (tmp_path / 'x.json').write_text(json.dumps(some))
  (tmp_path / 'x.jsonl').write_text('\n'.join(map(json.dumps, some)))
  for read, name in (
    (json_rows.list_rows, 'x.json'),
    (json_rows.line_rows, 'x.jsonl'),
  ):
    shares = [p.share for p, _ in read(epath.Path(tmp_path / name))]
    assert shares == sorted(shares)
    assert shares[0] < 0.4
    assert 0.3 < shares[1500] < 0.8
    assert 0.9 < shares[-1] <= 1
