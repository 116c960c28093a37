"""Facts about restpg_jax/sweeps.py, and about the sweeps of configs/."""

import pathlib

import pytest

from restpg_jax import cli, members, sweeps

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted((ROOT / 'configs' / 'sweeps').glob('*.py'))
PAPERS = 'budget', 'iterations', 'start', 'shuffle', 'threshold', 'seeds'


def test_a_product_has_every_combination_the_last_fastest():
  assert list(sweeps.product({'draw.m': [8, 16], 'seed': [0, 1]})) == [
    {'draw.m': 8, 'seed': 0},
    {'draw.m': 8, 'seed': 1},
    {'draw.m': 16, 'seed': 0},
    {'draw.m': 16, 'seed': 1},
  ]
  assert list(sweeps.product()) == [{}]
  assert list(sweeps.product({'seed': []})) == []


def test_helpers_combine():
  found = sweeps.product(
    sweeps.fixed({'iterations': 1}),
    sweeps.zip_({'seed': [0, 1], 'data.world.seed': [5, 6]}),
    {'draw.m': [8]},
  )
  assert list(found) == [
    {'iterations': 1, 'seed': 0, 'data.world.seed': 5, 'draw.m': 8},
    {'iterations': 1, 'seed': 1, 'data.world.seed': 6, 'draw.m': 8},
  ]


def test_a_setting_is_in_one_axis():
  with pytest.raises(ValueError, match='seed is in two axes of a product'):
    list(sweeps.product({'seed': [0]}, sweeps.fixed({'seed': 1})))


def test_a_zip_has_as_many_of_each():
  with pytest.raises(ValueError, match='each setting: 2 of seed, 1 of draw.m'):
    list(sweeps.zip_({'seed': [0, 1], 'draw.m': [8]}))


def test_every_sweep_has_a_miniature():
  names = {path.stem for path in FILES}
  assert names == {*PAPERS, *(f'mini_{name}' for name in PAPERS)}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_sweep_is_valid(path):
  found = members.read_members(cli.load_config(str(path)), str(path))
  members.check_distinct(found, reads=None)
  assert len(found) > 1
  assert path.stem in path.read_text().split('"""')[1]  # its command


@pytest.mark.parametrize('prefix', ['', 'mini_'])
def test_one_draw_serves_all_budgets(prefix):
  path = str(ROOT / 'configs' / 'sweeps' / f'{prefix}budget.py')
  found = members.read_members(cli.load_config(path), path)
  budgets = [member.cfg.draw.m for member in found]
  assert budgets == [128, 64, 32, 16, 8]  # the first draws for the others
