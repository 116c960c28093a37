"""Facts about restpg_jax/io/artifacts.py."""

import dataclasses
import os
import re
import threading
import types

import numpy as np
import pytest

from restpg_jax import assets, config, errors
from restpg_jax.io import artifacts, fingerprints, records
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layouts
from tests import tiny


@dataclasses.dataclass
class Settings:
  steps: int = 10
  rate: float = 0.5
  template: str = config.path_field('')
  batch: int = config.local_field(8)
  inner: config.Sample = config.section(config.Sample)


class Calls(list):
  """A stage, and how it was called."""

  def __init__(self, version=1):
    self.id, self.version = 'tests.Calls', version
    self.hosts = artifacts.FIRST

  def __call__(self, *paths, out, cfg, layout):
    self.append((paths, out, cfg, layout))
    (out / 'part.txt').write_text('made')
    return {'expected': 3, 'made': 3, 'loss': np.float32(0.25)}


@artifacts.stage('tests.another')
def another(*, out, cfg, layout):
  return {'expected': 0, 'made': 0}


def mark(cfg, name='a', inputs=()):
  return artifacts.fingerprint(name, Calls(), inputs, cfg)


def test_a_stage_is_called_with_paths_and_made_once(tmp_path, capsys):
  stage = Calls()
  for _ in range(2):  # two runs of the program
    store = artifacts.Store(tmp_path, layout=tiny.layout())
    first = store.step('one', stage)
    second = store.step('two/b', stage, first, cfg=Settings())
  assert len(stage) == 2
  paths, out, cfg, layout = stage[1]
  assert paths == (first.path,)
  assert out == second.path
  assert out.parent == tmp_path / 'two'
  assert out.name == f'b-{second.fingerprint[:12]}'
  assert (cfg, layout) == (Settings(), tiny.layout())
  assert second.summary == {'expected': 3, 'made': 3, 'loss': 0.25}
  lines = capsys.readouterr().out.splitlines()
  told = re.sub(r'\d\.\d s', '0.0 s', lines[0])
  assert told == 'one                      0.0 s   3 made, loss 0.25'
  assert lines[3] == 'two/b                     kept   (3 made, loss 0.25)'
  assert len(lines) == 4


def test_what_comes_after_a_stage_finds_it_done(tmp_path, capsys):
  stage, seen = Calls(), []

  def after(*paths, out, cfg):
    seen.append((paths, (out / 'DONE.json').exists(), cfg))
    return 'tidied' if len(seen) == 1 else ''

  for _ in range(2):
    store = artifacts.Store(tmp_path, layout=tiny.layout())
    first = store.step('one', stage)
    store.step('two', stage, first, cfg=Settings(), after=after)
  assert len(stage) == 2
  assert seen == [((first.path,), True, Settings())] * 2
  lines = capsys.readouterr().out.splitlines()
  said = [re.sub(r'\d+\.\d s', 'made', line).split()[:2] for line in lines]
  assert said == [
    ['one', 'made'],
    ['two', 'made'],
    ['two', 'tidied'],
    ['one', 'kept'],
    ['two', 'kept'],
  ]


def test_what_a_stage_has_freed_is_given_back(tmp_path, monkeypatch):
  trims = []
  monkeypatch.setattr(artifacts.malloc, 'trim', lambda: trims.append(1))
  store = artifacts.Store(tmp_path, layout=tiny.layout())
  for name in ('one', 'two', 'two'):
    store.step(name, Calls())
  assert len(trims) == 2  # one that is kept has made nothing


def test_the_same_step_twice_in_a_run_is_told_once(tmp_path, capsys):
  stage, store = Calls(), artifacts.Store(tmp_path, layout=tiny.layout())
  assert store.step('one', stage) == store.step('one', stage)
  assert len(stage) == 1
  assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_marker_tells_what_was_made_and_with_what(tmp_path):
  store = artifacts.Store(tmp_path, layout=tiny.layout())
  first = store.step('one', Calls())
  second = store.step('two', Calls(), first, cfg=(Settings(), 'train'))
  done = records.read_json(second.path / 'DONE.json')
  assert sorted(done) == [
      'cfg', 'devices', 'files', 'fingerprint', 'inputs', 'name', 'seconds',
      'summary', 'versions',
  ]  # fmt: skip
  assert done['name'] == 'two'
  assert done['fingerprint'] == second.fingerprint
  assert done['cfg'][0]['steps'] == 10
  assert done['cfg'][1] == 'train'
  assert done['inputs'] == [
    {'path': first.path.name, 'fingerprint': first.fingerprint}
  ]
  assert done['seconds'] >= 0
  assert sorted(done['versions']) == [
    'flax', 'jax', 'nltk', 'numpy', 'optax', 'python', 'restpg_jax',
    'rouge_score', 'sacrebleu',
  ]  # fmt: skip
  assert done['versions']['numpy'] == np.__version__


def test_a_killed_stage_goes_on_in_its_folder(tmp_path):
  @artifacts.stage('tests.stage')
  def stage(out, cfg, layout):
    if (out / 'part').exists():
      return {'expected': 1, 'made': 1, 'found': (out / 'part').read_text()}
    (out / 'part').write_text('from the first run')
    raise KeyboardInterrupt

  store = artifacts.Store(tmp_path, layout=tiny.layout())
  with pytest.raises(KeyboardInterrupt):
    store.step('one', stage)
  again = artifacts.Store(tmp_path, layout=tiny.layout()).step('one', stage)
  assert again.summary['found'] == 'from the first run'


@pytest.mark.parametrize(
  'summary', [{'expected': 3, 'made': 2}, {'made': 2}, {'expected': 0}]
)
def test_a_stage_that_does_not_add_up_is_not_done(tmp_path, summary):
  store = artifacts.Store(tmp_path, layout=tiny.layout())
  with pytest.raises(artifacts.Incomplete, match='one: '):
    store.step('one', artifacts.stage('tests.one')(lambda **_: summary))
  (folder,) = tmp_path.iterdir()
  assert not (folder / 'DONE.json').exists()


def test_the_fingerprint_follows_what_can_change_results(monkeypatch):
  plain = mark(Settings())
  assert plain == mark(Settings())
  assert plain == mark(Settings(batch=99))
  artifact = artifacts.Artifact(None, 'f', {})
  others = [
    mark(Settings(steps=11)),
    mark(Settings(inner=config.Sample(m=1))),
    mark((Settings(), 'train')),
    mark((Settings(), 'val')),
    mark(Settings(), name='b'),
    mark(Settings(), inputs=(artifact,)),
    artifacts.fingerprint('a', Calls(version=2), (), Settings()),
    artifacts.fingerprint('a', another, (), Settings()),
  ]
  assert len({plain, *others}) == 9


@dataclasses.dataclass(frozen=True)
class Extensible:
  m: int = config.extendable()
  temperature: float = 0.7


@artifacts.stage('tests.extensible')
def extensible(out, cfg, layout):
  """Makes lines 0 .. m-1 of a file; those that are there stay."""
  path = out / 'made.txt'
  lines = path.read_text().split() if path.exists() else []
  new = [f'{cfg.m}:{n}' for n in range(len(lines), cfg.m)]
  path.write_text(' '.join([*lines, *new]))
  return {'expected': cfg.m, 'made': cfg.m, 'new': len(new)}


def test_a_larger_extent_makes_only_what_is_missing_in_the_same_folder(
  tmp_path, capsys
):
  made = []
  for m in (2, 4, 2, 3, 4):  # runs of the program
    store = artifacts.Store(tmp_path, layout=tiny.layout())
    made.append(store.step('draw', extensible, cfg=Extensible(m)))
  assert len({a.path for a in made}) == len({a.fingerprint for a in made}) == 1
  assert (made[0].path / 'made.txt').read_text() == '2:0 2:1 4:2 4:3'
  assert records.read_json(made[0].path / 'DONE.json')['extent'] == 4
  assert [a.summary['made'] for a in made] == [2, 4, 4, 4, 4]
  lines = capsys.readouterr().out.splitlines()
  assert [' kept ' in line for line in lines] == [
    False, False, True, True, True
  ]  # fmt: skip


def test_two_extents_in_one_run_have_a_line_each(tmp_path, capsys):
  store = artifacts.Store(tmp_path, layout=tiny.layout())
  for m in (2, 4, 4):
    store.step('draw', extensible, cfg=Extensible(m))
  assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_store_counts_the_seconds_of_all_its_extents(tmp_path, monkeypatch):
  clock = iter([0.0, 3.0, 10.0, 14.0])
  own = types.SimpleNamespace(monotonic=lambda: next(clock))
  monkeypatch.setattr(artifacts, 'time', own)
  store = artifacts.Store(tmp_path, layout=tiny.layout())
  for m in (2, 4):
    path = store.step('draw', extensible, cfg=Extensible(m)).path
  assert records.read_json(path / 'DONE.json')['seconds'] == 7.0


def test_a_kill_while_extending_leaves_the_earlier_extent(
  tmp_path, monkeypatch
):
  store = artifacts.Store(tmp_path, layout=tiny.layout())
  path = store.step('draw', extensible, cfg=Extensible(2)).path
  before = (path / 'DONE.json').read_bytes()
  monkeypatch.setattr(artifacts, '_check', interrupt)
  with pytest.raises(KeyboardInterrupt):
    store.step('draw', extensible, cfg=Extensible(4))
  monkeypatch.undo()
  assert (path / 'DONE.json').read_bytes() == before
  again = artifacts.Store(tmp_path, layout=tiny.layout())
  assert again.step('draw', extensible, cfg=Extensible(2)).summary['made'] == 2
  assert again.step('draw', extensible, cfg=Extensible(4)).summary == {
    'expected': 4, 'made': 4, 'new': 0
  }  # fmt: skip


def interrupt(*_):
  raise KeyboardInterrupt


def test_only_the_extent_is_left_out_of_the_fingerprint():
  assert fingerprints.meaning(Extensible(2)) == {'temperature': 0.7}
  assert mark(Extensible(2)) == mark(Extensible(4))
  assert mark(Extensible(2)) != mark(Extensible(2, temperature=0.1))


def test_a_later_setting_at_its_default_is_not_in_the_fingerprint():
  # As it was before there was `dedupe`: runs of then are found again.
  world = {'seed': 0, 'train': 1000, 'val': 160, 'test': 600}
  before = {'path': '', 'setting': 'user', 'limit': 0, 'world': world}
  assert fingerprints.meaning(config.Data()) == before
  found = fingerprints.meaning(config.Data(dedupe=True))
  assert found == before | {'dedupe': True}


def test_one_and_one_point_zero_are_the_same_setting():
  assert mark(Settings(rate=1)) == mark(Settings(rate=1.0))
  assert mark(Settings(rate=1)) != mark(Settings(rate=1.5))


def test_a_fingerprint_does_not_change_from_one_release_to_the_next():
  # If this fails, every workdir of every user is made anew: is that meant?
  assert fingerprints.meaning((Settings(), {'k': (None, True)})) == [
    {
      'steps': 10,
      'rate': 0.5,
      'template': '',
      'inner': {
        'm': 32,
        'temperature': 0.7,
        'top_p': 0.95,
        'top_k': 0,
        'dtype': 'float32',
      },
    },
    {'k': [None, True]},
  ]


def test_files_count_by_content_and_not_by_place(tmp_path):
  one, two = tmp_path / 'one.txt', tmp_path / 'two.txt'
  one.write_text('hello')
  two.write_text('hello')
  before = mark(Settings(template=str(one)))
  assert before == mark(Settings(template=str(two)))
  two.write_text('other')
  assert before != mark(Settings(template=str(two)))


def test_a_changed_file_of_the_same_size_is_read_again(tmp_path):
  path = tmp_path / 'a'
  path.write_text('hello')
  os.utime(path, ns=(0, 1))
  before = fingerprints.content(path)
  assert before == (  # printf hello | sha256sum
    '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'
  )
  path.write_text('jello')
  os.utime(path, ns=(0, 2))
  assert fingerprints.content(path) != before


def folder(path, **files):
  for name, text in files.items():
    file = path / name.replace('__', '/')
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
  return fingerprints.content(path)


def test_folders_count_by_names_and_content(tmp_path):
  one = folder(tmp_path / '1', a='x', sub__b='y')
  assert folder(tmp_path / '2', sub__b='y', a='x') == one
  assert folder(tmp_path / '3', a='x', sub__c='y') != one
  assert folder(tmp_path / '4', a='x', b='y') != one
  assert folder(tmp_path / '5', a='x', sub__b='z') != one
  assert folder(tmp_path / '6', a='xsub', b='y') != one


def test_a_missing_file_is_the_users_error():
  with pytest.raises(errors.InputError, match='no_such_file'):
    mark(Settings(template='no_such_file'))


def test_a_summary_in_words():
  summary = {
    'expected': 1200,
    'made': 1200,
    'examples_in': 320,
    'loss': 1.23456,
    'rule': 'best',
    'by_task': {'a': 1},
    'best': None,
  }
  assert artifacts.summary_line(summary) == (
    '1,200 made, 320 examples in, loss 1.235, rule best'
  )


def test_a_path_wins_over_a_bundled_asset_of_that_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  name = 'prompts/policy.txt'
  assert assets.path(name) == assets.HERE / name
  (tmp_path / 'prompts').mkdir()
  (tmp_path / name).write_text('mine')
  assert assets.path(name).read_text() == 'mine'
  assert assets.path(str(tmp_path)) == tmp_path


def test_a_missing_asset_names_the_bundled_ones():
  with pytest.raises(errors.InputError) as caught:
    assets.path('prompts/polizy.txt')
  assert 'prompts/polizy.txt: no such file' in str(caught.value)
  assert ' prompts/policy.txt, ' in str(caught.value)
  with pytest.raises(errors.InputError, match='empty name'):
    assets.path('')


def test_hosts_meet_again_at_a_stage_that_two_methods_share(tmp_path):
  """Host 1 must not go by what host 0 said of the stage the first time."""
  board, waits = hosts_lib.Memory(), threading.Event()

  def store(index):
    hosts = hosts_lib.Hosts(index, 2, board)
    layout = layouts.Layout.of(config.Compute(), hosts=hosts)
    return artifacts.Store(tmp_path, layout=layout)

  def second_host():
    own = store(1)
    own.step('one', another)
    ended.append('first')
    own.step('one', another)
    ended.append('second')
    waits.set()

  ended = []
  thread = threading.Thread(target=second_host, daemon=True)
  thread.start()
  first_host = store(0)
  first_host.step('one', another)
  assert not waits.wait(0.5)
  assert ended == ['first']
  first_host.step('one', another)
  assert waits.wait(10)
  thread.join()
