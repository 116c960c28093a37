"""Builds Adafactor for the paper's recipe, and the learning rate's schedule.

Two traps of the stock one (docs/reading_the_paper.md): its weight decay is not
scaled by the learning rate, and its clipping looks at a tensor as a whole, so
layers that are stacked for `scan` would share one statistic. Here decay is
decoupled (w -= lr * decay * w) and stacked layers are updated one by one.
"""

from typing import Any

import jax
import optax

# The types of optax for the modules above, which do not import it.
Optimizer = optax.GradientTransformation
Schedule = optax.Schedule


def schedule(
  rate: float, *, steps: int, warmup: int, final_rate: float
) -> optax.Schedule:
  """Returns 0 -> rate over `warmup` steps, then a line to final_rate * rate.

  rate 5e-6, steps 10,000, warmup 250, final_rate 0.1: step 125 -> 2.5e-6,
  250 -> 5e-6, 5,000 -> 2.808e-6, 10,000 -> 5e-7
  """
  return optax.join_schedules(
    [
      optax.linear_schedule(0.0, rate, warmup),
      optax.linear_schedule(rate, final_rate * rate, steps - warmup),
    ],
    [warmup],
  )


def adafactor() -> optax.GradientTransformation:
  """Returns Adafactor with factored moments and updates clipped at 1.0.

  It has no momentum and no scaling by parameter size (arXiv 1804.04235).
  """
  return optax.chain(
    optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0)
  )


OPTIMIZERS = {'adafactor': adafactor, 'adamw': optax.scale_by_adam}


def build_optimizer(
  name: str, rate: optax.Schedule, *, weight_decay: float, clip: float
) -> optax.GradientTransformation:
  """Returns the whole update, from raw gradients to a step."""
  direction = OPTIMIZERS[name]()
  return optax.chain(
    optax.clip_by_global_norm(clip),
    optax.multi_transform(
      {'stacked': per_layer(direction), 'single': direction}, _labels
    ),
    decayed_weights(weight_decay),
    optax.scale_by_learning_rate(rate),
  )


def decayed_weights(decay: float) -> optax.GradientTransformation:
  """Returns optax.add_decayed_weights, which leaves constants as they are.

  They have no gradients either (models/blocks.py). It keeps the same state as
  optax's without a mask, so that older checkpoints fit.
  """
  tx = optax.add_decayed_weights(decay)

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    new, state = tx.update(updates, state, params)
    return jax.tree_util.tree_map_with_path(
      lambda path, raw, decayed: raw if _is_constant(path) else decayed,
      updates,
      new,
    ), state

  return optax.GradientTransformation(tx.init, update)


def _is_constant(path: Any) -> bool:
  return any(getattr(k, 'key', None) == 'layer_scalar' for k in path)


def per_layer(
  tx: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Returns the same update for each slice of the leading (layer) axis."""
  return optax.GradientTransformation(jax.vmap(tx.init), jax.vmap(tx.update))


def _labels(params: Any) -> Any:
  """Labels each leaf; those below `layers` carry a leading layer axis."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: (
      'stacked'
      if any(getattr(k, 'key', None) == 'layers' for k in path)
      else 'single'
    ),
    params,
  )
