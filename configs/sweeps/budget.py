"""Figures 2 and 9: exploration budgets m = 8 to 128, one iteration.

  python -m restpg_jax.main sweep --config=configs/sweeps/budget.py \
      --workdir=gs://... --config.data.path=LONGLAMP ...

with the folders that configs/paper.py names. Paper, test, macro for m = 8, 16,
32, 64, 128: .4194 .4218 .4231 .4211 .4204. --list says what it takes.
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
  # The largest first: its draw serves all the others, which read a part of it.
  return sweeps.product({'draw.m': [128, 64, 32, 16, 8]})
