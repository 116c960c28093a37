"""Facts about restpg_jax/rewards/mixture.py."""

import pytest

from restpg_jax import config, errors
from restpg_jax.rewards import mixture


def reward(name, *mix):
  return config.Reward(name=name, mix=mix)


@pytest.mark.parametrize('name', ['judge', 'rouge', 'cosine', 'mine:build'])
def test_one_reward_has_the_whole(name):
  assert mixture.shares(reward(name)) == {name: 1.0}
  assert mixture.shares(reward(name, 'rouge:1')) == {name: 1.0}


def test_shares_add_up_to_1_and_the_judge_comes_last():
  mixed = mixture.shares(reward('mix', 'judge:3', 'rouge:.5', 'cosine:0.5'))
  assert mixed == {'rouge': 0.125, 'cosine': 0.125, 'judge': 0.75}
  assert [*mixed] == ['rouge', 'cosine', 'judge']


def test_who_is_asked():
  assert mixture.asks(reward('judge'), 'judge')
  assert not mixture.asks(reward('rouge', 'judge:1'), 'judge')
  assert mixture.asks(reward('mix', 'judge:1', 'rouge:1'), 'judge')
  assert not mixture.asks(reward('mix', 'cosine:1', 'rouge:1'), 'judge')


@pytest.mark.parametrize(
  'mix, fault',
  [
    ((), 'is empty'),
    (('jugde:1',), 'names no reward of cosine, judge, rouge'),
    (('mix:1',), 'names no reward'),
    (('judge',), 'has no weight'),
    (('judge:much',), 'has no weight'),
    (('judge:0', 'rouge:1'), 'not above 0'),
    (('judge:-1', 'rouge:2'), 'not above 0'),
    (('judge:inf',), 'not above 0'),
    (('judge:nan',), 'not above 0'),
    (('judge:1', 'judge:2'), 'twice'),
  ],
)
def test_a_mixture_that_cannot_be_read(mix, fault):
  with pytest.raises(errors.InputError, match=f'^reward.mix: .*{fault}') as e:
    mixture.check(reward('mix', *mix))
  assert "write NAME:WEIGHT, as in ('judge:0.7', 'rouge:0.3')" in str(e.value)
