"""The four rows of the paper's Table 1, each by its own command.

  python -m restpg_jax.main run --config=configs/baselines.py:sft \
      --workdir=runs/demo

with sft, sft_reasoning, rest_em or rest_pg behind the colon, at the scale of
configs/demo.py. Run them in one workdir: they share retrieval, reasoning data
and SFT, and the report compares all that are finished.
"""

import pathlib
import runpy

from restpg_jax import config

DEMO = runpy.run_path(str(pathlib.Path(__file__).with_name('demo.py')))


def get_config(method: str = 'rest_pg') -> config.Config:
  cfg = DEMO['get_config']()
  cfg.methods = (method,)
  return cfg
