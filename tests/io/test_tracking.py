"""Facts about restpg_jax/io/tracking.py."""

import dataclasses
import json
import re
import warnings

import pytest

from restpg_jax import config, errors, main, restpg, types, variants
from restpg_jax.io import fingerprints, progress, tracking

THEIRS = """
sent = []

class Run:
  def __init__(self, name, step):
    self.name = name
    sent.append(('open', name, step))
  def scalars(self, values, step):
    sent.append(('scalars', self.name, step, values))
  def text(self, name, text, step):
    sent.append(('text', self.name, step, name, text))
  def image(self, name, png, step):
    sent.append(('image', self.name, step, name, png))
  def close(self):
    sent.append(('close', self.name))

class Failing(Run):
  def scalars(self, values, step):
    sent.append('tried')
    raise OSError(f'no {line}')

def build(workdir):
  return Run
def failing(workdir):
  return Failing
def refusing(workdir):
  raise RuntimeError('log in first, {line}')
NUMBER = 3
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
  """A module of somebody else, by a name of its own: warnings come once."""
  name = f'their_{re.sub(r"[^a-z0-9]", "_", str(tmp_path).lower())}'
  folder = tmp_path / 'modules'
  folder.mkdir()
  (folder / f'{name}.py').write_text(THEIRS.replace('{line}', name))
  (folder / f'{name}_broken.py').write_text('raise RuntimeError("no GPU")')
  monkeypatch.syspath_prepend(folder)
  return name


def sent(name):
  """What was sent to the tracker of this module."""
  return __import__(name).sent


def work(folder, n=3, done=0):
  """A sitting of a stage that makes n of 9 items."""
  with progress.bar(
    9, 'samples', 'draw1', done, log=folder / 'metrics.jsonl'
  ) as shown:
    texts = [types.Trajectory('a/1', j, f'text {j}') for j in range(n)]
    shown.update(n, tokens=5, samples=texts)


def test_lines_and_the_first_texts_of_a_sitting_are_sent(theirs, tmp_path):
  folder = tmp_path / 'run' / 'e_step1' / 'draw-01'
  with tracking.tracked_by(f'{theirs}:build', tmp_path / 'run'):
    work(folder, n=6)
  (line,) = map(json.loads, (folder / 'metrics.jsonl').open())
  name = 'e_step1/draw-01'
  first, *texts, (_, _, step, values), last = sent(theirs)
  assert (first, last) == (('open', name, 0), ('close', name))
  assert texts == [
    ('text', name, 6, 'samples', f'a/1 {j}\n\ntext {j}') for j in range(4)
  ]
  assert step == 6
  assert values == {k: v for k, v in line.items() if v is not None}
  assert values['tokens'] == 5.0 and 'accepted' not in values


def test_a_sitting_says_from_where_steps_are_made_again(theirs, tmp_path):
  folder = tmp_path / 'draw-01'
  with tracking.tracked_by(f'{theirs}:build', tmp_path):
    work(folder)
    work(folder, n=2, done=3)
    work(folder, n=2, done=4)  # one of five was lost
  begun = [step for kind, _, step, *_ in [e + (0,) for e in sent(theirs)]
           if kind == 'open']  # fmt: skip
  assert begun == [0, 4, 5]


def test_nothing_is_sent_without_a_tracker_or_when_it_is_over(theirs, tmp_path):
  work(tmp_path / 'draw-01')
  with tracking.tracked_by('', tmp_path):
    work(tmp_path / 'draw-02')
  with tracking.tracked_by(f'{theirs}:build', tmp_path):
    pass
  work(tmp_path / 'draw-03')
  assert sent(theirs) == []
  assert not (tmp_path / 'tensorboard').exists()


@pytest.mark.parametrize(
  'build, cause, tried',
  [
    ('failing', 'OSError: no {}', ['tried']),
    ('refusing', 'RuntimeError: log in first, {}', []),
  ],
)
def test_one_that_fails_is_told_once_and_ends_nothing(
  theirs, tmp_path, build, cause, tried
):
  with (
    warnings.catch_warnings(record=True) as told,
    tracking.tracked_by(f'{theirs}:{build}', tmp_path),
  ):
    warnings.simplefilter('always')
    work(tmp_path / 'draw-01')
    work(tmp_path / 'draw-02')
  assert [str(w.message) for w in told] == [
    f'track={theirs}:{build}: {cause.format(theirs)}; the run goes on '
    'without it'
  ]
  assert [s for s in sent(theirs) if s == 'tried'] == tried
  for name in ('draw-01', 'draw-02'):
    (line,) = (tmp_path / name / 'metrics.jsonl').read_text().splitlines()
    assert json.loads(line)['made'] == 3


def test_figures_of_the_report_are_sent(theirs, tmp_path):
  tracking.send_figures(f'{theirs}:build', tmp_path)
  assert sent(theirs) == []  # there is none
  figures = tmp_path / 'report' / 'figures'
  figures.mkdir(parents=True)
  for name in ('figure3.png', 'figure2.png', 'figure2.svg'):
    (figures / name).write_bytes(name.encode())
  tracking.send_figures(f'{theirs}:build', tmp_path)
  assert sent(theirs) == [
    ('open', 'report', 0),
    ('image', 'report', 0, 'figure2', b'figure2.png'),
    ('image', 'report', 0, 'figure3', b'figure3.png'),
    ('close', 'report'),
  ]


@pytest.mark.parametrize(
  'name, said',
  [
    ('tensorbord', "track is 'tensorbord'; known are tensorboard, or package."),
    (
      'no_such_one:build',
      'track=no_such_one:build: ModuleNotFoundError: No mo',
    ),
    ('{}_broken:build', 'track={}_broken:build: RuntimeError: no GPU'),
    ('{}:biuld', "track={0}:biuld: AttributeError: module '{0}' has no attrib"),
    ('{}:NUMBER', 'track={}:NUMBER: NUMBER is no function'),
    (':build', 'track=:build: ValueError: Empty module name'),
  ],
)
def test_a_name_that_is_wrong_is_told_in_a_line(theirs, name, said):
  with pytest.raises(errors.InputError) as error:
    restpg.check_config(config.Config(track=name.format(theirs)))
  assert str(error.value).startswith(said.format(theirs))
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('verb', ['run', 'report'])
def test_the_command_ends_with_2_before_it_makes_anything(
  tmp_path, capsys, verb
):
  argv = [verb, '--config=configs/demo.py', '--config.track=no_such_one:x']
  assert main.main([*argv, f'--workdir={tmp_path}']) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: track=no_such_one:x: ModuleNotFoundError')
  assert list(tmp_path.iterdir()) == []


def test_it_makes_no_other_experiment():
  tracked = config.Config(track='tensorboard')
  meanings = map(fingerprints.meaning, (tracked, config.Config()))
  assert len({json.dumps(meaning) for meaning in meanings}) == 1
  assert 'track' not in variants.stated({'config': dataclasses.asdict(tracked)})
