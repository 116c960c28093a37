"""Figures 4 and 10: M-steps that start at the base, or where it was.

  python -m restpg_jax.main sweep --config=configs/sweeps/start.py \
      --workdir=gs://... --config.data.path=LONGLAMP ...

with the folders that configs/paper.py names. In the paper a start from SFT
keeps 96 % of the reward of a start from the base (its figure shows 98 %).
"""

import pathlib
import runpy
from collections.abc import Iterator

from restpg_jax import config, sweeps

PAPER = runpy.run_path(str(pathlib.Path(__file__).parents[1] / 'paper.py'))


def get_config() -> config.Config:
  cfg = PAPER['get_config']()
  cfg.methods = ('rest_pg',)
  cfg.iterations = 1
  return cfg


def sweep() -> Iterator[sweeps.Overrides]:
  return sweeps.product({'fresh_start': [True, False]})
