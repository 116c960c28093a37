"""Thresholds of the E-step in miniature.

  python -m restpg_jax.main sweep --config=configs/sweeps/mini_threshold.py \
      --workdir=runs/mini

The tiny policy rarely earns a 1.0; a member of which nothing is kept fails by
itself. configs/mini.py has the rule 'best' instead.
"""

import pathlib
import runpy

from restpg_jax import config

HERE = pathlib.Path(__file__).parent
MINI = runpy.run_path(str(HERE.parent / 'mini.py'))

sweep = runpy.run_path(str(HERE / 'threshold.py'))['sweep']


def get_config() -> config.Config:
  cfg = MINI['get_config']()
  cfg.methods = ('rest_pg',)
  cfg.iterations = 1
  cfg.select.rule = 'threshold'
  return cfg
