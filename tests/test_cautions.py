"""Facts about restpg_jax/cautions.py: what is told before a run."""

import pathlib

import pytest

from restpg_jax import cautions, cli, config
from restpg_jax.io import weights
from restpg_jax.models import catalog

ROOT = pathlib.Path(__file__).parents[1]


def paper(**sections):
  cfg = cli.load_config(str(ROOT / 'configs/paper.py'))
  for section, values in sections.items():
    for name, value in values.items():
      setattr(getattr(cfg, section), name, value)
  return cfg


def said(cfg, reasoning=True, em=True):
  found = cautions.cautions_of(cfg, reasoning=reasoning, em=em)
  return [f'{one.message}; {one.remedy}' for one in found]


@pytest.mark.parametrize('name', ['demo', 'mini', 'baselines', 'paper'])
def test_the_shipped_experiments_have_none(name):
  assert said(cli.load_config(str(ROOT / f'configs/{name}.py'))) == []


def test_prompt_and_output_beyond_a_models_context():
  cfg = paper(
    prompt=dict(max_input=7000),
    reason=dict(max_input=8192),
    reward=dict(max_input=8192),
  )
  assert said(cfg) == [
    'policy: prompt.max_input 7,000 + prompt.max_output 1,536 = 8,536 tokens, '
    'but gemma_2b was made for 8,192; lower prompt.max_input to 6656 or less',
    'reasoner: reason.max_input 8,192 + reason.max_output 512 = 8,704 tokens, '
    'but gemma_7b was made for 8,192; lower reason.max_input to 7680 or less',
    'judge: reward.max_input 8,192 + a label of 2 = 8,194 tokens, but gemma_7b '
    'was made for 8,192; lower reward.max_input to 8190 or less',
  ]


def test_only_of_the_models_that_a_run_has():
  cfg = paper(reason=dict(max_input=8192), reward=dict(max_input=8192))
  cfg.reward.name = 'rouge'
  cfg.select.threshold = 0.5
  assert said(cfg, reasoning=False) == []
  cfg.evaluate.metrics = ('judge',)
  assert len(said(cfg, reasoning=False)) == 1


@pytest.mark.parametrize(
  'described, context',
  [
    ({'model_type': 'gemma', 'max_position_embeddings': 4096}, 4096),
    ({'model_type': 'gemma'}, 8192),
    ({'model_type': 'gemma3', 'text_config': {}}, 131_072),
  ],
)
def test_a_hugging_face_folder_says_it_itself(
  tmp_path, monkeypatch, described, context
):
  checkpoint = weights.Checkpoint(
    *(tmp_path, 'hf', catalog.catalog_size('gemma_2b'), None, None, ()),
    published={'config.json': described},
  )
  monkeypatch.setattr(weights, 'find_checkpoint', lambda path, base: checkpoint)
  assert cautions.context_of(str(tmp_path)) == context


def test_a_model_folder_is_known_by_its_size_if_that_is_published():
  assert catalog.catalog_context(catalog.catalog_size('gemma3_1b')) == 32_768
  assert set(catalog.CONTEXTS) == set(catalog.CATALOG)
  assert cautions.context_of('tiny_pt') is None
  assert cautions.context_of('not/there') is None


def test_a_bar_that_hardly_any_output_reaches():
  mean = paper(reward=dict(rule='expected'))
  assert said(mean) == [
    'hardly any output can reach select.threshold=1: reward.rule=expected is a '
    'mean of labels, which is 1 only if P(10) is; lower it, or take '
    "select.rule='best'"
  ]
  overlap = paper(reward=dict(name='rouge'))
  assert 'reward.name=rouge is 1 only for the words of the' in said(overlap)[0]
  near = paper(reward=dict(name='cosine'))
  assert 'reward.name=cosine is 1 only where all of it is' in said(near)[0]
  assert said(mean, em=False) == []
  mean.select.threshold = 0.9
  overlap.select.rule = 'best'
  assert said(mean) == said(overlap) == []


def test_too_few_users_for_every_task():
  cfg = config.Config(data=config.Data(world=config.World(val=3)))
  (one,) = said(cfg)
  assert one.startswith('data.world.val is 3: not every task has an example')
