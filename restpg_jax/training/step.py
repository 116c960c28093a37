"""Takes an optimizer step: gradients of its micro-batches, then the update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from restpg_jax.training import batches, loss, meter

Params = Any  # a tree of float32 arrays
MAX_LOGITS = 2**26  # that a device holds at once: 0.25 GiB in float32


class TrainState(NamedTuple):
  """All that a run of training carries from step to step."""

  step: jax.Array
  params: Params
  optimizer: optax.OptState
  frozen: Params = ()  # what is only read, where adapters are trained


class Sums(NamedTuple):
  """Sums over the micro-batches of a step so far."""

  loss: jax.Array
  grads: Params


class ModelFunctions(NamedTuple):
  """What is trained, as functions of its parameters."""

  # (params, tokens_BL, position_BL, segment_BL) -> hidden states [B, L, D]
  hidden: Callable[..., jax.Array]
  # params -> the matrix [V, D] that gives logits
  head: Callable[[Params], jax.Array]
  # (params, rows of it [v, D], hidden states [B, T, D]) -> logits [B, T, v]
  logits: Callable[[Params, jax.Array, jax.Array], jax.Array]
  # What these functions take, of the trained and the frozen.
  join: Callable[[Params, Params], Params] = lambda trained, frozen: trained


def init_state(
  params: Params, tx: optax.GradientTransformation, frozen: Params = ()
) -> TrainState:
  """Returns the state before the first step."""
  return TrainState(jnp.int32(0), params, tx.init(params), frozen)


def take(hidden_BLD: jax.Array, index_BT: batches.Array) -> jax.Array:
  """Returns the states [B, T, D] at these indices of each row."""
  return jnp.take_along_axis(hidden_BLD, index_BT[..., None], axis=1)


def build_accumulate(
  model: ModelFunctions,
  *,
  devices: int = 1,
  pin: Callable[..., jax.Array] = lambda x, last=None: x,
  take: Callable[..., jax.Array] = take,
) -> Callable[..., Sums]:
  """Returns program(state, sums, batch, count) -> sums with this micro-batch.

  sums is None for the first of a step: no gradients are there but its own.
  count is that of the step's target tokens. pin(x) keeps an array with a
  leading axis of rows split over the `devices` as batches are; pin(x, 'model')
  its last axis too, over those that share a model. take does what the function
  of that name does, for rows that are split so.
  """

  def objective(
    trained: Params, frozen: Params, batch: batches.Batch, count: jax.Array
  ) -> jax.Array:
    params = model.join(trained, frozen)
    hidden_BLD = pin(
      model.hidden(params, batch.tokens_BL, batch.position_BL, batch.segment_BL)
    )
    hidden_BTD = take(hidden_BLD, batch.index_BT)

    def logits(head_vD: jax.Array, hidden_BTD: jax.Array) -> jax.Array:
      return pin(model.logits(params, head_vD, hidden_BTD), 'model')

    head_VD = model.head(params)
    total = loss.weighted(
      pin(hidden_BTD), batch, head_VD, logits, max_logits=MAX_LOGITS * devices
    )
    return total / count

  def program(
    state: TrainState,
    sums: Sums | None,
    batch: batches.Batch,
    count: jax.Array,
  ) -> Sums:
    new = Sums(
      *jax.value_and_grad(objective)(state.params, state.frozen, batch, count)
    )
    return new if sums is None else jax.tree.map(jnp.add, sums, new)

  return program


def build_update(
  tx: optax.GradientTransformation,
) -> Callable[[TrainState, Sums], tuple[TrainState, dict[str, jax.Array]]]:
  """Returns program(state, sums) -> state, metrics.

  The metrics are loss, grad_norm and the shares of meter.changed.
  """

  def program(
    state: TrainState, sums: Sums
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    updates, opt = tx.update(sums.grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {'loss': sums.loss, 'grad_norm': optax.tree.norm(sums.grads)}
    metrics |= meter.changed(state.params, updates, sums.grads)
    return TrainState(state.step + 1, params, opt, state.frozen), metrics

  return program
