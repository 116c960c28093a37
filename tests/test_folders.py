"""Facts about restpg_jax/folders.py: what is in a folder of any name."""

import pytest

from restpg_jax import folders

NAMES = ['plain', 'a[1]b', 'a*b', 'a?b', '[!x]', 'a\\b', 'a b', 'new\nline']


@pytest.mark.parametrize('name', NAMES)
def test_the_name_of_the_folder_is_no_pattern(name, tmp_path):
  folder = tmp_path / name
  for inner in ('step_2', 'step_10', 'other'):
    (folder / inner).mkdir(parents=True)
    (folder / inner / 'model.json').write_text('')
  (folder / 'x.json').write_text('')
  (folder / '._x.json').write_text('')  # beside files that came from a Mac
  assert folders.matching(folder, '*.json') == [folder / 'x.json']
  assert folders.matching(folder, 'step_*/model.json') == [
    folder / 'step_10' / 'model.json',
    folder / 'step_2' / 'model.json',
  ]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
  assert folders.matching(tmp_path / 'none', '*') == []
  (tmp_path / 'file').write_text('')
  assert folders.matching(tmp_path, '*/*') == []
