"""Figure 5 in miniature: test profiles of other users.

  python -m restpg_jax.main sweep --config=configs/sweeps/mini_shuffle.py \
      --workdir=runs/mini

One policy is trained; the members differ in what it reads at the test.
"""

import pathlib
import runpy

from restpg_jax import config

HERE = pathlib.Path(__file__).parent
MINI = runpy.run_path(str(HERE.parent / 'mini.py'))

sweep = runpy.run_path(str(HERE / 'shuffle.py'))['sweep']


def get_config() -> config.Config:
  cfg = MINI['get_config']()
  cfg.methods = ('sft',)
  return cfg
