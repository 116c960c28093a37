"""All four methods of Table 1 with three seeds: a claim needs several.

  python -m restpg_jax.main sweep --config=configs/sweeps/seeds.py \
      --workdir=gs://... --config.data.path=LONGLAMP ...

with the folders that configs/paper.py names. Data and models are the same; only
random numbers differ.
"""

import pathlib
import runpy
from collections.abc import Iterator

from restpg_jax import config, sweeps

PAPER = runpy.run_path(str(pathlib.Path(__file__).parents[1] / 'paper.py'))


def get_config() -> config.Config:
  cfg = PAPER['get_config']()
  return cfg


def sweep() -> Iterator[sweeps.Overrides]:
  return sweeps.product({'seed': [0, 1, 2]})
