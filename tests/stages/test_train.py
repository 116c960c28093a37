"""Rows of training: what counts in the loss, what is cut, what is refused."""

import dataclasses
import json
import pathlib
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from restpg_jax import config, errors, interrupts, types
from restpg_jax.engines import batch_loader, tokenizer_files, trainer
from restpg_jax.io import checkpoints, records
from restpg_jax.models import decoder, formats
from restpg_jax.models import size as sizes
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import train

SIZE = sizes.Size(1, 32, 64, 2, 1, 16, vocabulary=1024)
EXAMPLE = types.Example('e', 'topic_writing', 'Say it', 'Gold.')


def rows(tmp_path, trajectories, max_output=8):
  records.write(tmp_path / 'examples.jsonl', [EXAMPLE])
  records.write(tmp_path / 'trajectories.jsonl', trajectories)
  prompt = config.Prompt(
    template='prompts/tiny/policy.txt', max_output=max_output
  )
  settings = train.TrainSettings(
    config.Train(), prompt, config.Model(), False, 0
  )
  found, counts = train.read_outputs(tmp_path, tmp_path, SIZE, settings)
  return [output.row() for output in found], counts


@pytest.fixture
def words():
  return tokenizer_files.load_tokenizer('tiny.spm.model', SIZE)


def test_only_the_target_counts_each_token_with_the_reward(tmp_path, words):
  (row,), counts = rows(
    tmp_path, [types.Trajectory('e', 0, 'Thanks.', reward=0.7)]
  )
  target = [*words.encode('Thanks.'), words.eos]
  start = len(row.tokens) - len(target)
  assert list(row.tokens[start:]) == target
  assert row.tokens[0] == words.bos
  assert row.tokens.count(words.bos) == 1
  assert row.weights == (0.0,) * start + (0.7,) * len(target)
  assert counts == {'cut_targets': 0, 'cut_prompts': 0}


def test_a_sample_that_never_ended_gets_no_end_token(tmp_path, words):
  (row,), _ = rows(
    tmp_path, [types.Trajectory('e', 0, 'Thanks.', ended=False, reward=1.0)]
  )
  assert row.tokens[-1] == words.encode('Thanks.')[-1]


def test_a_long_target_is_cut_without_end_token_and_counted(tmp_path, words):
  long = 'the trip needs safety and the trip needs speed.'
  (row,), counts = rows(tmp_path, [types.Trajectory('e', 0, long, reward=1.0)])
  assert list(row.tokens[-8:]) == words.encode(long)[:8]
  assert sum(w > 0 for w in row.weights) == 8
  assert counts['cut_targets'] == 1


@pytest.mark.parametrize(
  'changed, message',
  [
    ({'optimizer': 'adafactr'}, 'known are adafactor, adamw'),
    ({'warmup': 10, 'steps': 10}, 'must be less than train.steps=10'),
  ],
)
def test_settings_that_cannot_work_are_refused(changed, message):
  with pytest.raises(errors.InputError, match=message):
    trainer.check_train(config.Train(**changed))


THANKS = types.Trajectory('e', 0, 'Thanks.', reward=1.0)


def fit(out, compute=None, samples=(THANKS,), max_output=8, **changed):
  """Two steps, each logged, from a fresh model of one layer."""
  start, examples, trajectories = out / 'start', out / 'e', out / 't'
  init = jax.jit(decoder.Decoder(SIZE).init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  checkpoints.save_model(start / 'model', params, SIZE)
  records.write(examples / 'examples.jsonl', [EXAMPLE])
  records.write(trajectories / 'trajectories.jsonl', samples)
  settings = dict(steps=2, batch_size=1, warmup=0, checkpoint_every=1) | changed
  return train.train(
    start,
    examples,
    trajectories,
    out=out,
    cfg=train.TrainSettings(
      config.Train(**settings),
      config.Prompt(template='prompts/tiny/policy.txt', max_output=max_output),
      config.Model(),
      False,
      0,
    ),
    layout=layouts.Layout.of(compute or config.Compute(log_every=1)),
  )


@pytest.mark.slow
def test_float32_masters_move_at_5e_6_and_the_log_says_so(tmp_path):
  with warnings.catch_warnings():
    warnings.simplefilter('error', errors.DataWarning)
    summary = fit(epath.Path(tmp_path), learning_rate=5e-6, warmup=1)
  first, last = records.read(tmp_path / 'metrics.jsonl', train.TrainLog)
  assert (first.learning_rate, first.changed) == (0.0, 0.0)  # and no warning
  assert last.changed > 0.99
  assert last.changed_in_bf16 < 0.1
  assert summary['changed'] == last.changed
  assert summary['changed_in_bf16'] == last.changed_in_bf16


@pytest.mark.slow
def test_an_update_that_rounding_loses_is_warned_of_once(tmp_path):
  with pytest.warns(errors.DataWarning) as caught:
    fit(epath.Path(tmp_path), learning_rate=1e-12)
  (warning,) = [w for w in caught if w.category is errors.DataWarning]
  message = str(warning.message)
  assert message.startswith('step 1: only ')
  assert message.endswith('raise train.learning_rate, it is 1.0e-12 here')


@pytest.mark.parametrize(
  'changed, grad_norm, rate, lost',
  [
    (0.49, 1.0, 5e-6, True),
    (0.51, 1.0, 5e-6, False),
    (0.0, 0.0, 5e-6, False),  # nothing to learn
    (0.0, 1.0, 0.0, False),  # the first step of a warm-up
  ],
)
@pytest.mark.filterwarnings('ignore')
def test_when_an_update_counts_as_lost(changed, grad_norm, rate, lost):
  line = train.TrainLog(1, 1.0, grad_norm, rate, changed, 0.0)
  assert train.warn_if_lost(line) == lost


@pytest.mark.slow
def test_a_log_without_the_shares_can_be_gone_on_with(tmp_path):
  out = epath.Path(tmp_path)
  fit(out, learning_rate=5e-6)
  lines = list(records.read(out / 'metrics.jsonl', train.TrainLog))
  old = dataclasses.asdict(lines[0])
  del old['changed'], old['changed_in_bf16']
  (out / 'metrics.jsonl').write_text(json.dumps(old) + '\n')
  (out / 'checkpoints' / 'step_2').rmtree()
  assert fit(out, learning_rate=5e-6)['changed'] == lines[1].changed
  first, last = records.read(out / 'metrics.jsonl', train.TrainLog)
  assert (first.step, first.changed) == (1, None)
  assert last == lines[1]


@pytest.mark.slow
def test_the_share_of_slots_with_tokens_is_told(tmp_path):
  out = epath.Path(tmp_path)
  compute = config.Compute(log_every=1, rows=1, row_length=192)
  summary = fit(out, compute, batch_size=3)
  (row,), _ = rows(tmp_path / 'rows', [THANKS])
  expected = 3 * len(row.tokens) / 192  # all three in one row
  assert 0.3 < expected < 1
  lines = records.read(out / 'metrics.jsonl', train.TrainLog)
  assert [line.packed for line in lines] == pytest.approx([expected] * 2)
  assert summary['occupancy'] == pytest.approx(expected)


def test_an_example_longer_than_a_row_is_named_before_anything_is_trained(
  tmp_path,
):
  with pytest.raises(errors.InputError, match='too short for e 0, which has'):
    fit(epath.Path(tmp_path), config.Compute(row_length=8))
  assert not (tmp_path / 'checkpoints').exists()


@pytest.mark.parametrize(
  'changed, message',
  [
    ({'attention': 'splash'}, 'attention=splash runs on a TPU only'),
    ({'attention': 'dot_product'}, 'attention=dot_product runs on a GPU only'),
  ],
)
def test_an_attention_that_is_not_to_be_had_is_refused(
  tmp_path, changed, message
):
  with pytest.raises(errors.InputError, match=message):
    fit(epath.Path(tmp_path), config.Compute(**changed))


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_with_what_was_read(tmp_path):
  out = epath.Path(tmp_path)
  with pytest.raises(errors.InputError) as caught:
    fit(out, steps=9, learning_rate=1e38, batch_size=2)
  message = str(caught.value)
  assert message.startswith('step 2 of training gave loss nan, grad_norm nan; ')
  assert 'it read e 0, e 0: all of it is in' in message
  assert message.endswith('Lower train.learning_rate or mend the examples')
  assert '\n' not in message
  (row,), _ = rows(tmp_path / 'rows', [THANKS])
  lines = list(records.read(out / 'replay.jsonl', batch_loader.ReplayLine))
  assert [line.id for line in lines] == ['e 0', 'e 0']
  assert {(line.step, line.after) for line in lines} == {(2, 1)}
  assert {line.tokens for line in lines} == {row.tokens}
  assert {line.weights for line in lines} == {row.weights}
  # What is broken is not kept: the run would go on from it.
  assert trainer.finished_steps(out) == [1]


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_with_the_same_weights(tmp_path):
  """Stopped after step 2 of 4, with three examples in a row and two more."""

  def weights(out):
    return checkpoints.restore_model(out / 'checkpoints' / 'step_4' / 'model')[
      0
    ]

  compute = config.Compute(log_every=1, rows=1, row_length=192)
  whole, halved = (epath.Path(tmp_path) / name for name in ('a', 'b'))
  changed = dict(steps=4, batch_size=5, learning_rate=1e-3)
  fit(whole, compute, **changed)
  fit(halved, compute, **changed)
  for n in (3, 4):
    (halved / 'checkpoints' / f'step_{n}').rmtree()
  fit(halved, compute, **changed)
  jax.tree.map(np.testing.assert_array_equal, weights(whole), weights(halved))


@pytest.mark.slow
@pytest.mark.parametrize(
  'every, folder', [(1, 'checkpoints'), (3, 'interrupted')]
)
def test_a_signal_ends_training_behind_its_step_which_is_saved(
  tmp_path, monkeypatch, every, folder
):
  out, steps = epath.Path(tmp_path), []

  def noted():
    steps.append(1)
    return 'SIGTERM' * (len(steps) == 2)

  monkeypatch.setattr(interrupts, 'noted', noted)
  with pytest.raises(KeyboardInterrupt, match='saved at step 2'):
    fit(
      out,
      config.Compute(rows=1, row_length=192),
      steps=4,
      batch_size=5,
      checkpoint_every=every,
    )
  assert trainer.finished_steps(out, folder)[-1] == 2


@pytest.mark.slow
@pytest.mark.parametrize('damage', ['missing', 'flipped', 'optimizer'])
def test_a_damaged_checkpoint_is_made_again_from_the_one_before(
  tmp_path, monkeypatch, damage
):
  """The weights are those of a run without; two whole ones are there from the
  second on."""
  out, steps = epath.Path(tmp_path), []

  def weights():
    folder = out / 'checkpoints' / 'step_3'
    return checkpoints.restore_model(folder / 'model')[0]

  save = trainer.save_checkpoint

  def saved(*arguments):
    steps.append(trainer.finished_steps(out))
    save(*arguments)

  monkeypatch.setattr(trainer, 'save_checkpoint', saved)
  changed = dict(steps=3, learning_rate=1e-3)
  fit(out, **changed)
  # The next is begun when the one before is not yet known to be whole.
  assert len(steps[2]) >= 1 and trainer.finished_steps(out) == [1, 2, 3]
  right = weights()
  part = 'optimizer' if damage == 'optimizer' else 'model/params'
  newest = out / 'checkpoints' / 'step_3' / part
  files = (p for p in pathlib.Path(newest).rglob('*') if p.is_file())
  path = max(files, key=lambda path: path.stat().st_size)
  if damage == 'missing':
    path.unlink()
  else:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
  steps.clear()
  with pytest.warns(
    errors.DataWarning, match='step_3: .*the checkpoint before'
  ):
    fit(out, **changed)
  assert steps == [[1, 2, 3]]  # one step is made again, and the two stay
  jax.tree.map(np.testing.assert_array_equal, right, weights())
  steps.clear()
  fit(out, **changed)
  assert steps == []


def test_training_is_refused_where_its_checkpoints_find_no_room(
  tmp_path, monkeypatch
):
  usage = shutil.disk_usage(tmp_path)
  params = sum(np.prod(shape) for shape in formats.shapes(SIZE).values())
  need = 2 * 4 * (3 * params + 3)  # adamw: two moments; three count steps
  monkeypatch.setattr(
    shutil, 'disk_usage', lambda path: usage._replace(free=need - 1)
  )
  with pytest.raises(errors.InputError) as caught:
    fit(epath.Path(tmp_path), optimizer='adamw')
  message = str(caught.value)
  assert f'will need {need:,} bytes, and {need - 1:,} are free' in message
  assert '2 checkpoints of ' in message
  assert 'make room and run the same command again' in message
  assert not (tmp_path / 'checkpoints').exists()


@pytest.mark.slow
@pytest.mark.parametrize('loss', [0.0, 1e-9, None])
def test_a_loss_of_exactly_0_is_warned_of(tmp_path, loss):
  records.write_json(tmp_path / 'DONE.json', {'summary': {'loss': loss}})
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    train.warn_if_no_loss(
      'base', 'examples', 'm', out=epath.Path(tmp_path), cfg=None
    )
  assert ['exactly 0' in str(w.message) for w in caught] == [True] * (loss == 0)
