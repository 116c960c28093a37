"""Facts about restpg_jax/training/step.py."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from restpg_jax.models import decoder
from restpg_jax.training import batches, meter, optimizer, packing
from restpg_jax.training import step as steps
from tests import tiny

SIZE = tiny.size(vocabulary=20)
ROWS = [
  batches.TrainingRow.of([2, 5, 6], [7, 8, 9, 1], 1.0),
  batches.TrainingRow.of([2, 6], [9, 8, 7, 1], 0.5),
]
BATCH = batches.pack_rows([ROWS[:1], ROWS[1:]], packing.BatchShape(2, 8, 4))
COUNT = np.float32(8)


def model(dtype=jnp.float32, size=SIZE):
  """A tiny decoder as functions of its parameters."""
  of = decoder.Decoder(size, dtype=dtype)

  def hidden(params, *arrays):
    return of.apply({'params': params}, *arrays, method='hidden')

  def logits(params, head_vD, hidden_BTD):
    return of.apply({'params': params}, hidden_BTD, head_vD, method='logits')

  return steps.ModelFunctions(
    hidden, lambda params: params['embedding'], logits
  )


def whole(accumulate, update):
  """step(state, batch) of one micro-batch."""

  def step(state, batch, count=COUNT):
    return update(state, accumulate(state, None, batch, count))

  return step


@functools.cache
def programs(rate, dtype=jnp.float32):
  """A fresh state of a tiny decoder, and what is compiled for a step of it."""
  tx = optimizer.build_optimizer(
    'adafactor',
    optax.constant_schedule(rate),
    weight_decay=0.01,
    clip=1.0,
  )
  init = jax.jit(decoder.Decoder(SIZE).init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  accumulate = jax.jit(steps.build_accumulate(model(dtype)))
  update = jax.jit(steps.build_update(tx))
  return steps.init_state(params, tx), accumulate, update


def program(rate, dtype=jnp.float32):
  """A fresh state and the compiled step of a tiny decoder."""
  state, *compiled = programs(rate, dtype)
  return state, whole(*compiled)


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
  def hidden(params, *arrays):
    (w,) = params['layers']['w']
    return jnp.stack([0 * w, 9 * w])[None, None]

  tx = optimizer.build_optimizer(
    'adafactor', optax.constant_schedule(0.1), weight_decay=0.0, clip=1.0
  )
  batch = batches.Batch(
    *(np.full((1, 1), n) for n in (0, 1, 0, 0, 1)), np.ones((1, 1))
  )
  one = steps.ModelFunctions(
    hidden, lambda params: jnp.eye(2), lambda params, head, x: x
  )
  step = whole(steps.build_accumulate(one), steps.build_update(tx))
  params = {'layers': {'w': jnp.zeros(1)}}
  state, metrics = step(steps.init_state(params, tx), batch, np.float32(1))
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


LOCAL = tiny.size(
  vocabulary=20, layers=3, window=3, pattern='lg', attention_softcap=4.0
)


@pytest.mark.slow
@pytest.mark.parametrize('size', [SIZE, LOCAL], ids=['gemma', 'local, capped'])
def test_packed_rows_have_the_loss_and_gradients_of_rows_by_themselves(size):
  rng = np.random.default_rng(0)
  rows = [
    batches.TrainingRow.of(
      rng.integers(4, 20, rng.integers(2, 9)),
      rng.integers(4, 20, rng.integers(1, 7)),
      reward,
    )
    for reward in (1.0, 0.5, 0.7, 1.0, 0.0, 0.9, 1.0)
  ]
  count = np.float32(batches.targets(rows))
  params = tiny.parameters(size, 0.3)
  state = steps.TrainState(None, params, None)
  accumulate = jax.jit(steps.build_accumulate(model(size=size)))

  def total(shape):
    lengths = [row.length for row in rows]
    found = packing.groups(lengths, range(len(rows)), shape)
    sums = None
    for group in found:
      inside = [[rows[n] for n in row] for row in group.rows]
      sums = accumulate(state, sums, batches.pack_rows(inside, shape), count)
    return sums, len(found)

  alone, number = total(packing.BatchShape(rows=7, length=15, targets=6))
  assert number == 1
  packed, number = total(packing.BatchShape(rows=1, length=32, targets=16))
  assert number > 1
  np.testing.assert_allclose(packed.loss, alone.loss, rtol=1e-5)
  for ours, exact in zip(
    jax.tree.leaves(packed.grads), jax.tree.leaves(alone.grads), strict=True
  ):
    np.testing.assert_allclose(ours, exact, atol=1e-5 * np.abs(exact).max())


@pytest.mark.slow
def test_logits_are_never_there_for_all_words():
  """2,048 targets, 4,096 words: their logits would be 32 MiB."""
  size = tiny.size(vocabulary=4096)
  params = jax.eval_shape(
    decoder.Decoder(size).init, jax.random.key(0), jnp.zeros((1, 4), int)
  )['params']
  batch = batches.pack_rows([ROWS], packing.BatchShape(1, 64, 2048))

  def temporaries():
    program = jax.jit(steps.build_accumulate(model(size=size)))
    state = steps.TrainState(None, params, None)
    compiled = program.lower(state, None, batch, COUNT).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  logits = 2048 * 4096 * 4
  assert temporaries() > logits
  with mock.patch.object(steps, 'MAX_LOGITS', 2048 * 256):
    assert temporaries() < logits / 4


def test_gradients_are_float32_under_bfloat16_products():
  seen = []

  def update(grads, state, params):
    seen.extend(x.dtype.name for x in jax.tree.leaves(grads))
    return grads, state

  state, _ = program(rate=5e-6, dtype=jnp.bfloat16)
  tx = optax.GradientTransformation(lambda params: (), update)
  accumulate = steps.build_accumulate(model(jnp.bfloat16))
  step = whole(accumulate, steps.build_update(tx))
  jax.eval_shape(step, steps.init_state(state.params, tx), BATCH)
  assert len(seen) == len(jax.tree.leaves(state.params))
  assert set(seen) == {'float32'}


@pytest.mark.slow
def test_the_meter_at_5e_6_tells_float32_from_bfloat16_masters():
  fresh, accumulate, update = programs(5e-6, jnp.bfloat16)
  sums = accumulate(fresh, None, BATCH, COUNT)
  _, exact = update(fresh, sums)
  assert exact['changed'] > 0.99
  assert exact['changed_in_bf16'] < 0.1

  def half(tree):
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16), tree)

  # Products are of bfloat16 in both: gradients differ in their dtype alone.
  halved = half(fresh.params)
  after, lossy = update(
    fresh._replace(params=halved), sums._replace(grads=half(sums.grads))
  )
  assert lossy['changed'] == lossy['changed_in_bf16'] < 0.1
  # That is what became of the weights, counted by hand.
  moved = [
    np.asarray(a != b)
    for a, b in zip(
      jax.tree.leaves(after.params), jax.tree.leaves(halved), strict=True
    )
  ]
  share = sum(x.sum() for x in moved) / sum(x.size for x in moved)
  np.testing.assert_allclose(lossy['changed'], share, atol=0.02)


def test_the_meter_by_hand():
  # One unit in the last place of 1.0 is 2^-23 in float32, 2^-7 in bfloat16.
  w = jnp.ones((2, 4))
  update = jnp.array([[2.0**-22, 2.0**-30, 2.0**-6, 0.0], [1.0] * 4])
  grad = jnp.array([[1.0, 1.0, 1.0, 1.0], [0.0] * 4])  # row 2: an unused word
  found = jax.jit(meter.changed)({'w': w}, {'w': update}, {'w': grad})
  assert found == {'changed': 0.5, 'changed_in_bf16': 0.25}


def test_the_meter_looks_at_the_weight_that_bfloat16_would_hold():
  # 1 + 2^-8 - 2^-12 is held as 1.0; a cast of old and new alone would differ.
  w = jnp.array([1.0 + 2.0**-8 - 2.0**-12])
  update = jnp.array([2.0**-11])
  assert w.astype(jnp.bfloat16) != (w + update).astype(jnp.bfloat16)
  found = jax.jit(meter.changed)(w, update, jnp.ones(1))
  assert found == {'changed': 1.0, 'changed_in_bf16': 0.0}


def test_the_meter_without_any_gradient_is_0():
  zeros = jnp.zeros(3)
  found = meter.changed(jnp.ones(3), zeros, zeros)
  assert found == {'changed': 0.0, 'changed_in_bf16': 0.0}
