"""Facts about restpg_jax/effective.py: what decides nothing is at rest."""

import dataclasses

import pytest

from restpg_jax import config, effective, restpg
from tests import pipeline

JUDGE = config.Reward(
  model=config.Model(checkpoint='gemma_7b'),
  template='mine.txt',
  max_input=100,
  dtype='bfloat16',
  rule='expected',
)
LORA = config.Lora(rank=0, alpha=3.0, targets=('q',))


@pytest.mark.parametrize(
  'function, given, left',
  [
    (
      effective.reward,
      dataclasses.replace(JUDGE, name='rouge'),
      config.Reward(name='rouge'),
    ),
    (effective.reward, JUDGE, JUDGE),
    (
      effective.reward,
      dataclasses.replace(JUDGE, encoder='x', mix=('rouge:1',)),
      JUDGE,
    ),
    (
      effective.reward,
      dataclasses.replace(JUDGE, name='cosine', encoder='x', mix=('rouge:1',)),
      config.Reward(name='cosine', encoder='x'),
    ),
    (
      effective.reward,
      dataclasses.replace(
        JUDGE, name='mix', encoder='x', mix=('rouge:1', 'judge:1')
      ),
      dataclasses.replace(JUDGE, name='mix', mix=('rouge:1', 'judge:1')),
    ),
    (
      effective.reward,
      dataclasses.replace(
        JUDGE, name='mix', encoder='x', mix=('rouge:1', 'cosine:1')
      ),
      config.Reward(name='mix', encoder='x', mix=('rouge:1', 'cosine:1')),
    ),
    (
      effective.reward,  # may ask the judge itself
      dataclasses.replace(JUDGE, name='my:build'),
      dataclasses.replace(JUDGE, name='my:build'),
    ),
    (
      effective.data,
      config.Data(path='x', setting='temporal', world=config.World(seed=3)),
      config.Data(path='x', setting='temporal'),
    ),
    (
      effective.data,
      config.Data(setting='temporal', world=config.World(seed=3)),
      config.Data(world=config.World(seed=3)),
    ),
    (
      effective.retrieval,
      config.Retrieval(name='bm25', encoder='x', k=3),
      config.Retrieval(name='bm25', k=3),
    ),
    (
      effective.retrieval,
      config.Retrieval(name='none', encoder='x', k=3, shuffle=0.5),
      config.Retrieval(name='none'),
    ),
    (
      effective.select,
      config.Select(rule='threshold', threshold=0.9, floor=0.1),
      config.Select(rule='threshold', threshold=0.9),
    ),
    (
      effective.select,
      config.Select(rule='best', threshold=0.9, floor=0.1),
      config.Select(rule='best', floor=0.1),
    ),
    (
      effective.sampling,
      config.Draw(m=4, temperature=0.0, top_p=0.5, top_k=9),
      config.Draw(m=4, temperature=0.0),
    ),
    (
      effective.sampling,
      config.Reason(temperature=0.0, top_p=0.5),
      config.Reason(temperature=0.0),
    ),
    (effective.train, config.Train(steps=9, lora=LORA), config.Train(steps=9)),
  ],
)
def test_what_decides_nothing_is_at_its_default(function, given, left):
  assert function(given) == left


def asked(cfg):
  """(name, settings) of every step of a run."""
  steps = []

  def step(name, *inputs, cfg=None, after=None):
    steps.append((name, cfg))

  for name in cfg.methods:
    list(restpg.restpg(cfg, restpg.METHODS[name], step))
  return steps


@pytest.mark.parametrize(
  'changes, others',
  [
    (
      {'reward': config.Reward(name='rouge')},
      {'reward': dataclasses.replace(JUDGE, name='rouge')},
    ),
    (
      {'data': config.Data(path='x')},
      {'data': config.Data(path='x', world=config.World(train=9))},
    ),
    (
      {'select': config.Select(rule='best')},
      {'select': config.Select(rule='best', threshold=0.5)},
    ),
    (
      {'answer': config.Sample(m=1, temperature=0.0)},
      {'answer': config.Sample(m=1, temperature=0.0, top_p=0.5)},
    ),
  ],
)
def test_no_stage_is_made_again_for_what_decides_nothing(changes, others):
  rounds = config.Draw(m=4, rounds=(2, 4))
  plain = pipeline.small(draw=rounds, **changes)
  assert asked(plain) == asked(pipeline.small(draw=rounds, **others))
  assert asked(plain) != asked(pipeline.small(draw=rounds, seed=1))


def test_the_judge_that_only_measures_counts_where_it_measures():
  evaluate = config.Evaluate(metrics=('judge',))
  plain, other = (
    pipeline.small(reward=reward, evaluate=evaluate)
    for reward in (
      config.Reward(name='rouge'),
      dataclasses.replace(JUDGE, name='rouge'),
    )
  )
  differ = {
    a[0] for a, b in zip(asked(plain), asked(other), strict=True) if a != b
  }
  assert differ == {'eval0/measure', 'eval1/measure'}
