"""Facts about restpg_jax/io/located.py: paths that a workdir keeps."""

import shutil

import pytest

from restpg_jax import assets, config
from restpg_jax.io import artifacts, located, records
from tests import tiny


@pytest.fixture
def here(tmp_path, monkeypatch):
  """A folder that somebody works in, with a tokenizer and a workdir."""
  (tmp_path / 'a' / 'w').mkdir(parents=True)
  (tmp_path / 'b').mkdir()
  for path in ('a/t.model', 'a/w/t.model', 'b/t.model'):
    (tmp_path / path).write_text(path)
  monkeypatch.chdir(tmp_path / 'a')
  return tmp_path


@pytest.mark.parametrize('workdir', ['w', './w', '../a/w', 'w/'])
def test_a_path_outside_is_whole_one_inside_relative(here, workdir):
  assert located.portable('t.model', workdir) == str(here / 'a/t.model')
  assert located.portable('w/t.model', 'w') == './t.model'
  assert located.portable(str(here / 'a/w/t.model'), 'w') == './t.model'
  assert located.portable('w/../t.model', 'w') == str(here / 'a/t.model')


@pytest.mark.parametrize(
  'name', ['', 'tiny_pt', 'tiny.spm.model', 'no/such/file', 'my.module:reward']
)
def test_a_name_that_is_no_path_stays(here, name):
  assert located.portable(name, 'w') == name
  assert located.resolved(name, 'w') == name


def test_the_name_of_turns_is_no_path_where_a_folder_has_it_too(here):
  (here / 'a' / 'gemma').mkdir()
  for turns, noted in (
    ('gemma', 'gemma'),
    ('t.model', str(here / 'a/t.model')),
  ):
    assert located.noted(config.Model(turns=turns), 'w')['turns'] == noted


def test_it_is_opened_from_elsewhere_and_after_a_move(here, monkeypatch):
  outside, inside = (
    located.portable(name, 'w') for name in ('t.model', 'w/t.model')
  )
  shutil.move(here / 'a' / 'w', here / 'b' / 'moved')
  monkeypatch.chdir(here / 'b')  # where another t.model is
  for name, content in ((outside, 'a/t.model'), (inside, 'a/w/t.model')):
    path = assets.path(located.resolved(name, 'moved'))
    assert path.read_text() == content


def test_a_path_of_an_older_run_is_opened_as_it_was(here):
  assert located.resolved('./t.model', 'none') == './t.model'
  assert located.resolved('t.model', 'w') == 't.model'


def test_a_stage_notes_its_paths_so_and_its_fingerprint_is_the_same(here):
  @artifacts.stage('tests.test_located.stage')
  def stage(*, out, cfg, layout):
    return {'expected': 0, 'made': 0}

  store = artifacts.Store('w', layout=tiny.layout())
  cfg = config.Prompt(template='t.model')
  made = store.step('a', stage, cfg=cfg)
  done = records.read_json(made.path / 'DONE.json')
  assert done['cfg'] == {
    'template': str(here / 'a/t.model'),
    'max_input': 5120,
    'max_output': 1536,
  }
  assert cfg.template == 't.model'
  whole = config.Prompt(template=str(here / 'a/t.model'))
  assert store.step('a', stage, cfg=whole).fingerprint == made.fingerprint
