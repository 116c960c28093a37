"""Says where arrays and programs live: two ways to use several devices.

sharded      "pjit": one program over the whole mesh, weights and optimizer
             state split by `rules`, batches split over rows, and these over
             the devices that share them (mesh.py): training
each_device  "pmap": the same program on every device by itself, weights on
             each, no collective: sampling and judging, whose loops end at
             different times on different devices. A model too large for one
             device is shared by `compute.shards` of them, behind the same call
"""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from restpg_jax import backends, config, errors
from restpg_jax.parallel import activations, chips, rules
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import mesh as meshes

Tree = Any  # nested containers of arrays, or of their shapes


@dataclasses.dataclass(frozen=True)
class Layout:
  """The devices of a run and the sizes of the pieces it works in.

  What a training program itself knows of the mesh is in activations.py.
  """

  mesh: Mesh
  compute: config.Compute = dataclasses.field(compare=False)
  shards: int = 1  # devices that share one copy of the weights in `replicate`
  hosts: hosts_lib.Hosts = dataclasses.field(
    default_factory=hosts_lib.Hosts, compare=False
  )
  run_devices: int = 0  # of the whole run, where these are only a host's

  @classmethod
  def of(
    cls,
    compute: config.Compute,
    devices: Sequence[meshes.Device] = (),
    examples: int = 0,
    hosts: hosts_lib.Hosts | None = None,
  ) -> 'Layout':
    """Returns one over the devices of all processes, or over those given.

    `examples` are those of a training step, 0 where nothing is trained. Raises
    InputError where `compute` does not suit the devices.
    """
    if compute.cpu_devices and not devices:
      meshes.part_cpu(compute.cpu_devices)
    if not devices and (fault := backends.backend_fault()):
      raise errors.InputError(fault)
    hosts = hosts or hosts_lib.Hosts()
    devices = devices or jax.devices()
    if len(devices) // hosts.count % compute.shards:
      raise errors.InputError(
        f'compute.shards={compute.shards} does not divide '
        f'{len(devices) // hosts.count} devices'
        + (' of a host' if hosts.count > 1 else '')
      )
    mesh = meshes.make_mesh(devices, compute, examples)
    return cls(mesh, compute, compute.shards, hosts)

  def of_host(self) -> 'Layout':
    """Returns one over this host's devices, for work without a collective."""
    if self.hosts.count == 1:
      return self
    own = [d for d in self.mesh.devices.flat if d in jax.local_devices()]
    mesh = Mesh(np.array(own).reshape(-1, 1, 1, 1), meshes.AXES)
    return dataclasses.replace(self, mesh=mesh, run_devices=self.devices)

  def at(self, stage: str) -> 'Layout':
    """Returns the same, whose hosts meet at the barriers of a stage."""
    return dataclasses.replace(self, hosts=self.hosts.at(stage))

  def context_parallel_copies(self, max_shards: int) -> 'Layout':
    """Returns one whose copies of the weights are shared by `max_shards`.

    They are fewer devices where so many do not divide those there are.
    """
    return dataclasses.replace(self, shards=math.gcd(max_shards, self.devices))

  @property
  def devices(self) -> int:
    return self.mesh.size

  @property
  def platform(self) -> str:
    """Returns 'cpu', 'gpu' or 'tpu'."""
    return self.mesh.devices.flat[0].platform

  @property
  def on_cpu(self) -> bool:
    return self.platform == 'cpu'

  @property
  def device_kind(self) -> str:
    """Returns JAX's name for it, 'TPU v4'; see parallel/chips.py."""
    return self.mesh.devices.flat[0].device_kind

  @property
  def block(self) -> int:
    """Returns the tokens that attention over samples reads at a time.

    They fill the lanes of a TPU; on a CPU, where every token counts, they are
    few.
    """
    return 32 if self.on_cpu else 128

  @property
  def parts(self) -> int:
    """Returns the number of parts that a batch's rows are split into."""
    return math.prod(
      self.mesh.shape[axis] for axis in activations.BATCH_AXES[0]
    )

  @property
  def context_parallel(self) -> int:
    """Returns the number of devices that have a part of each row."""
    return self.mesh.shape['sequence']

  def shard(self, tree: Tree) -> Tree:
    """Returns a state on the mesh, each leaf split as `rules` says.

    Each device is given its own part of arrays on the host, and no device the
    whole of one.
    """

    def one(x: Any, sharding: NamedSharding) -> jax.Array:
      if isinstance(x, jax.Array):
        return jax.device_put(x, sharding)
      return jax.make_array_from_callback(
        np.shape(x), sharding, lambda part: np.asarray(x)[part]
      )

    return jax.tree.map(one, tree, self.split(tree))

  def init_sharded(self, make: Callable[..., Tree], *arguments: Tree) -> Tree:
    """Returns make(*arguments), made in the parts that `rules` says.

    The arguments' memory may be used for it.
    """
    sharded = jax.jit(
      make,
      out_shardings=self.split(jax.eval_shape(make, *arguments)),
      donate_argnums=range(len(arguments)),
    )
    return sharded(*arguments)

  def split(self, tree: Tree) -> Tree:
    """Returns the sharding of each leaf of a state, as `rules` says."""
    return _split(tree, self.mesh)

  def abstract(self, tree: Tree) -> Tree:
    """Returns the shapes that `shard` would give: no array is made."""
    return _with_shardings(tree, self.split(tree))

  @property
  def rows(self) -> NamedSharding:
    """Returns the sharding of arrays whose first axis is that of a batch."""
    return NamedSharding(self.mesh, activations.BATCH_AXES)

  def own_rows(self, size: int) -> list[int]:
    """Returns the rows of a batch that this process has to build, in order."""
    indices = self.rows.addressable_devices_indices_map((size,)).values()
    parts = [index[0] for index in indices if index is not None]
    return sorted({n for part in parts for n in range(size)[part]})

  def batch(self, own: Tree, size: int) -> Tree:
    """Returns a batch of `size` rows over all devices, from this process's."""
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(
        self.rows, x, (size, *np.shape(x)[1:])
      ),
      own,
    )

  def sharded(
    self,
    program: Callable[..., Any],
    shardings: Tree,
    *,
    donate: Sequence[int] = (),
  ) -> jax.stages.Wrapped:
    """Returns the program, jitted for arguments that are on the mesh already.

    Its result is split as `shardings` says, a tree like it; where that is None,
    as the compiler likes.
    """
    return jax.jit(program, out_shardings=shardings, donate_argnums=donate)

  @property
  def copies(self) -> int:
    """Returns the number of copies of the weights, in `replicate`."""
    return self.devices // self.shards

  @property
  def run_copies(self) -> int:
    """Returns the number of copies of the weights on all hosts.

    Compiled shapes follow from it, so that they are the same on any number of
    hosts.
    """
    return max(self.run_devices, self.devices) // self.shards

  @property
  def memory(self) -> int:
    """Returns the bytes that sampling may use on a device."""
    if self.compute.memory:
      return int(self.compute.memory * 2**30)
    return self.usable if self.on_cpu else int(0.9 * self.usable)

  @property
  def usable(self) -> int:
    """Returns the bytes of memory that programs may use on a device."""
    if chip := chips.CHIPS.get(self.device_kind):
      return int(chip.usable * 2**30)
    stats = self.mesh.devices.flat[0].memory_stats() or {}
    if 'bytes_limit' in stats:
      return stats['bytes_limit']
    # A CPU: others use its memory too.
    pages = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return pages // 2 // self.devices

  def replicate(self, tree: Tree) -> Tree:
    """Returns the tree once on every device, with a leading device axis.

    With shards it is split over the devices of each copy, without that axis.
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

  def abstract_replicated(self, tree: Tree) -> Tree:
    """Returns the shapes that `replicate` would give: no array is made."""
    lead = () if self.shards > 1 else (self.devices,)
    shardings = _split(tree, self._copies)
    if self.shards == 1:
      one = NamedSharding(self._copies, Spec('data'))
      shardings = jax.tree.map(lambda _: one, tree)
    return _with_shardings(tree, shardings, lead)

  def for_each(
    self, *shape: int, dtype: jax.typing.DTypeLike = np.int32
  ) -> jax.ShapeDtypeStruct:
    """Returns the shape of an argument of `each_device`, not the parameters."""
    sharding = NamedSharding(self._copies, Spec('data'))
    return jax.ShapeDtypeStruct(
      (self.copies, *shape), jax.numpy.dtype(dtype), sharding=sharding
    )

  def each_device(
    self, program: Callable[..., Any], *, donate: Sequence[int] = ()
  ) -> jax.stages.Wrapped:
    """Returns program(params, *arrays), compiled to run on every device.

    Arrays and results lead with the axis of devices; with shards, with that of
    the copies. `donate` names the arguments that may be overwritten.
    """
    if self.shards == 1:
      devices = list(self.mesh.devices.flat)
      return jax.pmap(program, devices=devices, donate_argnums=donate)

    def on_copies(params: Tree, *arrays: Tree) -> Tree:
      one = functools.partial(program, params)
      return jax.vmap(one, axis_size=self.copies)(*arrays)

    return jax.jit(
      on_copies,
      out_shardings=NamedSharding(self._copies, Spec('data')),
      donate_argnums=donate,
    )

  @property
  def _copies(self) -> Mesh:
    """Returns the devices by copy of the weights, and shard of it."""
    shape = self.copies, self.shards
    return Mesh(self.mesh.devices.reshape(shape), ('data', 'model'))


def _with_shardings(
  shapes: Tree, shardings: Tree, lead: tuple[int, ...] = ()
) -> Tree:
  """Returns the shapes, with more axes in front, as they would be sharded."""
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      (*lead, *x.shape), x.dtype, sharding=sharding
    ),
    shapes,
    shardings,
  )


def _split(tree: Tree, mesh: Mesh) -> Tree:
  """Returns the sharding of each leaf, as `rules` says."""

  def one(path: Any, x: Any) -> NamedSharding:
    name = jax.tree_util.keystr(path)
    return NamedSharding(mesh, rules.spec(name, x.shape, mesh))

  return jax.tree_util.tree_map_with_path(one, tree)
