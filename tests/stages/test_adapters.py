"""Training of adapters: what is on disk, who reads it, what is refused."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from restpg_jax import config, errors, restpg, types, verb_args
from restpg_jax.commands import convert
from restpg_jax.io import artifacts, checkpoints, records, weights
from restpg_jax.models import decoder, formats
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import train
from restpg_jax.training import lora
from tests import pipeline, tiny

SIZE = tiny.size(vocabulary=1024)
BASE = tiny.parameters(SIZE, 0.1)
LORA = config.Lora(rank=2, alpha=6.0, targets=('q', 'down'))
EXAMPLE = types.Example('e', 'topic_writing', 'Say it', 'Gold.')


def fit(workdir, **changed):
  """Two steps on one example, beside the base; the folder of the training."""
  start, examples, out = (workdir / name for name in ('base', 'e', 'train'))
  checkpoints.save_model(start / 'model', BASE, SIZE)
  records.write(examples / 'examples.jsonl', [EXAMPLE])
  records.write(
    examples / 'trajectories.jsonl',
    [types.Trajectory('e', 0, 'Thanks.', reward=1.0)],
  )
  settings = dict(
    steps=2,
    batch_size=1,
    warmup=0,
    checkpoint_every=1,
    learning_rate=0.01,
    compute_dtype='float32',
    optimizer='adamw',
    lora=LORA,
  )
  train.train(
    start,
    examples,
    examples,
    out=out,
    cfg=train.TrainSettings(
      config.Train(**settings | changed),
      config.Prompt(template='prompts/tiny/policy.txt', max_output=8),
      config.Model(),
      False,
      0,
    ),
    layout=layouts.Layout.of(config.Compute(log_every=1)),
  )
  return out


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  return fit(epath.Path(tmp_path_factory.mktemp('run')))


def copied(trained, tmp_path):
  """Its workdir at another place."""
  return epath.Path(shutil.copytree(trained.parent, tmp_path / 'moved'))


def step(trained, n):
  return trained / 'checkpoints' / f'step_{n}' / 'model'


@pytest.mark.slow
def test_a_checkpoint_holds_adapters_and_is_read_as_merged_weights(trained):
  adapters = checkpoints.load_tree(step(trained, 2) / 'params')
  assert formats.flat(adapters).keys() == {
    f'layers/{name}/{part}'
    for name in ('attention/q', 'feed_forward/down')
    for part in 'ab'
  }
  merged, size = weights.load_weights(step(trained, 2))
  assert size == SIZE
  tokens = jnp.arange(12).reshape(2, 6)
  model = decoder.Decoder(SIZE)
  beside = model.apply(lora.variables(adapters, BASE, LORA), tokens)
  inside = model.apply({'params': merged}, tokens)
  np.testing.assert_allclose(inside, beside, atol=1e-5)
  changed = {
    path
    for path, x in formats.flat(merged).items()
    if not np.array_equal(x, formats.flat(BASE)[path])
  }
  assert changed == {'layers/attention/q', 'layers/feed_forward/down'}
  assert {x.dtype.name for x in jax.tree.leaves(merged)} == {'float32'}


@pytest.mark.slow
def test_it_goes_on_from_a_checkpoint_to_the_same_bits(trained, tmp_path):
  whole = epath.Path(tmp_path) / 'run'
  cut = fit(whole)
  step(cut, 2).parent.rmtree()
  fit(whole)
  for name in ('model/params', 'optimizer'):
    found, expected = (
      checkpoints.load_tree(step(of, 2).parent / name) for of in (cut, trained)
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.slow
def test_a_workdir_may_be_moved(trained, tmp_path):
  moved = copied(trained, tmp_path)
  found, _ = weights.load_weights(step(moved / 'train', 1))
  expected, _ = weights.load_weights(step(trained, 1))
  jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.slow
def test_adapters_of_another_rank_do_not_go_on(trained, tmp_path):
  moved = copied(trained, tmp_path)
  other = config.Lora(rank=3, targets=LORA.targets)
  with pytest.raises(errors.InputError, match='of another shape') as caught:
    fit(moved, lora=other, steps=3)
  assert 'q/a is [2, 32, 2], [2, 32, 3] expected' in str(caught.value)


@pytest.mark.slow
def test_adapters_without_their_base_or_with_another_are_refused(
  trained, tmp_path
):
  moved = copied(trained, tmp_path)
  base = moved / 'base' / 'model'
  wider = tiny.size(vocabulary=1024, hidden=64)
  checkpoints.save_model(base, tiny.parameters(wider, 0.1), wider)
  with pytest.raises(errors.InputError, match='a model of another size than'):
    weights.find_checkpoint(step(moved / 'train', 1))
  base.rmtree()
  with pytest.raises(errors.InputError, match='no such folder of weights'):
    weights.find_checkpoint(step(moved / 'train', 1))


@pytest.mark.slow
def test_adapters_that_do_not_fit_are_listed(trained, tmp_path):
  moved = copied(trained, tmp_path)
  folder = step(moved / 'train', 1)
  adapters = checkpoints.load_tree(folder / 'params')
  pair = adapters['layers']['attention']['q']
  pair['b'] = pair['b'][..., :-1]
  checkpoints.save_tree(folder / 'params', adapters)
  with pytest.raises(errors.InputError) as caught:
    weights.find_checkpoint(folder)
  assert 'q/b is [2, 2, 31], [2, 2, 32] expected' in str(caught.value)


@pytest.mark.slow
def test_what_is_chosen_and_converted_is_whole(tmp_path):
  cfg = pipeline.small(methods=('sft',))
  cfg.train.lora = config.Lora(rank=2)
  with pytest.raises(artifacts.Until):
    restpg.run_methods(cfg, tmp_path, until='sft')
  (base,) = tmp_path.glob('base-*')
  (policy,) = tmp_path.glob('sft/choose-*')
  (trained,) = tmp_path.glob('sft/train-*')
  assert (
    weights.find_checkpoint(policy / 'model').tensors
    == weights.find_checkpoint(base / 'model').tensors
  )
  (chosen,) = (trained / 'checkpoints').glob('step_*/model')
  made = json.loads((chosen / 'model.json').read_text())['adapters']
  assert made == {'base': f'../../../../../{base.name}/model', 'scale': 8.0}
  jax.tree.map(
    np.testing.assert_array_equal,
    weights.load_weights(chosen)[0],
    checkpoints.restore_model(policy / 'model')[0],
  )
  convert.convert_policy(
    verb_args.ConvertArgs(
      source=str(trained), to=str(tmp_path / 'hf'), tokenizer='tiny.spm.model'
    )
  )
  assert (
    weights.find_checkpoint(tmp_path / 'hf').size
    == weights.find_checkpoint(chosen).size
  )


@pytest.mark.slow
def test_what_cannot_be_trained_is_refused_before_anything_runs(tmp_path):
  cfg = pipeline.small()
  cfg.train.lora = config.Lora(rank=33)
  with pytest.raises(errors.InputError, match='rank is 33, but k is a matrix'):
    restpg.run_methods(cfg, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
