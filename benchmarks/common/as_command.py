"""Imported before NumPy: this process keeps memory that it freed.

So does the framework's command (restpg_jax/malloc.py). Not where the
environment has KEEP_MEMORY=0.
"""

import os

from restpg_jax import malloc

if os.environ.get('KEEP_MEMORY') != '0':
  malloc.keep()
