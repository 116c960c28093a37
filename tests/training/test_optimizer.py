"""Facts about restpg_jax/training/optimizer.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from restpg_jax.training import optimizer

RNG = np.random.default_rng(0)


def normal(*shape, scale=1.0):
  return jnp.asarray(scale * RNG.normal(size=shape), jnp.float32)


def build(rate=0.1, weight_decay=0.0, clip=1.0, name='adafactor'):
  return optimizer.build_optimizer(
    name,
    optax.constant_schedule(rate),
    weight_decay=weight_decay,
    clip=clip,
  )


BYSTANDER = {'layers': {'bystander': jnp.zeros((1, 1))}}  # a model has layers


def run(tx, params, gradients):
  """The parameters after a step on each of the gradients."""
  names = params.keys()
  params = BYSTANDER | params
  state, update = tx.init(params), jax.jit(tx.update)
  for grads in gradients:
    updates, state = update(BYSTANDER | grads, state, params)
    params = optax.apply_updates(params, updates)
  return {name: params[name] for name in names}


@pytest.mark.parametrize(
  ('step', 'rate'),
  [
    (0, 0.0),
    (125, 2.5e-6),
    (250, 5e-6),
    (5_000, 2.8077e-6),  # 5e-6 - 4.5e-6 * 4750 / 9750
    (10_000, 5e-7),
    (20_000, 5e-7),
  ],
)
def test_the_papers_schedule(step, rate):
  schedule = optimizer.schedule(5e-6, steps=10_000, warmup=250, final_rate=0.1)
  np.testing.assert_allclose(schedule(step), rate, rtol=1e-5, atol=1e-12)


def test_a_schedule_without_warm_up_starts_at_its_rate():
  schedule = optimizer.schedule(1.0, steps=10, warmup=0, final_rate=0.1)
  np.testing.assert_allclose([schedule(0), schedule(10)], [1.0, 0.1], rtol=1e-6)


def test_weights_without_gradient_shrink_by_rate_times_decay():
  params = {'w': normal(4, 3), 'layers': {'w': normal(2, 128, 128)}}
  zeros = jax.tree.map(jnp.zeros_like, params)
  after = run(build(rate=0.5, weight_decay=0.02), params, [zeros])
  jax.tree.map(
    lambda w, before: np.testing.assert_allclose(w, 0.99 * before, rtol=1e-6),
    after,
    params,
  )


def test_decay_follows_the_schedule():
  # Rates 0, 1, 2: 1 * (1 - 0) * (1 - .01) * (1 - .02)
  tx = optimizer.build_optimizer(
    'adafactor',
    optax.linear_schedule(0.0, 10.0, 10),
    weight_decay=0.01,
    clip=1.0,
  )
  after = run(tx, {'w': jnp.ones(2)}, [{'w': jnp.zeros(2)}] * 3)
  np.testing.assert_allclose(after['w'], 0.9702, rtol=1e-6)


def test_the_first_step_on_a_vector_goes_by_the_sign():
  # v = g^2, so g / sqrt(v) = sign(g); then w -= .1 * (sign(g) + .01 w)
  after = run(
    build(rate=0.1, weight_decay=0.01),
    {'w': jnp.array([1.0, 2.0, -3.0])},
    [{'w': jnp.array([0.02, -5.0, 1e-4])}],
  )
  np.testing.assert_allclose(after['w'], [0.899, 2.098, -3.097], rtol=1e-5)


def test_the_first_step_on_a_large_matrix_is_factored():
  g = RNG.normal(size=(128, 256)) * np.exp(RNG.normal(size=(128, 1)))
  rows, columns = (g**2).mean(1), (g**2).mean(0)
  # v[i, j] = rows[i] * columns[j] / mean(rows); then clipped at rms 1
  step = g / np.sqrt(np.outer(rows, columns) / rows.mean())
  step /= max(1.0, np.sqrt((step**2).mean()))
  after = run(
    build(rate=0.1),
    {'w': jnp.zeros((128, 256))},
    [{'w': jnp.asarray(g, jnp.float32)}],
  )
  np.testing.assert_allclose(after['w'], -0.1 * step, rtol=2e-4, atol=1e-6)
  assert np.abs(np.abs(after['w'] / 0.1) - 1).max() > 0.5  # no mere signs


def test_equal_to_optax_adafactor_with_these_settings():
  params = {'w': normal(128, 160), 'b': normal(7)}
  gradients = [
    {'w': normal(128, 160, scale=s), 'b': normal(7, scale=s)}
    for s in (1e-4, 1e-3, 2e-4, 5e-5)
  ]  # of norms below 1: nothing is clipped
  theirs = optax.adafactor(
    0.01,
    multiply_by_parameter_scale=False,
    clipping_threshold=1.0,
    momentum=None,
    weight_decay_rate=None,
  )
  ours = run(build(rate=0.01), params, gradients)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-6),
    ours,
    run(theirs, params, gradients),
  )


@pytest.mark.parametrize('name', ['adafactor', 'adamw'])
def test_stacked_layers_are_updated_as_separate_ones(name):
  scales = (1e-4, 1e-2, 1.0)  # layers of very different gradients
  shapes = {'w': (128, 128), 'scale': (128,)}
  layers = [{k: normal(*s) for k, s in shapes.items()} for _ in scales]
  gradients = [
    [{k: normal(*s, scale=c) for k, s in shapes.items()} for c in scales]
    for _ in range(4)
  ]

  def stacked(trees):
    return {'layers': jax.tree.map(lambda *x: jnp.stack(x), *trees)}

  def separate(trees):
    return {f'block_{n}': tree for n, tree in enumerate(trees)}

  tx = build(rate=0.1, weight_decay=0.01, name=name)
  one = run(tx, stacked(layers), [stacked(g) for g in gradients])
  many = run(tx, separate(layers), [separate(g) for g in gradients])
  expected = stacked([many[f'block_{n}'] for n in range(3)])
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
    one,
    expected,
  )


def test_stacked_matrices_have_a_factored_moment_for_each_layer():
  params = {'layers': {'w': jnp.zeros((3, 128, 256))}}
  state = jax.eval_shape(build().init, params)
  shapes = {x.shape for x in jax.tree.leaves(state)}
  assert {(3, 128), (3, 256)} <= shapes
  assert (3, 128, 256) not in shapes


@pytest.mark.parametrize('name', ['adafactor', 'adamw'])
def test_gradients_are_clipped_to_a_global_norm(name):
  far = {'a': jnp.array([300.0]), 'b': jnp.array([400.0])}  # of norm 500
  unit = {'a': jnp.array([0.6]), 'b': jnp.array([0.8])}
  half = {'a': jnp.array([0.3]), 'b': jnp.array([0.4])}
  zeros = {'a': jnp.zeros(1), 'b': jnp.zeros(1)}
  tx = build(name=name)
  # The first gradient stays in the moments by which the second is divided.
  clipped, same, other = (
    run(tx, zeros, [first, half])['b'] for first in (far, unit, half)
  )
  np.testing.assert_allclose(clipped, same, rtol=1e-5)
  assert abs(same - other)[0] > 1e-3  # the size of a gradient does matter


def test_small_steps_do_move_float32_weights():
  after = run(build(rate=5e-6), {'w': jnp.ones(3)}, [{'w': jnp.ones(3)}])
  np.testing.assert_allclose(1 - after['w'], 5e-6, rtol=0.02)


@pytest.mark.parametrize('name', ['adafactor', 'adamw'])
def test_a_constant_of_the_checkpoint_stays(name):
  """It has no gradient, and weight decay does not shrink it either."""
  params = {'layers': {'layer_scalar': jnp.full((2, 1), 0.5), 'q': jnp.ones(2)}}
  tx = build(weight_decay=0.5, name=name)
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = tx.update(zeros, tx.init(params), params)
  after = optax.apply_updates(params, updates)['layers']
  np.testing.assert_array_equal(after['layer_scalar'], [[0.5], [0.5]])
  assert (after['q'] < 1).all()
