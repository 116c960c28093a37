"""Where arrays and programs live: the two ways to use several devices.

sharded      "pjit": one program over the whole mesh, weights and optimizer
             state split by `rules`, batches split over rows: training
each_device  "pmap": the same program on every device by itself, weights on
             each, no collective: sampling and judging, whose loops end at
             different times on different devices. A model too large for one
             device is shared by `compute.shards` of them, behind the same call
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from restpg_jax import config, errors
from restpg_jax.parallel import rules

AXES = ('data', 'fsdp')


@dataclasses.dataclass(frozen=True)
class Layout:
  """The devices of a run and the sizes of the pieces it works in."""

  mesh: Mesh
  compute: config.Compute = dataclasses.field(compare=False)
  shards: int = 1  # devices that share one copy of the weights in `on_each`

  @classmethod
  def of(cls, compute: config.Compute) -> 'Layout':
    """All devices; `compute.fsdp` of them share one copy of the weights."""
    if compute.cpu_devices:
      _part_cpu(compute.cpu_devices)
    if jax.process_count() > 1:
      raise errors.InputError(
        f'{jax.process_count()} processes: runs over several hosts are not '
        'supported yet; start one process on one host'
      )
    devices = np.array(jax.devices())
    if len(devices) % compute.fsdp:
      raise errors.InputError(
        f'compute.fsdp={compute.fsdp} does not divide {len(devices)} devices'
      )
    if len(devices) % compute.shards:
      raise errors.InputError(
        f'compute.shards={compute.shards} does not divide {len(devices)} '
        'devices'
      )
    mesh = Mesh(devices.reshape(-1, compute.fsdp), AXES)
    return cls(mesh, compute, compute.shards)

  @property
  def devices(self) -> int:
    return self.mesh.size

  @property
  def on_cpu(self) -> bool:
    return self.mesh.devices.flat[0].platform == 'cpu'

  @property
  def block(self) -> int:
    """Tokens that attention over samples reads at a time: full lanes of a TPU;
    on a CPU, where every token counts, few."""
    return 32 if self.on_cpu else 128

  def check_batch(self, size: int) -> None:
    if size % self.devices:
      raise errors.InputError(
        f'train.batch_size={size} is no multiple of {self.devices} devices'
      )

  def place(self, tree):
    """A state on the mesh, each leaf split as `rules` says."""
    return jax.device_put(tree, _split(tree, self.mesh))

  def sharded(self, step: Callable, state) -> Callable:
    """Compiles step(state, batch) -> (state, metrics); the state is donated."""
    rows = NamedSharding(self.mesh, Spec(AXES))
    return jax.jit(
      step,
      in_shardings=(_split(state, self.mesh), rows),
      out_shardings=(
        _split(state, self.mesh),
        NamedSharding(self.mesh, Spec()),
      ),
      donate_argnums=0,
    )

  @property
  def copies(self) -> int:
    """Of the weights, in `on_each`."""
    return self.devices // self.shards

  @property
  def memory(self) -> int:
    """Bytes that sampling may use on a device."""
    if self.compute.memory:
      return int(self.compute.memory * 2**30)
    found = self.mesh.devices.flat[0].memory_stats() or {}
    if 'bytes_limit' in found:
      return int(0.9 * found['bytes_limit'])
    # A CPU: others use its memory too.
    pages = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return pages // 2 // self.devices

  def on_each(self, tree):
    """The tree once on every device, with a leading device axis.

    With shards: split over the devices of each copy, without that axis.
    """
    if self.shards > 1:
      return jax.device_put(tree, _split(tree, self._copies))
    sharding = NamedSharding(self._copies, Spec('data'))
    return jax.tree.map(
      lambda x: jax.device_put(
        np.broadcast_to(x, (self.devices, *np.shape(x))), sharding
      ),
      tree,
    )

  def each_device(
    self, program: Callable, *, donate: Sequence[int] = ()
  ) -> Callable:
    """program(params, *arrays) on every device; arrays lead with its axis.

    With shards the axis is that of the copies. `donate` names the arguments
    that may be overwritten.
    """
    if self.shards == 1:
      devices = list(self.mesh.devices.flat)
      return jax.pmap(program, devices=devices, donate_argnums=donate)

    def on_copies(params, *arrays):
      one = functools.partial(program, params)
      return jax.vmap(one, axis_size=self.copies)(*arrays)

    return jax.jit(
      on_copies,
      out_shardings=NamedSharding(self._copies, Spec('data')),
      donate_argnums=donate,
    )

  @property
  def _copies(self) -> Mesh:
    """Devices by copy of the weights and shard of it."""
    shape = self.copies, self.shards
    return Mesh(self.mesh.devices.reshape(shape), AXES)


def _part_cpu(devices: int) -> None:
  """Gives this process so many CPU devices; before it has used any."""
  try:
    jax.config.update('jax_num_cpu_devices', devices)
  except RuntimeError:  # JAX has begun: it may have just as many
    if jax.device_count('cpu') != devices:
      raise errors.InputError(
        f'compute.cpu_devices={devices}, but this process has '
        f'{jax.device_count("cpu")} already; start another'
      ) from None


def _split(tree, mesh: Mesh):
  """The sharding of each leaf, as `rules` says."""

  def one(path, x):
    name = jax.tree_util.keystr(path)
    return NamedSharding(mesh, rules.spec(name, x.shape, mesh))

  return jax.tree_util.tree_map_with_path(one, tree)
