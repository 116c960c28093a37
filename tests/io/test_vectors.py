"""Facts about restpg_jax/io/vectors.py."""

import tracemalloc

import numpy as np
import pytest
from etils import epath

from restpg_jax import errors
from restpg_jax.io import vectors

NAMES = [vectors.name(text) for text in 'abcde']
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_what_was_added_is_found_again_in_any_order(tmp_path):
  store = vectors.Vectors(tmp_path)
  assert not store.has(NAMES).any()
  store.add(NAMES[:3], ROWS[:3])
  store.add(NAMES[3:], ROWS[3:])
  for found in (store, vectors.Vectors(tmp_path)):
    assert found.has([*NAMES, vectors.name('f')]).tolist() == [True] * 5 + [
      False
    ]
    order = [4, 0, 3, 1, 0]
    np.testing.assert_array_equal(
      found.get([NAMES[n] for n in order]), ROWS[order]
    )
    with pytest.raises(KeyError):
      found.get([NAMES[0], vectors.name('f')])


def test_in_a_bucket_they_are_found_as_on_this_machine(bucket):
  folder = 'gs://b/vectors'
  store = vectors.Vectors(folder)
  store.add(NAMES[:3], ROWS[:3])
  store.add(NAMES[3:], ROWS[3:])
  for found in (store, vectors.Vectors(folder)):
    np.testing.assert_array_equal(found.get(NAMES[::-1]), ROWS[::-1])
  path = next(epath.Path(folder).glob('*.vectors.npy'))
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(errors.InputError, match='gs://b/vectors/.*no whole file'):
    found.get(NAMES)


def test_every_byte_of_a_name_counts(tmp_path):
  # Of numpy's texts zeros at the end are no part, of names they are.
  names = [
    bytes(n) + bytes([b]) * (16 - n) for n in (0, 8, 15) for b in (1, 255)
  ]
  names += [name[::-1] for name in names] + [bytes(16)]
  names = list(dict.fromkeys(names))
  rows = np.arange(len(names), dtype=np.float32)[:, None]
  store = vectors.Vectors(tmp_path)
  store.add(names[::2], rows[::2])
  store.add(names[1::2], rows[1::2])
  for found in (store, vectors.Vectors(tmp_path)):
    np.testing.assert_array_equal(found.get(names), rows)


def test_two_processes_may_add_the_same_texts(tmp_path):
  one, other = vectors.Vectors(tmp_path), vectors.Vectors(tmp_path)
  one.add(NAMES[:3], ROWS[:3])
  other.add(NAMES[:3], ROWS[:3])
  other.add(NAMES[1:], ROWS[1:])
  for found in (other, vectors.Vectors(tmp_path)):
    np.testing.assert_array_equal(found.get(NAMES), ROWS)


@pytest.mark.parametrize('written', [0, 1])
def test_a_kill_while_writing_leaves_no_vectors(tmp_path, monkeypatch, written):
  store = vectors.Vectors(tmp_path)
  store.add(NAMES[:1], ROWS[:1])
  replace, left = type(epath.Path(tmp_path)).replace, [written]

  def killed(self, target):
    if not left[0]:
      raise KeyboardInterrupt
    left[0] -= 1
    return replace(self, target)

  with monkeypatch.context() as patch:
    patch.setattr(type(epath.Path(tmp_path)), 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
      store.add(NAMES[1:], ROWS[1:])
  again = vectors.Vectors(tmp_path)
  assert again.has(NAMES).tolist() == [True] + [False] * 4
  again.add(NAMES[1:], ROWS[1:])
  np.testing.assert_array_equal(again.get(NAMES), ROWS)


@pytest.mark.parametrize(
  'kind, left',  # bytes of a file that has 168, or 208 with names
  [('names', 0), ('names', 140), ('vectors', 0), ('vectors', 140)],
)
def test_a_damaged_file_is_told_with_its_remedy(tmp_path, kind, left):
  vectors.Vectors(tmp_path).add(NAMES, ROWS)
  (path,) = tmp_path.glob(f'*.{kind}.npy')
  path.write_bytes(path.read_bytes()[:left])
  both = path.name.split('.')[0]
  with pytest.raises(
    errors.InputError, match=rf'no whole .* remove {both}\.\*'
  ):
    vectors.Vectors(tmp_path).get(NAMES)
  for damaged in tmp_path.glob(f'{both}.*'):
    damaged.unlink()
  again = vectors.Vectors(tmp_path)
  again.add(NAMES, ROWS)
  np.testing.assert_array_equal(again.get(NAMES), ROWS)


def test_a_name_in_memory_has_few_bytes(tmp_path):
  rng = np.random.default_rng(0)
  store = vectors.Vectors(tmp_path)
  for _ in range(4):
    names = [rng.bytes(16) for _ in range(5_000)]
    store.add(names, np.zeros((5_000, 2), np.float32))
  del store, names
  tracemalloc.start()
  store = vectors.Vectors(tmp_path)
  held, _ = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert store.has([bytes(16)]).tolist() == [False]
  assert held < 20_000 * 32  # a dict of bytes has more than 200


def test_texts_have_names_of_their_own():
  texts = ['', ' ', 'a', 'A', 'ä', 'a\u0308', '\ud800']
  assert len({vectors.name(text) for text in texts}) == len(texts)
