"""Where arrays and programs live: the two ways to use several devices.

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

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from restpg_jax import backends, config, errors
from restpg_jax.parallel import activations, chips, rules
from restpg_jax.parallel import mesh as meshes


@dataclasses.dataclass(frozen=True)
class Layout:
  """The devices of a run and the sizes of the pieces it works in.

  What a program of training has to know of the mesh: parted.py.
  """

  mesh: Mesh
  compute: config.Compute = dataclasses.field(compare=False)
  shards: int = 1  # devices that share one copy of the weights in `replicate`

  @classmethod
  def of(
    cls,
    compute: config.Compute,
    devices: Sequence[jax.Device] = (),
    examples: int = 0,
  ) -> 'Layout':
    """Over the devices of this process, or over those that are given; examples:
    of a training step, 0 where nothing is trained."""
    if compute.cpu_devices and not devices:
      meshes.part_cpu(compute.cpu_devices)
    if not devices and (fault := backends.backend_fault()):
      raise errors.InputError(fault)
    if jax.process_count() > 1:
      raise errors.InputError(
        f'{jax.process_count()} processes: runs over several hosts are not '
        'supported yet; start one process on one host'
      )
    devices = devices or jax.devices()
    if len(devices) % compute.shards:
      raise errors.InputError(
        f'compute.shards={compute.shards} does not divide {len(devices)} '
        'devices'
      )
    return cls(
      meshes.make_mesh(devices, compute, examples), compute, compute.shards
    )

  @classmethod
  def of_run(
    cls, cfg: config.Config, devices: Sequence[jax.Device] = ()
  ) -> 'Layout':
    """As the compute and the training of a run want it."""
    return cls.of(cfg.compute, devices, cfg.train.batch_size)

  def context_parallel_copies(self, most: int) -> 'Layout':
    """With copies of the weights that so many devices share, or as many as
    divide those there are."""
    return dataclasses.replace(self, shards=math.gcd(most, self.devices))

  @property
  def devices(self) -> int:
    return self.mesh.size

  @property
  def platform(self) -> str:
    """'cpu', 'gpu' or 'tpu'."""
    return self.mesh.devices.flat[0].platform

  @property
  def on_cpu(self) -> bool:
    return self.platform == 'cpu'

  @property
  def kind(self) -> str:
    """Of device, as JAX names it: 'TPU v4'; see parallel/chips.py."""
    return self.mesh.devices.flat[0].device_kind

  @property
  def block(self) -> int:
    """Tokens that attention over samples reads at a time: full lanes of a TPU;
    on a CPU, where every token counts, few."""
    return 32 if self.on_cpu else 128

  @property
  def parts(self) -> int:
    """Into which the rows of a batch are split."""
    return math.prod(
      self.mesh.shape[axis] for axis in activations.BATCH_AXES[0]
    )

  @property
  def context_parallel(self) -> int:
    """Devices that have a part of each row."""
    return self.mesh.shape['sequence']

  def shard(self, tree):
    """A state on the mesh, each leaf split as `rules` says.

    Of arrays on the host each device is given its own part, no device the whole
    of one.
    """

    def one(x, sharding):
      if isinstance(x, jax.Array):
        return jax.device_put(x, sharding)
      return jax.make_array_from_callback(
        np.shape(x), sharding, lambda part: np.asarray(x)[part]
      )

    return jax.tree.map(one, tree, self.split(tree))

  def init_sharded(self, make: Callable, *arguments):
    """What make(*arguments) gives, made in the parts that `rules` says; the
    arguments go into it."""
    made = jax.jit(
      make,
      out_shardings=self.split(jax.eval_shape(make, *arguments)),
      donate_argnums=range(len(arguments)),
    )
    return made(*arguments)

  def split(self, tree):
    """The sharding of each leaf of a state, as `rules` says."""
    return _split(tree, self.mesh)

  def abstract(self, tree):
    """What `shard` would make of a tree of shapes: nothing is made."""
    return _placed(tree, self.split(tree))

  @property
  def rows(self) -> NamedSharding:
    """Of arrays whose first axis is that of a batch."""
    return NamedSharding(self.mesh, activations.BATCH_AXES)

  def own_rows(self, size: int) -> list[int]:
    """Which rows of a batch this process has to build, in order."""
    parts = self.rows.addressable_devices_indices_map((size,)).values()
    return sorted({n for (part,) in parts for n in range(size)[part]})

  def batch(self, own, size: int):
    """A batch of `size` rows over all devices, from this process's own."""
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(
        self.rows, x, (size, *np.shape(x)[1:])
      ),
      own,
    )

  def sharded(
    self, program: Callable, out, *, donate: Sequence[int] = ()
  ) -> jax.stages.Wrapped:
    """Compiles a program for arguments that lie on the mesh already.

    Its result lies as `rules` says for `out`, a tree like it; where that is
    None, as the compiler likes.
    """
    return jax.jit(
      program, out_shardings=self.split(out), donate_argnums=donate
    )

  @property
  def copies(self) -> int:
    """Of the weights, in `replicate`."""
    return self.devices // self.shards

  @property
  def memory(self) -> int:
    """Bytes that sampling may use on a device."""
    if self.compute.memory:
      return int(self.compute.memory * 2**30)
    return self.usable if self.on_cpu else int(0.9 * self.usable)

  @property
  def usable(self) -> int:
    """Bytes of memory that programs may use on a device."""
    if chip := chips.CHIPS.get(self.kind):
      return int(chip.usable * 2**30)
    found = self.mesh.devices.flat[0].memory_stats() or {}
    if 'bytes_limit' in found:
      return found['bytes_limit']
    # A CPU: others use its memory too.
    pages = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return pages // 2 // self.devices

  def replicate(self, tree):
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

  def abstract_replicated(self, tree):
    """What `replicate` would make of a tree of shapes: nothing is made."""
    lead = () if self.shards > 1 else (self.devices,)
    shardings = _split(tree, self._copies)
    if self.shards == 1:
      one = NamedSharding(self._copies, Spec('data'))
      shardings = jax.tree.map(lambda _: one, tree)
    return _placed(tree, shardings, lead)

  def for_each(self, *shape: int, dtype=np.int32) -> jax.ShapeDtypeStruct:
    """Of an argument of `each_device` behind the parameters."""
    sharding = NamedSharding(self._copies, Spec('data'))
    shape = self.copies, *shape
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

  def each_device(
    self, program: Callable, *, donate: Sequence[int] = ()
  ) -> jax.stages.Wrapped:
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
    return Mesh(self.mesh.devices.reshape(shape), ('data', 'model'))


def _placed(shapes, shardings, lead: tuple[int, ...] = ()):
  """The same shapes, with axes more in front, where they would lie."""
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      (*lead, *x.shape), x.dtype, sharding=sharding
    ),
    shapes,
    shardings,
  )


def _split(tree, mesh: Mesh):
  """The sharding of each leaf, as `rules` says."""

  def one(path, x):
    name = jax.tree_util.keystr(path)
    return NamedSharding(mesh, rules.spec(name, x.shape, mesh))

  return jax.tree_util.tree_map_with_path(one, tree)
