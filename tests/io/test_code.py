"""Facts about restpg_jax/io/code.py: the code that a setting names."""

import hashlib
import sys

import pytest

from restpg_jax import config, errors, restpg
from restpg_jax.io import artifacts, code, fingerprints
from restpg_jax.stages import score
from tests import pipeline

BUILD = 'def build(cfg, layout):\n  return None\n'


@pytest.fixture
def write(tmp_path, monkeypatch):
  """Puts a module where it can be imported."""
  monkeypatch.syspath_prepend(tmp_path)

  def one(text, name='their_reward.py'):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

  return one


def test_a_module_counts_by_its_source_or_by_the_version_it_states(write):
  write(BUILD)
  source = hashlib.sha256(BUILD.encode()).hexdigest()
  assert code.module_content('their_reward:build') == {'source': source}
  write(f'# edited\n{BUILD}')
  assert code.module_content('their_reward:build')['source'] != source
  for text in ('VERSION = 2\n', 'VERSION: int = 2\n', '# other\nVERSION = 2\n'):
    write(text + BUILD)
    assert code.module_content('their_reward:build') == {'version': '2'}
  write(f'VERSION = made()\n{BUILD}')
  assert 'source' in code.module_content('their_reward:build')


def test_nothing_of_it_is_executed(write):
  write('raise SystemExit', 'pack/__init__.py')
  write('raise SystemExit\nVERSION = 3', 'pack/inner.py')
  assert 'source' in code.module_content('pack:build')  # a package's own file
  assert code.module_content('pack.inner:build') == {'version': '3'}
  assert 'pack' not in sys.modules


@pytest.mark.parametrize(
  'name', ['no_such:build', 'json.no_such:build', 'sys.x:build', 'json.x.y:b']
)
def test_a_module_that_is_not_there_is_told_in_a_line(name):
  with pytest.raises(errors.InputError) as error:
    code.module_content(name)
  module = name.partition(':')[0]
  assert str(error.value).startswith(f'{name}: there is no module {module}; in')


def test_a_module_that_is_no_python_is_told_in_a_line(write):
  write('def build(:')
  with pytest.raises(errors.InputError, match=r'their_reward\.py: no Python'):
    code.module_content('their_reward:build')


def mark(name):
  settings = score.ScoreSettings(
    config.Reward(name=name), config.Prompt(), True, 1
  )
  return artifacts.fingerprint('score', score.score, (), settings)


def test_an_edited_reward_scores_again(write):
  write(BUILD)
  before = mark('their_reward:build')
  assert mark('their_reward:build') == before
  write(BUILD.replace('None', 'lambda asked: asked'))
  assert mark('their_reward:build') != before


def test_built_in_rewards_count_by_their_name():
  assert fingerprints.meaning(config.Reward())['name'] == 'judge'
  assert fingerprints.meaning(config.Reward(name='rouge'))['name'] == 'rouge'


@pytest.mark.parametrize(
  'name, said',
  [
    ('no_such:build', 'reward.name=no_such:build: there is no module no_such;'),
    (
      'jugde',
      "reward.name is 'jugde'; known are judge, rouge, cosine, mix, or",
    ),
    (
      'their_reward:',
      "reward.name is 'their_reward:'; known are judge, rouge, cosine",
    ),
  ],
)
def test_a_reward_that_is_not_there_stops_before_anything_runs(
  tmp_path, name, said
):
  cfg = pipeline.small(reward=config.Reward(name=name))
  with pytest.raises(errors.InputError) as error:
    restpg.run_methods(cfg, tmp_path / 'work')
  assert str(error.value).startswith(said)
  assert not (tmp_path / 'work').exists()
