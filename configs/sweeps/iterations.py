"""Figures 3 and 11: both methods with E-steps, T = 0 to 10.

  python -m restpg_jax.main sweep --config=configs/sweeps/iterations.py \
      --workdir=gs://... --config.data.path=LONGLAMP ...

with the folders that configs/paper.py names. Paper, test, macro for T = 0, 1,
2, 3: ReST-EM .3976 .4175 .418 .4274, REST-PG .3905 .4231 .435 .4554. A shorter
run is the beginning of a longer one: all members cost what T = 10 costs.
"""

import pathlib
import runpy
from collections.abc import Iterator

from restpg_jax import config, sweeps

PAPER = runpy.run_path(str(pathlib.Path(__file__).parents[1] / 'paper.py'))


def get_config() -> config.Config:
  cfg = PAPER['get_config']()
  cfg.methods = ('rest_em', 'rest_pg')
  return cfg


def sweep() -> Iterator[sweeps.Overrides]:
  return sweeps.product({'iterations': [0, 1, 2, 3, 5, 10]})
