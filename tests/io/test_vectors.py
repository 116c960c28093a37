"""Facts about restpg_jax/io/vectors.py."""

import numpy as np
import pytest
from etils import epath

from restpg_jax.io import vectors

NAMES = [vectors.name(text) for text in 'abcde']
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_what_was_added_is_found_again_in_any_order(tmp_path):
  store = vectors.Vectors(tmp_path)
  store.add(NAMES[:3], ROWS[:3])
  store.add(NAMES[3:], ROWS[3:])
  for found in (store, vectors.Vectors(tmp_path)):
    assert [name in found for name in (*NAMES, vectors.name('f'))] == (
      [True] * 5 + [False]
    )
    order = [4, 0, 3, 1, 0]
    np.testing.assert_array_equal(
      found.get([NAMES[n] for n in order]), ROWS[order]
    )


def test_a_kill_while_writing_leaves_no_vectors(tmp_path, monkeypatch):
  store = vectors.Vectors(tmp_path)
  store.add(NAMES[:1], ROWS[:1])

  def killed(self, target):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(type(epath.Path(tmp_path)), 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
      store.add(NAMES[1:], ROWS[1:])
  again = vectors.Vectors(tmp_path)
  assert [name in again for name in NAMES] == [True] + [False] * 4
  again.add(NAMES[1:], ROWS[1:])
  np.testing.assert_array_equal(again.get(NAMES), ROWS)


def test_texts_have_names_of_their_own():
  texts = ['', ' ', 'a', 'A', 'ä', 'a\u0308', '\ud800']
  assert len({vectors.name(text) for text in texts}) == len(texts)
