"""Facts about restpg_jax/training/step.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from restpg_jax.models import decoder
from restpg_jax.training import batches, optimizer
from restpg_jax.training import step as steps

SIZE = decoder.Size(
  layers=2,
  width=32,
  hidden=32,
  heads=2,
  kv_heads=1,
  head_size=16,
  vocabulary=20,
)
ROWS = [
  batches.Row.of([2, 5, 6], [7, 8, 9, 1], 1.0),
  batches.Row.of([2, 6], [9, 8, 7, 1], 0.5),
]
BATCH = batches.pack(ROWS, batches.Shape(length=8, targets=4))


@functools.cache
def program(rate, dtype=jnp.float32):
  """A fresh state and the compiled step of a tiny decoder."""
  model = decoder.Decoder(SIZE, dtype=dtype)

  def places(module, tokens_BL, place_BT):
    hidden_BLD = module.hidden(tokens_BL)
    return module.logits(
      jnp.take_along_axis(hidden_BLD, place_BT[..., None], axis=1)
    )

  def apply(params, *arrays):
    return model.apply({'params': params}, *arrays, method=places)

  tx = optimizer.build(
    'adafactor',
    optax.constant_schedule(rate),
    weight_decay=0.01,
    clip=1.0,
  )
  init = jax.jit(model.init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  return steps.start(params, tx), jax.jit(steps.build(apply, tx))


def test_the_loss_of_a_repeated_batch_falls():
  state, step = program(rate=0.01)
  losses = []
  for n in range(30):
    assert int(state.step) == n
    state, metrics = step(state, BATCH)
    losses.append(float(metrics['loss']))
  # At first all 20 tokens are about as likely: .75 is the mean reward.
  np.testing.assert_allclose(losses[0], 0.75 * np.log(20), rtol=0.05)
  assert losses[-1] < 0.1 * losses[0]
  assert losses[10] < 0.9 * losses[0]


def test_the_gradients_norm_is_measured_before_it_is_clipped():
  # One weight: logits (0, 9w), target 1; d nll / dw = -9 / 2 at w = 0.
  def apply(params, tokens_BL, place_BT):
    (w,) = params['layers']['w']
    return jnp.stack([0 * w, 9 * w])[None, None]

  tx = optimizer.build(
    'adafactor', optax.constant_schedule(0.1), weight_decay=0.0, clip=1.0
  )
  batch = batches.Batch(
    *(np.full((1, 1), n) for n in (0, 0, 1)), np.ones((1, 1))
  )
  step = steps.build(apply, tx)
  params = {'layers': {'w': jnp.zeros(1)}}
  state, metrics = step(steps.start(params, tx), batch)
  np.testing.assert_allclose(metrics['grad_norm'], 4.5, rtol=1e-6)
  np.testing.assert_allclose(metrics['loss'], np.log(2), rtol=1e-6)
  np.testing.assert_allclose(state.params['layers']['w'], [0.1], rtol=1e-6)


def test_a_rate_of_5e_6_moves_weights_under_bfloat16_products():
  state, step = program(rate=5e-6, dtype=jnp.bfloat16)
  after, _ = step(state, BATCH)
  moved = jax.tree.map(lambda a, b: np.abs(a - b), after.params, state.params)
  for path, change in jax.tree_util.tree_leaves_with_path(moved):
    assert 0 < change.max() < 1e-3, path
  assert {x.dtype.name for x in jax.tree.leaves(after.params)} == {'float32'}


def test_the_same_start_and_batches_give_the_same_weights():
  def train():
    state, step = program(rate=0.01)
    for _ in range(3):
      state, _ = step(state, BATCH)
    return state

  jax.tree.map(np.testing.assert_array_equal, train(), train())
