"""This machine: devices, memory, disk, and what is installed."""

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
from restpg_jax.models import formats
from restpg_jax.parallel import layout as layouts

GIB = 2**30
# Device files of accelerators, and what of JAX uses them.
DRIVERS = {
  '/dev/accel[0-9]*': "TPUs, but JAX uses the CPU: pip install 'jax[tpu]'",
  '/dev/nvidia[0-9]*': "GPUs, but JAX uses the CPU: pip install 'jax[cuda]'",
}
STATES = {'adafactor': 0, 'adamw': 2}  # of the size of what is trained


def devices(cfg: config.Config) -> Iterator[findings.Finding]:
  """Those that JAX finds, and whether the policy can be trained on them."""
  held = {}

  def found() -> str:
    held['layout'] = layout = layouts.Layout.of_run(cfg)
    usable = f'{layout.usable / GIB:.1f} GiB usable each'
    return f'{layout.devices} x {layout.kind}, {usable}'

  def trained() -> str:
    validate.check_policy(cfg, held['layout'])
    return 'the policy can be laid out on them; preflight says whether it fits'

  yield findings.look('devices', found)
  if 'layout' in held:
    if findings.there(cfg.policy.checkpoint):
      yield findings.look('devices, training', trained)
    if held['layout'].on_cpu:
      yield from unused()


def unused(drivers: dict[str, str] = DRIVERS) -> Iterator[findings.Finding]:
  """Accelerators that JAX passes over."""
  for files, said in drivers.items():
    if seen := sorted(glob.glob(files)):
      there, remedy = said.split(': ')
      said = f'{seen[0]}: this machine has {there}'
      yield findings.Finding('devices, unused', findings.NOTE, said, remedy)


def memory() -> findings.Finding:
  """Of the host."""
  page = os.sysconf('SC_PAGE_SIZE') / GIB
  free = page * os.sysconf('SC_AVPHYS_PAGES')
  total = page * os.sysconf('SC_PHYS_PAGES')
  said = f'{total:.1f} GiB, of which {free:.1f} GiB are free'
  return findings.Finding('memory', findings.OK, said)


def disk(
  cfg: config.Config, workdir: epath.PathLike, *, fits: int
) -> findings.Finding:
  """Whether the weights that a run writes have room; it trains `fits` times."""
  if storage.remote(workdir):
    said = f'{workdir}: its room is not known here'
    return findings.Finding('disk', findings.OK, said)
  path = epath.Path(workdir)
  place = next(p for p in (path, *path.absolute().parents) if p.exists())
  free = shutil.disk_usage(place).free
  said = f'{place}: {_size(free)} free'
  try:
    need = bytes_of_run(cfg, fits=fits)
  except Exception:  # wrong settings or no such model: lines of their own
    return findings.Finding('disk', findings.OK, said)
  said += f', and a run writes {_size(need)} of weights at most'
  if need <= free:
    return findings.Finding('disk', findings.OK, said)
  if path.exists() and folders.matching(path, 'base-*'):  # an earlier sitting's
    said += ', less what is there already'
    return findings.Finding('disk', findings.NOTE, said)
  remedy = (
    'another --workdir, or fewer checkpoints by a larger '
    '--config.train.checkpoint_every'
  )
  return findings.Finding('disk', findings.MISSING, said, remedy)


def bytes_of_run(cfg: config.Config, *, fits: int) -> int:
  """Bytes: the base, the policies of all fits but the last, which may hold
  all its checkpoints with their optimizer; float32. Of adapters: the base."""
  shapes = formats.shapes(model_size.model_size(cfg.policy.checkpoint))
  weights = 4 * sum(math.prod(shape) for shape in shapes.values())
  if cfg.train.lora.rank:
    return weights
  checkpoints = math.ceil(cfg.train.steps / cfg.train.checkpoint_every)
  of_fit = checkpoints * weights * (1 + STATES.get(cfg.train.optimizer, 0))
  if cfg.choose.keep_all:
    return weights + fits * of_fit
  return weights + (fits - 1) * weights + of_fit


def _size(number: int) -> str:
  """Of bytes, in GiB or, where these are few, in MiB."""
  if number < GIB:
    return f'{number / 2**20:,.0f} MiB'
  return f'{number / GIB:,.1f} GiB'


def installed() -> Iterator[findings.Finding]:
  """Versions, and what is optional."""
  versions = (f'{name} {v}' for name, v in artifacts.versions().items())
  yield findings.Finding('installed', findings.OK, ', '.join(versions))
  if importlib.util.find_spec('libtpu'):
    yield findings.Finding(
      'installed, libtpu', findings.OK, 'programs for TPUs compile'
    )
  else:
    said = 'not here; needed on TPUs, and by preflight --topology'
    remedy = "in a clone of restpg_jax: pip install -e '.[tpu]'"
    yield findings.Finding('installed, libtpu', findings.NOTE, said, remedy)
