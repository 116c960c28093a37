"""The paper's Table 1 in miniature: four methods, three iterations, an hour.

  python -m restpg_jax.main run --config=configs/mini.py --workdir=runs/mini

1,000 training and 600 test users of the synthetic world, bundled tiny models.
docs/results.md has the table this made.
"""

import pathlib
import runpy

from restpg_jax import config

DEMO = runpy.run_path(str(pathlib.Path(__file__).with_name('demo.py')))


def get_config() -> config.Config:
  cfg = DEMO['get_config']()
  cfg.methods = ('sft', 'sft_reasoning', 'rest_em', 'rest_pg')
  cfg.iterations = 3
  cfg.data.world = config.World(train=1000, val=160, test=600)
  cfg.draw.m = 8
  cfg.train.steps = 130
  cfg.train.checkpoint_every = 65
  cfg.choose.examples = 40
  return cfg
