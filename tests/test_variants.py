"""Facts about restpg_jax/variants.py: which settings did something."""

import dataclasses
import shutil

import pytest

from restpg_jax import assets, config, effective, variants
from restpg_jax.engines import input_files
from restpg_jax.io import fingerprints
from tests import runs


def old(method='rest_pg', *, iterations=1, output=runs.OUTPUT, **changes):
  """A record as it was before it told what files held."""
  cfg = dataclasses.replace(config.Config(), iterations=iterations, **changes)
  return {
    'method': method,
    'config': dataclasses.asdict(cfg),
    'output': output,
    'iterations': [{'t': t} for t in range(iterations + 1)],
  }


def record(**changes):
  cfg = dataclasses.replace(config.Config(), **changes)
  known = old(**changes)
  return known | {
    'contents': variants.contents(cfg, known),
    'reward': fingerprints.meaning(
      effective.reward(cfg.reward), input_files.READS
    ),
  }


ROUGE = config.Reward(name='rouge')


@pytest.mark.parametrize(
  'made, unused',
  [
    ({}, 'compute.rows methods choose.keep_all data.setting data.max_text'),
    ({}, 'select.floor train.lora.alpha retrieval.encoder evaluate.encoder'),
    ({'iterations': 0}, 'draw.m draw.rounds select.threshold fresh_start'),
    ({'method': 'sft', 'iterations': 0}, 'iterations'),
    ({'output': None}, 'reason.dtype'),
    ({'data': config.Data(path='x')}, 'data.world.seed'),
    ({'reward': ROUGE}, 'reward.model.checkpoint reward.dtype reward.template'),
    ({'select': config.Select(rule='best')}, 'select.threshold'),
    ({'retrieval': config.Retrieval(name='none')}, 'retrieval.k'),
    ({'draw': config.Draw(temperature=0.0)}, 'draw.top_p draw.top_k'),
  ],
)  # fmt: skip
def test_what_decided_nothing_is_no_setting(made, unused):
  assert not {*unused.split()} & variants.settings(old(**made)).keys()


@pytest.mark.parametrize(
  'made, names',
  [
    ({}, 'seed iterations draw.m reason.dtype data.world.seed reward.dtype'),
    ({'select': config.Select(rule='best')}, 'select.floor'),
    (
      {'reward': ROUGE, 'evaluate': config.Evaluate(metrics=('judge',))},
      'reward.model.checkpoint reward.dtype',
    ),
    ({'train': config.Train(lora=config.Lora(rank=4))}, 'train.lora.alpha'),
    ({'train': config.Train()}, 'train.lora.rank'),
    ({'evaluate': config.Evaluate(metrics=('cosine',))}, 'retrieval.encoder'),
    ({'reward': config.Reward(name='mine:build')}, 'reward.model.checkpoint'),
  ],
)
def test_what_decided_something_is_one(made, names):
  assert {*names.split()} <= variants.settings(old(**made)).keys()


@pytest.fixture
def copied(tmp_path):
  """The bundled judge under another path, and then another judge there."""
  path = shutil.copytree(assets.path('tiny_it'), tmp_path / 'judge')
  same = record(reward=config.Reward(model=config.Model(str(path))))
  other = shutil.copytree(assets.path('tiny_pt'), tmp_path / 'other')
  other = record(reward=config.Reward(model=config.Model(str(other))))
  shutil.rmtree(tmp_path / 'judge')  # gone when they are compared
  return same, other


def test_a_reward_is_the_same_by_content(copied):
  same, other = copied
  assert variants.same_reward(record(), same)
  assert variants.setting_names([record(), same]) == []
  assert not variants.same_reward(record(), other)
  assert variants.setting_names([record(), other]) == [
    'reward.model.checkpoint'
  ]
  (one, two) = variants.setting_texts([record(), other])
  assert one.startswith('reward.model.checkpoint tiny_it ')
  assert two.startswith('reward.model.checkpoint other ')


def test_rouge_does_not_depend_on_the_judge(copied):
  same = record(reward=ROUGE)
  gone = config.Model('/not/there', '/not/there')
  other = record(reward=dataclasses.replace(ROUGE, model=gone, dtype='int8'))
  assert variants.same_reward(same, other)
  assert variants.setting_names([same, other]) == []
  assert not variants.same_reward(same, record())


@pytest.mark.parametrize(
  'changes, same',
  [({'model': config.Model('x')}, False), ({'rule': 'x'}, False), ({}, True)],
)
def test_older_records_are_compared_by_their_settings(changes, same):
  judge = config.Reward()
  other = old(reward=dataclasses.replace(judge, **changes))
  assert variants.same_reward(old(), other) == same
  assert variants.same_reward(record(), other) == same
  for name in ('rouge', 'mine:build'):
    reward = config.Reward(name=name)
    other = old(reward=dataclasses.replace(reward, **changes))
    assert variants.same_reward(old(reward=reward), other) == (
      same or name == 'rouge'
    )


def test_settings_are_called_shortly_where_that_is_clear():
  names = ('draw.m', 'answer.m', 'seed', 'data.world.seed', 'train.steps')
  assert [variants.short_label(name) for name in names] == [
    *('m', 'answer.m', 'seed', 'data.world.seed', 'steps')
  ]


def test_the_precision_of_a_judge_whom_nobody_asks_tells_nothing_apart(copied):
  near = config.Reward(name='mix', mix=('rouge:1',))
  half = config.Evaluate(dtype='bfloat16')
  records = [record(reward=near), record(reward=near, evaluate=half)]
  assert variants.setting_names(records) == []
  judges = [record(), record(evaluate=half)]
  assert variants.setting_names(judges) == ['evaluate.dtype']
