"""Corrects what JAX reads in the environment, before JAX is imported."""

import glob
import importlib.util
import os
from importlib import metadata

X64 = 'JAX_ENABLE_X64'
ON = 'y', 'yes', 't', 'true', 'on', '1'  # as JAX reads a switch
TPUS = '/dev/accel[0-9]*', '/dev/vfio/[0-9]*'  # device files, by generation
# Who has set one of these has chosen what JAX looks for.
CHOSEN = (
  *('JAX_PLATFORMS', 'JAX_FORCE_TPU_INIT', 'TPU_LIBRARY_PATH'),
  'PJRT_NAMES_AND_LIBRARY_PATHS',
)


def pass_over_tpus(devices: tuple[str, ...] = TPUS) -> None:
  """Keeps JAX on the CPU where libtpu is installed and there is no TPU.

  The library looks for one, in vain, and complains of host names. Where a
  device file is there, a choice, or a plugin (of GPUs), JAX looks as always.
  """
  if (
    importlib.util.find_spec('libtpu')
    and not any(map(glob.glob, devices))
    and not any(name in os.environ for name in CHOSEN)
    and not importlib.util.find_spec('jax_plugins')
    and not metadata.entry_points(group='jax_plugins')
  ):
    os.environ['JAX_PLATFORMS'] = 'cpu'


def keep_32_bits() -> str:
  """Switches 64-bit numbers off; returns a line to print, '' if they were off.

  With them the indices of our programs would not fit each other.
  """
  if os.environ.get(X64, '').lower() not in ON:
    return ''
  return f'{X64}={os.environ.pop(X64)} is passed over: all runs in 32 bits'


def backend_fault() -> str:
  """Returns why JAX has no device; '' where it has some."""
  import jax  # not above: the environment is put right before this import

  try:
    jax.devices()
  except Exception as error:  # of JAX or a plugin, an AssertionError too
    message = ' '.join(str(error).split()) or type(error).__name__
    if platforms := os.environ.get('JAX_PLATFORMS'):
      return (
        f'JAX_PLATFORMS={platforms}: JAX has no such device here ({message}); '
        'unset it, or install what drives the device'
      )
    return f'JAX has no device here ({message})'
  return ''
