"""What all tests share: programs are compiled once a session, in any process.

Every run of the pipeline compiles the same few programs anew; with a cache on
disk the second and all later runs read them.
"""

import os
import tempfile

CACHE = tempfile.TemporaryDirectory(prefix='restpg-jax-tests-')
os.environ['JAX_COMPILATION_CACHE_DIR'] = CACHE.name
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'

from tests.remote import bucket  # noqa: E402, F401, a fixture of all tests
