"""What DeepMind's own loader makes of a checkpoint, as an .npz.

  python -m tests.commands.gemma_reader FOLDER OUT

In a process of its own, as gemma_package.
"""

import sys

import jax
import numpy as np

from tests.models.gemma_package import gm

if __name__ == '__main__':
  params = gm.ckpts.load_params(sys.argv[1])
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  np.savez(
    sys.argv[2],
    **{'/'.join(key.key for key in path): x for path, x in leaves},
  )
