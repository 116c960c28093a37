"""Thresholds of the E-step: which rewards are good enough.

  python -m restpg_jax.main sweep --config=configs/sweeps/threshold.py \
      --workdir=gs://... --config.data.path=LONGLAMP ...

with the folders that configs/paper.py names. The paper has 1.0 only; the
judge's labels are 0.1, 0.3, 0.5, 0.7 and 1. One draw and its rewards serve all.
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
  return sweeps.product({'select.threshold': [1.0, 0.7, 0.5, 0.3]})
