"""Imported before NumPy: this process keeps memory that it freed.

So does the framework's command (restpg_jax/heap.py). Not where the environment
has KEEP_MEMORY=0.
"""

import os

from restpg_jax import heap

if os.environ.get('KEEP_MEMORY') != '0':
  heap.keep()
