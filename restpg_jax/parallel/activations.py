"""Shards the rows of a training batch over the mesh, inside a program."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from restpg_jax.parallel import rules

BATCH_AXES = Spec(('data', 'fsdp'))  # of a batch


@dataclasses.dataclass(frozen=True)
class ActivationSharding:
  """Shards what the compiler does not shard well by itself, on one mesh."""

  mesh: Mesh

  def pin(self, x: jax.Array, last: str | None = None) -> jax.Array:
    """Constrains x [B, L, ..]: rows where the batch has them, their tokens over
    the devices that share them, the last axis over `last`.

    Without it the partitioner decides, and not always well.
    """
    axes = (*BATCH_AXES, 'sequence', *[None] * (x.ndim - 3), last)
    return jax.lax.with_sharding_constraint(
      x, NamedSharding(self.mesh, Spec(*axes))
    )

  def look_up(
    self,
    table_VD: jax.Array,
    tokens_BL: jax.Array,
    dtype: jax.typing.DTypeLike,
  ) -> jax.Array:
    """Does that of models.mixed_precision in a table split as in `rules`.

    Each device looks its own tokens up for all rows of those it shares the
    table with: what travels is a row's states, not the table or its gradient.
    """
    parts = math.prod(self.mesh.shape[axis] for axis in rules.VOCABULARY)
    if parts == 1 or len(table_VD) % parts:
      return table_VD[tokens_BL].astype(dtype)

    def own(part_vD: jax.Array, tokens_bL: jax.Array) -> jax.Array:
      tokens_BL = jax.lax.all_gather(tokens_bL, 'fsdp', tiled=True)
      begin = jax.lax.axis_index(rules.VOCABULARY) * len(part_vD)
      index_BL = tokens_BL - begin
      mine_BL = (index_BL >= 0) & (index_BL < len(part_vD))
      x_BLD = part_vD[jnp.where(mine_BL, index_BL, 0)].astype(dtype)
      x_BLD = jnp.where(mine_BL[..., None], x_BLD, 0)
      x_BLD = jax.lax.psum(x_BLD, 'model')
      x_bLD = jax.lax.psum_scatter(x_BLD, 'fsdp', tiled=True)
      return jax.lax.psum_scatter(
        x_bLD, 'sequence', scatter_dimension=1, tiled=True
      )

    return jax.shard_map(
      own,
      mesh=self.mesh,
      in_specs=(Spec(rules.VOCABULARY), BATCH_AXES),
      out_specs=Spec(*BATCH_AXES, 'sequence'),
    )(table_VD, tokens_BL)

  def scatter_gradient(
    self, gradient: Callable[[str, jax.Array, jax.Array], jax.Array]
  ) -> Callable[[str, jax.Array, jax.Array], jax.Array]:
    """Returns `gradient`, summed over the devices that share a batch.

    gradient(name, x_BLD, dy_BLF) is that of the weight of this name, [D, F], in
    float32. Each device computes it from its own tokens and is sent the sum of
    the part that it holds: a reduce-scatter. By itself the compiler would send
    some weights' gradients whole.
    """

    def scattered(name: str, x_BLD: jax.Array, dy_BLF: jax.Array) -> jax.Array:
      shape = x_BLD.shape[-1], dy_BLF.shape[-1]
      split = rules.spec(f"'{name}'", shape, self.mesh)
      x_rows, dy_rows = (
        Spec(*BATCH_AXES, 'sequence', 'model' if part == 'model' else None)
        for part in split
      )

      def own(x_blD: jax.Array, dy_blF: jax.Array) -> jax.Array:
        share = gradient(name, x_blD, dy_blF)
        shared = {
          n for n in ('data', *rules.GATHERED) if self.mesh.shape[n] > 1
        }
        for axis, names in enumerate(split):
          if names and names != 'model':
            share = jax.lax.psum_scatter(
              share, names, scatter_dimension=axis, tiled=True
            )
            shared -= {names} if isinstance(names, str) else set(names)
        return jax.lax.psum(share, sorted(shared)) if shared else share

      return jax.shard_map(
        own,
        mesh=self.mesh,
        in_specs=(x_rows, dy_rows),
        out_specs=split,
        check_vma=False,
      )(x_BLD, dy_BLF)

    return scattered

  def take(self, hidden_BLD: jax.Array, index_BT: jax.Array) -> jax.Array:
    """Does training.step.take where devices share rows.

    Each gives what it has of the targets' states; whole rows do not travel.
    """

    def own(hidden_blD: jax.Array, index_bT: jax.Array) -> jax.Array:
      length = hidden_blD.shape[1]
      at_bT = index_bT - jax.lax.axis_index('sequence') * length
      mine_bT = (at_bT >= 0) & (at_bT < length)
      at_bT = jnp.where(mine_bT, at_bT, 0)
      x_bTD = jnp.take_along_axis(hidden_blD, at_bT[..., None], axis=1)
      x_bTD = jnp.where(mine_bT[..., None], x_bTD, 0)
      return jax.lax.psum_scatter(
        x_bTD, 'sequence', scatter_dimension=1, tiled=True
      )

    tokens = Spec(*BATCH_AXES, 'sequence')
    return jax.shard_map(
      own, mesh=self.mesh, in_specs=(tokens, BATCH_AXES), out_specs=tokens
    )(hidden_BLD, index_BT)

  def by_rows(
    self, attend: Callable[..., jax.Array]
  ) -> Callable[..., jax.Array]:
    """Returns `attend` run by each device on its own rows and heads.

    attend(q, k, v, segment_BL, local, ..) takes [B, L, N, H] and is a kernel
    that the compiler does not partition. Devices that share a row have a part
    of its queries each, and all its keys.
    """
    parts, context_parallel = (
      self.mesh.shape[name] for name in ('model', 'sequence')
    )

    def own(
      q: jax.Array,
      k: jax.Array,
      v: jax.Array,
      segment_BL: jax.Array,
      traced: jax.Array | None,
      *,
      local: bool | None,
      **options: Any,
    ) -> jax.Array:
      rest = segment_BL, local if traced is None else traced
      if context_parallel == 1:
        return attend(q, k, v, *rest, **options)
      # Inside, so that what comes back of gradients is a part again.
      k, v = (
        jax.lax.all_gather(x, 'sequence', axis=1, tiled=True) for x in (k, v)
      )
      part = jax.lax.axis_index('sequence')
      return attend(
        *(q, k, v, *rest), part=part, parts=context_parallel, **options
      )

    def on_parts(
      q: jax.Array,
      k: jax.Array,
      v: jax.Array,
      segment_BL: jax.Array,
      local: jax.Array | bool | None,
      **options: Any,
    ) -> jax.Array:
      kv_heads = k.shape[2]
      # Query heads go with the key head that they share.
      split = kv_heads == 1 or kv_heads % parts == 0
      q_rows = Spec(*BATCH_AXES, 'sequence', 'model' if split else None)
      kv_split = 'model' if kv_heads % parts == 0 else None
      kv_rows = Spec(*BATCH_AXES, 'sequence', kv_split)
      # What is known before anything runs stays known inside.
      known = local if isinstance(local, bool) else None
      return jax.shard_map(
        functools.partial(own, local=known, **options),
        mesh=self.mesh,
        in_specs=(q_rows, kv_rows, kv_rows, BATCH_AXES, Spec()),
        out_specs=q_rows,
        check_vma=False,
      )(q, k, v, segment_BL, None if known else local)

    return on_parts
