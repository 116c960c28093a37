"""Where arrays and programs live: the two ways to use several devices.

sharded      "pjit": one program over the whole mesh, weights and optimizer
             state split by `rules`, batches split over rows: training
each_device  "pmap": the same program on every device by itself, weights on
             each, no collective: sampling and judging, whose loops end at
             different times on different devices
"""

import dataclasses
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

  @classmethod
  def of(cls, compute: config.Compute) -> 'Layout':
    """All devices; `compute.fsdp` of them share one copy of the weights."""
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
    return cls(Mesh(devices.reshape(-1, compute.fsdp), AXES), compute)

  @property
  def devices(self) -> int:
    return self.mesh.size

  @property
  def unroll(self) -> bool:
    """Whether layers are compiled in one piece: 1.4 times faster on CPUs."""
    return self.mesh.devices.flat[0].platform == 'cpu'

  def check_batch(self, size: int) -> None:
    if size % self.devices:
      raise errors.InputError(
        f'train.batch_size={size} is no multiple of {self.devices} devices'
      )

  def place(self, tree):
    """A state on the mesh, each leaf split as `rules` says."""
    return jax.device_put(tree, self._shardings(tree))

  def sharded(self, step: Callable, state) -> Callable:
    """Compiles step(state, batch) -> (state, metrics); the state is donated."""
    rows = NamedSharding(self.mesh, Spec(AXES))
    return jax.jit(
      step,
      in_shardings=(self._shardings(state), rows),
      out_shardings=(
        self._shardings(state),
        NamedSharding(self.mesh, Spec()),
      ),
      donate_argnums=0,
    )

  def on_each(self, tree):
    """The tree once on every device, with a leading device axis."""
    devices = list(self.mesh.devices.flat)
    one = Mesh(np.array(devices), ('device',))
    sharding = NamedSharding(one, Spec('device'))
    return jax.tree.map(
      lambda x: jax.device_put(
        np.broadcast_to(x, (len(devices), *np.shape(x))), sharding
      ),
      tree,
    )

  def each_device(
    self, program: Callable, *, donate: Sequence[int] = ()
  ) -> Callable:
    """program(params, *arrays) on every device; arrays lead with its axis.

    The arguments named in `donate` are overwritten.
    """
    devices = list(self.mesh.devices.flat)
    return jax.pmap(program, devices=devices, donate_argnums=donate)

  def _shardings(self, tree):
    def one(path, x):
      name = jax.tree_util.keystr(path)
      return NamedSharding(self.mesh, rules.spec(name, x.shape, self.mesh))

    return jax.tree_util.tree_map_with_path(one, tree)
