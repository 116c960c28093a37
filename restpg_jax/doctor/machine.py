"""Inspects this machine: devices, memory, disk, and what is installed."""

import glob
import importlib.util
import math
import os
import shutil
from collections.abc import Iterator

from etils import epath

from restpg_jax import config, folders, storage, validate
from restpg_jax.doctor import findings
from restpg_jax.engines import model_size
from restpg_jax.io import artifacts
from restpg_jax.parallel import layout as layouts

GIB = 2**30
# Device files of accelerators, what they are, and the JAX that uses them.
DRIVERS = {
  '/dev/accel[0-9]*': "TPUs, but JAX uses the CPU: pip install 'jax[tpu]'",
  '/dev/nvidia[0-9]*': "GPUs, but JAX uses the CPU: pip install 'jax[cuda]'",
}
# The optimizer's state, in sizes of the weights; Adafactor's factors are small.
STATES = {'adafactor': 0, 'adamw': 2}


def devices(cfg: config.Config) -> Iterator[findings.Finding]:
  """Yields findings of JAX's devices, and whether they can train the policy."""
  held: dict[str, layouts.Layout] = {}

  def find_layout() -> str:
    held['layout'] = layout = layouts.Layout.of(
      cfg.compute, examples=cfg.train.batch_size
    )
    usable = f'{layout.usable / GIB:.1f} GiB usable each'
    return f'{layout.devices} x {layout.device_kind}, {usable}'

  def check_training() -> str:
    validate.check_policy(cfg.policy, cfg.train, held['layout'])
    return 'the policy can be laid out on them; preflight says whether it fits'

  yield findings.look('devices', find_layout)
  if 'layout' in held:
    if findings.exists(cfg.policy.checkpoint):
      yield findings.look('devices, training', check_training)
    if held['layout'].on_cpu:
      yield from unused()


def unused(drivers: dict[str, str] = DRIVERS) -> Iterator[findings.Finding]:
  """Yields a finding for each accelerator that JAX passes over."""
  for pattern, description in drivers.items():
    if device_files := sorted(glob.glob(pattern)):
      hardware, remedy = description.split(': ')
      message = f'{device_files[0]}: this machine has {hardware}'
      yield findings.Finding('devices, unused', findings.NOTE, message, remedy)


def memory() -> findings.Finding:
  """Returns the finding of the host's memory."""
  page = os.sysconf('SC_PAGE_SIZE') / GIB
  free = page * os.sysconf('SC_AVPHYS_PAGES')
  total = page * os.sysconf('SC_PHYS_PAGES')
  message = f'{total:.1f} GiB, of which {free:.1f} GiB are free'
  return findings.Finding('memory', findings.OK, message)


def disk(
  cfg: config.Config, workdir: epath.PathLike, *, fits: int
) -> findings.Finding:
  """Returns whether there is room for the weights that a run writes.

  fits: the number of times that it trains.
  """
  if storage.remote(workdir):
    message = f'{workdir}: its room is not known here'
    return findings.Finding('disk', findings.OK, message)
  path, folder = epath.Path(workdir), storage.existing(workdir)
  free = shutil.disk_usage(folder).free
  message = f'{folder}: {_size(free)} free'
  try:
    need = bytes_of_run(cfg, fits=fits)
  except Exception:  # wrong settings or no such model: lines of their own
    return findings.Finding('disk', findings.OK, message)
  message += f', and a run writes {_size(need)} of weights at most'
  if need <= free:
    return findings.Finding('disk', findings.OK, message)
  if path.exists() and folders.matching(path, 'base-*'):  # an earlier sitting's
    message += ', less what is there already'
    return findings.Finding('disk', findings.NOTE, message)
  remedy = (
    'another --workdir, or fewer checkpoints by a larger '
    '--config.train.checkpoint_every'
  )
  return findings.Finding('disk', findings.MISSING, message, remedy)


def bytes_of_run(cfg: config.Config, *, fits: int) -> int:
  """Returns the bytes of float32 weights that a run writes at most.

  They are those of the base, of each earlier fit's policy (with choose.keep_all
  of all its checkpoints), and of all checkpoints of the last fit with their
  optimizer. With adapters only the base counts.
  """
  size = model_size.model_size(cfg.policy.checkpoint, cfg.policy.base)
  weights = model_size.bytes_on_disk(size)
  if cfg.train.lora.rank:
    return weights
  checkpoints = math.ceil(cfg.train.steps / cfg.train.checkpoint_every)
  of_fit = checkpoints * weights * (1 + STATES.get(cfg.train.optimizer, 0))
  if cfg.choose.keep_all:
    return weights + fits * of_fit
  return weights + (fits - 1) * weights + of_fit


def _size(number: int) -> str:
  """Returns a number of bytes in GiB or, where these are few, in MiB."""
  if number < GIB:
    return f'{number / 2**20:,.0f} MiB'
  return f'{number / GIB:,.1f} GiB'


def installed() -> Iterator[findings.Finding]:
  """Yields findings of versions and of optional packages."""
  versions = (f'{name} {v}' for name, v in artifacts.versions().items())
  yield findings.Finding('installed', findings.OK, ', '.join(versions))
  if importlib.util.find_spec('libtpu'):
    yield findings.Finding(
      'installed, libtpu', findings.OK, 'programs for TPUs compile'
    )
  else:
    message = 'not here; needed on TPUs, and by preflight --topology'
    remedy = "in a clone of restpg_jax: pip install -e '.[tpu]'"
    yield findings.Finding('installed, libtpu', findings.NOTE, message, remedy)
