"""One optimizer step: loss, gradient, update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from restpg_jax.training import batches, loss, meter

Params = Any  # a tree of float32 arrays


class State(NamedTuple):
  """All that a run of training carries from step to step."""

  step: jax.Array
  params: Params
  optimizer: optax.OptState
  frozen: Params = ()  # what is only read, where adapters are trained


def start(
  params: Params, tx: optax.GradientTransformation, frozen: Params = ()
) -> State:
  return State(jnp.int32(0), params, tx.init(params), frozen)


def build(
  apply: Callable[[Params, jax.Array, jax.Array], jax.Array],
  tx: optax.GradientTransformation,
  join: Callable[[Params, Params], Params] = lambda trained, frozen: trained,
) -> Callable[[State, batches.Batch], tuple[State, dict[str, jax.Array]]]:
  """step(state, batch) -> state, metrics: loss, grad_norm, and meter's shares.

  apply(params, tokens_BL, place_BT) gives the logits [B, T, V] at the places;
  its params are what `join` makes of those that are trained and the frozen.
  """

  def objective(trained, frozen, batch):
    params = join(trained, frozen)
    logits_BTV = apply(params, batch.tokens_BL, batch.place_BT)
    return loss.weighted_loss(logits_BTV, batch)

  def step(state, batch):
    value, grads = jax.value_and_grad(objective)(
      state.params, state.frozen, batch
    )
    updates, opt = tx.update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {'loss': value, 'grad_norm': optax.tree.norm(grads)}
    metrics |= meter.changed(state.params, updates, grads)
    return State(state.step + 1, params, opt, state.frozen), metrics

  return step
