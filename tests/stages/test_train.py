"""Rows of training: what counts in the loss, what is cut, what is refused."""

import pytest

from restpg_jax import config, errors, types
from restpg_jax.io import records
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
