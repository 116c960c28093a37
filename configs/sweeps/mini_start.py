"""Figure 4 in miniature: M-steps from the base, or from where it was.

  python -m restpg_jax.main sweep --config=configs/sweeps/mini_start.py \
      --workdir=runs/mini

Both train on the same kept outputs; only the M-step differs.
"""

import pathlib
import runpy

from restpg_jax import config

HERE = pathlib.Path(__file__).parent
MINI = runpy.run_path(str(HERE.parent / 'mini.py'))

sweep = runpy.run_path(str(HERE / 'start.py'))['sweep']


def get_config() -> config.Config:
  cfg = MINI['get_config']()
  cfg.methods = ('rest_pg',)
  cfg.iterations = 1
  return cfg
