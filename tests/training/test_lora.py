"""Facts about restpg_jax/training/lora.py and the decoder's adapters."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from restpg_jax import config, errors
from restpg_jax.models import decoder, formats
from restpg_jax.training import batches, lora, optimizer, packing
from restpg_jax.training import step as steps
from tests import tiny
from tests.models import families

SIZE = tiny.size(activation='silu')
PARAMS = tiny.parameters(SIZE, 0.1)
TOKENS = jnp.array([[2, 5, 6, 7, 8], [2, 9, 4, 11, 30]])
ALL = config.Lora(rank=4, alpha=8.0)


def adapters(settings, scale=0.1):
  """As after training: B is not zero any more."""
  rng = np.random.default_rng(2)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, scale, x.shape), jnp.float32),
    lora.fresh(PARAMS, settings, seed=0),
  )


def merged(params, pairs, settings):
  """W + A B alpha / rank, a matrix at a time: the slow reference."""
  layers = {
    part: dict(tree) if isinstance(tree, dict) else tree
    for part, tree in params['layers'].items()
  }
  for part, names in pairs['layers'].items():
    for name, pair in names.items():
      added = jnp.stack(
        [a @ b for a, b in zip(pair['a'], pair['b'], strict=True)]
      )
      scale = settings.alpha / settings.rank
      layers[part][name] = layers[part][name] + scale * added
  return params | {'layers': layers}


@pytest.mark.slow
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_training_starts_at_the_base_exactly(dtype):
  frozen, trained = lora.split(PARAMS, ALL, dtype=dtype, seed=0)
  model = decoder.Decoder(SIZE, dtype)
  base = model.apply({'params': PARAMS}, TOKENS)
  fresh = model.apply(lora.variables(trained, frozen, ALL), TOKENS)
  np.testing.assert_array_equal(fresh, base)


def test_without_rank_all_weights_are_trained():
  frozen, trained = lora.split(
    PARAMS, config.Lora(), dtype=jnp.bfloat16, seed=0
  )
  assert frozen == {}
  assert trained is PARAMS
  variables = lora.variables(trained, frozen, config.Lora())
  assert variables == {'params': PARAMS}


@pytest.mark.parametrize('targets', [ALL.targets, ('q', 'v'), ('down',)])
def test_adapters_give_the_logits_of_merged_weights(targets):
  settings = dataclasses.replace(ALL, targets=targets)
  pairs = adapters(settings)
  model = decoder.Decoder(SIZE)
  beside = model.apply(lora.variables(pairs, PARAMS, settings), TOKENS)
  inside = model.apply({'params': merged(PARAMS, pairs, settings)}, TOKENS)
  np.testing.assert_allclose(beside, inside, atol=1e-5)
  base = model.apply({'params': PARAMS}, TOKENS)
  assert np.abs(beside - base).max() > 0.01


@pytest.mark.slow
def test_adapters_get_the_gradients_of_merged_weights():
  pairs = adapters(ALL)
  model = decoder.Decoder(SIZE, remat='full')

  def beside(pairs):
    logits = model.apply(lora.variables(pairs, PARAMS, ALL), TOKENS)
    return jnp.sum(jnp.sin(logits))

  def inside(pairs):
    logits = model.apply({'params': merged(PARAMS, pairs, ALL)}, TOKENS)
    return jnp.sum(jnp.sin(logits))

  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5, rtol=1e-4),
    jax.jit(jax.grad(beside))(pairs),
    jax.jit(jax.grad(inside))(pairs),
  )


def test_merged_by_hand():
  # [[1], [2]] [[3, 4]] = [[3, 4], [6, 8]], times 0.5
  found = lora.merged(
    np.float32([[[10, 10], [10, 10]]]),
    np.float32([[[1], [2]]]),
    np.float32([[[3, 4]]]),
    scale=0.5,
  )
  assert found.tolist() == [[[11.5, 12], [13, 14]]]
  assert found.dtype == np.float32


def nbytes(tree):
  return sum(x.nbytes for x in jax.tree.leaves(tree))


@pytest.mark.slow
def test_only_adapters_have_gradients_and_optimizer_state():
  # 2 layers, D = F = 32, one key head of 16; q, out, gate, up, down:
  # 2 * 32 * 4 numbers each, k and v (32 + 16) * 4
  numbers = 2 * (5 * 2 * 32 * 4 + 2 * 48 * 4)
  frozen, trained = lora.split(PARAMS, ALL, dtype=jnp.bfloat16, seed=0)
  assert nbytes(trained) == 4 * numbers
  norms = 4 * (2 * 2 * 32 + 32)  # float32, the rest has halved
  assert nbytes(frozen) == (nbytes(PARAMS) - norms) // 2 + norms
  seen = []
  tx = optimizer.build_optimizer(
    'adamw', optax.constant_schedule(0.1), weight_decay=0.0, clip=1.0
  )

  def update(grads, state, params):
    seen.append(grads)
    return tx.update(grads, state, params)

  state = steps.init_state(trained, tx, frozen)
  assert 8 * numbers <= nbytes(state.optimizer) < 8 * numbers + 100
  model = decoder.Decoder(SIZE, jnp.bfloat16)
  accumulate = steps.build_accumulate(
    steps.ModelFunctions(
      functools.partial(model.apply, method='hidden'),
      lambda variables: variables['params']['embedding'],
      lambda variables, head_VD, hidden_BTD: model.apply(
        variables, hidden_BTD, head_VD, method='logits'
      ),
      functools.partial(lora.variables, settings=ALL),
    )
  )
  change = steps.build_update(optax.GradientTransformation(tx.init, update))

  def step(state, batch):
    return change(state, accumulate(state, None, batch, np.float32(4)))

  rows = [[batches.TrainingRow.of([2, 5], [6, 7], 1.0)]] * 2
  batch = batches.pack_rows(rows, packing.BatchShape(2, 4, 2))
  after, _ = jax.eval_shape(step, state, batch)
  (grads,) = seen
  assert {x.dtype.name for x in jax.tree.leaves(grads)} == {'float32'}
  shapes = jax.tree.map(jnp.shape, trained)
  assert jax.tree.map(jnp.shape, grads) == shapes
  assert jax.tree.structure(after) == jax.tree.structure(state)
  losses, step = [], jax.jit(step)
  for _ in range(20):
    state, metrics = step(state, batch)
    losses.append(float(metrics['loss']))
  assert losses[-1] < 0.5 * losses[0]
  jax.tree.map(np.testing.assert_array_equal, state.frozen, frozen)


def test_two_seeds_and_two_matrices_start_apart():
  one, again, other = (
    lora.fresh(PARAMS, ALL, seed=seed)['layers']['feed_forward']
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(one['gate']['a'], again['gate']['a'])
  assert not np.array_equal(one['gate']['a'], other['gate']['a'])
  assert not np.array_equal(one['gate']['a'], one['up']['a'])
  np.testing.assert_allclose(np.std(one['gate']['a']), 32**-0.5, rtol=0.2)


@pytest.mark.parametrize(
  'changed, message',
  [
    ({'rank': -1}, 'rank is -1; it must be 0'),
    ({'alpha': 0.0}, 'alpha is 0; it must be above 0'),
    ({'targets': ()}, 'targets is empty'),
    ({'targets': ('q', 'keys')}, "targets has 'keys'; known are q, k, v, out"),
    ({'targets': ('q', 'q')}, 'targets names one twice: q, q'),
    ({'rank': 17}, 'rank is 17, but k is a matrix of 32 x 16; take at most 16'),
  ],
)
def test_settings_that_cannot_work_are_refused(changed, message):
  settings = dataclasses.replace(ALL, **changed)
  with pytest.raises(errors.InputError, match=f'train.lora.{message}'):
    lora.check_targets(settings, formats.shapes(SIZE))


def test_the_largest_rank_is_allowed():
  lora.check_targets(dataclasses.replace(ALL, rank=16), formats.shapes(SIZE))


def test_frozen_weights_are_copied_only_where_their_type_changes():
  params = {'w': np.ones((2, 3), np.float32), 'norm': {'scale': np.ones(3)}}
  same = lora.frozen(params, np.float32)
  assert np.shares_memory(same['w'], params['w'])
  other = lora.frozen(params, jnp.bfloat16)
  assert other['w'].dtype == jnp.bfloat16
  assert np.shares_memory(other['norm']['scale'], params['norm']['scale'])


@pytest.mark.slow
def test_layers_of_different_shapes_have_adapters_of_their_own():
  """Gemma 4: a pair for each stack, none for values that are keys."""
  size = families.ALL['gemma4']
  params = jax.tree.map(jnp.asarray, families.parameters(size))
  settings = dataclasses.replace(ALL, rank=3, targets=('q', 'v', 'down'))
  fresh = lora.fresh(params, settings, seed=0)['layers']
  attention = [fresh[f'block_{n}']['attention'] for n in (0, 1)]
  assert [set(pairs) for pairs in attention] == [{'q', 'v'}, {'q'}]
  assert [pairs['q']['b'].shape for pairs in attention] == [
    *((2, 3, 64), (2, 3, 128))
  ]
  first, second = (pairs['q']['a'] for pairs in attention)
  assert not np.array_equal(first, second)
  rng = np.random.default_rng(2)
  pairs = jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.1, x.shape), jnp.float32),
    {'layers': fresh},
  )
  inside = params | {
    'layers': {
      stack: merged(
        {'layers': tree}, {'layers': pairs['layers'][stack]}, settings
      )['layers']
      for stack, tree in params['layers'].items()
    }
  }
  apply = jax.jit(decoder.Decoder(size).apply)
  beside = apply(lora.variables(pairs, params, settings), TOKENS)
  np.testing.assert_allclose(
    beside, apply({'params': inside}, TOKENS), atol=5e-5
  )
  base = apply({'params': params}, TOKENS)
  assert np.abs(beside - base).max() > 0.01
  shapes = formats.shapes(size)
  lora.check_targets(dataclasses.replace(settings, rank=32), shapes)
  with pytest.raises(errors.InputError, match='v is a matrix of 36 x 32'):
    lora.check_targets(
      dataclasses.replace(settings, rank=33, targets=('v',)), shapes
    )
