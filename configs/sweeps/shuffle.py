"""Figure 5: SFT with 0 to 100 % of the test profiles of other users.

  python -m restpg_jax.main sweep --config=configs/sweeps/shuffle.py \
      --workdir=gs://... --config.data.path=LONGLAMP ...

with the folders that configs/paper.py names. Paper, test, macro for 0, 25, 50,
75, 100 %: .3976 .381 .3605 .344 .319. One policy is trained; the members differ
in what it reads at the test.
"""

import pathlib
import runpy
from collections.abc import Iterator

from restpg_jax import config, sweeps

PAPER = runpy.run_path(str(pathlib.Path(__file__).parents[1] / 'paper.py'))


def get_config() -> config.Config:
  cfg = PAPER['get_config']()
  cfg.methods = ('sft',)
  return cfg


def sweep() -> Iterator[sweeps.Overrides]:
  return sweeps.product({'retrieval.shuffle': [0.0, 0.25, 0.5, 0.75, 1.0]})
