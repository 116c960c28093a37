"""All four methods in miniature, three seeds with users of their own.

  python -m restpg_jax.main sweep --config=configs/sweeps/mini_seeds.py \
      --workdir=runs/mini

Three times configs/mini.py: two to three hours on two cores.
"""

import pathlib
import runpy
from collections.abc import Iterator

from restpg_jax import config, sweeps

HERE = pathlib.Path(__file__).parent
MINI = runpy.run_path(str(HERE.parent / 'mini.py'))


def get_config() -> config.Config:
  cfg = MINI['get_config']()
  return cfg


def sweep() -> Iterator[sweeps.Overrides]:
  return sweeps.zip_({'seed': [0, 1, 2], 'data.world.seed': [0, 1, 2]})
