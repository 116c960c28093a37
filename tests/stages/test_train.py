"""Rows of training: what counts in the loss, what is cut, what is refused."""

import dataclasses
import json
import warnings

import jax
import jax.numpy as jnp
import pytest
from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.io import checkpoints, records
from restpg_jax.models import decoder
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import language, train

SIZE = decoder.Size(1, 32, 64, 2, 1, 16, vocabulary=1024)
EXAMPLE = types.Example('e', 'topic_writing', 'Say it', 'Gold.')


def rows(tmp_path, trajectories, max_output=8):
  records.write(tmp_path / 'examples.jsonl', [EXAMPLE])
  records.write(tmp_path / 'trajectories.jsonl', trajectories)
  prompt = config.Prompt(
    template='prompts/tiny/policy.txt', max_output=max_output
  )
  settings = train.Settings(config.Train(), prompt, config.Model(), False, 0)
  return train.read_rows(tmp_path, tmp_path, SIZE, settings)


@pytest.fixture
def words():
  return language.load_tokenizer('tiny.spm.model', SIZE)


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
  layout = layouts.Layout.of(config.Compute())
  with pytest.raises(errors.InputError, match=message):
    train.check(config.Train(**changed), layout)


def fit(out, **changed):
  """Two steps, each logged, from a fresh model of one layer."""
  start, examples, trajectories = out / 'start', out / 'e', out / 't'
  init = jax.jit(decoder.Decoder(SIZE).init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  checkpoints.save_model(start / 'model', params, SIZE)
  records.write(examples / 'examples.jsonl', [EXAMPLE])
  records.write(
    trajectories / 'trajectories.jsonl',
    [types.Trajectory('e', 0, 'Thanks.', reward=1.0)],
  )
  settings = dict(steps=2, batch_size=1, warmup=0, checkpoint_every=1) | changed
  return train.train(
    start,
    examples,
    trajectories,
    out=out,
    cfg=train.Settings(
      config.Train(**settings),
      config.Prompt(template='prompts/tiny/policy.txt', max_output=8),
      config.Model(),
      False,
      0,
    ),
    layout=layouts.Layout.of(config.Compute(log_every=1)),
  )


def test_float32_masters_move_at_5e_6_and_the_log_says_so(tmp_path):
  with warnings.catch_warnings():
    warnings.simplefilter('error', errors.DataWarning)
    summary = fit(epath.Path(tmp_path), learning_rate=5e-6, warmup=1)
  first, last = records.read(tmp_path / 'metrics.jsonl', train.Log)
  assert (first.learning_rate, first.changed) == (0.0, 0.0)  # and no warning
  assert last.changed > 0.99
  assert last.changed_in_bf16 < 0.1
  assert summary['changed'] == last.changed
  assert summary['changed_in_bf16'] == last.changed_in_bf16


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
  line = train.Log(1, 1.0, grad_norm, rate, changed, 0.0)
  assert train.warn_if_lost(line) == lost


def test_a_log_without_the_shares_can_be_gone_on_with(tmp_path):
  out = epath.Path(tmp_path)
  fit(out, learning_rate=5e-6)
  lines = list(records.read(out / 'metrics.jsonl', train.Log))
  old = dataclasses.asdict(lines[0])
  del old['changed'], old['changed_in_bf16']
  (out / 'metrics.jsonl').write_text(json.dumps(old) + '\n')
  (out / 'checkpoints' / 'step_2').rmtree()
  assert fit(out, learning_rate=5e-6)['changed'] == lines[1].changed
  first, last = records.read(out / 'metrics.jsonl', train.Log)
  assert (first.step, first.changed) == (1, None)
  assert last == lines[1]
