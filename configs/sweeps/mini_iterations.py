"""Figure 3 in miniature: T = 0 to 10 of the tiny models.

  python -m restpg_jax.main sweep --config=configs/sweeps/mini_iterations.py \
      --workdir=runs/mini

A shorter run is the beginning of a longer one: all members cost what T = 10
costs.
"""

import pathlib
import runpy

from restpg_jax import config

HERE = pathlib.Path(__file__).parent
MINI = runpy.run_path(str(HERE.parent / 'mini.py'))

sweep = runpy.run_path(str(HERE / 'iterations.py'))['sweep']


def get_config() -> config.Config:
  cfg = MINI['get_config']()
  cfg.methods = ('rest_em', 'rest_pg')
  return cfg
