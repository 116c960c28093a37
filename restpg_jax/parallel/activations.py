"""Rows of a training batch, parted over the mesh, inside a program."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from restpg_jax.parallel import rules

BATCH_AXES = Spec(('data', 'fsdp'))  # of a batch


@dataclasses.dataclass(frozen=True)
class ActivationSharding:
  """What the compiler does not part well by itself, on one mesh."""

  mesh: Mesh

  def pin(self, x, last: str | None = None):
    """x [B, L, ..] inside a program: rows where the batch has them, their
    tokens over those that share them, the last axis over `last`. The
    partitioner decides otherwise, not always well."""
    axes = (*BATCH_AXES, 'sequence', *[None] * (x.ndim - 3), last)
    return jax.lax.with_sharding_constraint(
      x, NamedSharding(self.mesh, Spec(*axes))
    )

  def look_up(self, table_VD, tokens_BL, dtype):
    """models.decoder.look_up for an embedding in the parts that `rules` says.

    Each device looks its own words up for all rows of those it shares the table
    with: what travels is a row's states, not the table or its gradient.
    """
    parts = math.prod(self.mesh.shape[axis] for axis in rules.VOCABULARY)
    if parts == 1 or len(table_VD) % parts:
      return table_VD[tokens_BL].astype(dtype)

    def own(part_vD, tokens_bL):
      tokens_BL = jax.lax.all_gather(tokens_bL, 'fsdp', tiled=True)
      begin = jax.lax.axis_index(rules.VOCABULARY) * len(part_vD)
      place_BL = tokens_BL - begin
      mine_BL = (place_BL >= 0) & (place_BL < len(part_vD))
      x_BLD = part_vD[jnp.where(mine_BL, place_BL, 0)].astype(dtype)
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

  def take(self, hidden_BLD, place_BT):
    """training.step.take where devices share rows.

    Each gives what it has of the targets' states; whole rows do not travel.
    """

    def own(hidden_blD, place_bT):
      length = hidden_blD.shape[1]
      at_bT = place_bT - jax.lax.axis_index('sequence') * length
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
    )(hidden_BLD, place_BT)

  def by_rows(self, attend: Callable) -> Callable:
    """attend(q, k, v, segment_BL, local, ..) for rows and heads [B, L, N, H]
    of each device by itself: for kernels that are not partitioned.

    Devices that share a row have a part of its queries each, and all its keys.
    """
    parts, context_parallel = (
      self.mesh.shape[name] for name in ('model', 'sequence')
    )

    def own(q, k, v, *rest, **how):
      if context_parallel == 1:
        return attend(q, k, v, *rest, **how)
      # Inside, so that what comes back of gradients is a part again.
      k, v = (
        jax.lax.all_gather(x, 'sequence', axis=1, tiled=True) for x in (k, v)
      )
      part = jax.lax.axis_index('sequence')
      return attend(q, k, v, *rest, part=part, parts=context_parallel, **how)

    def on_parts(q, k, v, segment_BL, local, **how):
      kv_heads = k.shape[2]
      # Query heads go with the key head that they share.
      split = kv_heads == 1 or kv_heads % parts == 0
      q_rows = Spec(*BATCH_AXES, 'sequence', 'model' if split else None)
      kv_split = 'model' if kv_heads % parts == 0 else None
      kv_rows = Spec(*BATCH_AXES, 'sequence', kv_split)
      return jax.shard_map(
        functools.partial(own, **how),
        mesh=self.mesh,
        in_specs=(q_rows, kv_rows, kv_rows, BATCH_AXES, Spec()),
        out_specs=q_rows,
        check_vma=False,
      )(q, k, v, segment_BL, local)

    return on_parts
