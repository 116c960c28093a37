"""Figure 2 in miniature: budgets m = 8 to 128 of the tiny models.

  python -m restpg_jax.main sweep --config=configs/sweeps/mini_budget.py \
      --workdir=runs/mini

128,000 samples are drawn and judged once, for all five budgets.
"""

import pathlib
import runpy

from restpg_jax import config

HERE = pathlib.Path(__file__).parent
MINI = runpy.run_path(str(HERE.parent / 'mini.py'))

sweep = runpy.run_path(str(HERE / 'budget.py'))['sweep']


def get_config() -> config.Config:
  cfg = MINI['get_config']()
  cfg.methods = ('rest_pg',)
  cfg.iterations = 1
  return cfg
