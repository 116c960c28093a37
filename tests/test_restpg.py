"""Facts about restpg_jax/restpg.py: which stages a run makes."""

import math
import pathlib
import re
import shutil

import pytest

from restpg_jax import (
  assets,
  cli,
  config,
  errors,
  experiments,
  restpg,
  variants,
)
from restpg_jax.io import artifacts, fingerprints, lock

ROOT = pathlib.Path(__file__).parents[1]
START = ['base', 'retrieve/train', 'retrieve/val', 'retrieve/test']
FIT = ['sft/train', 'sft/choose']
E_STEP = ['e_step1/draw', 'e_step1/score', 'e_step1/select']
END = [
  *('m_step1/train', 'm_step1/choose'),
  *('eval1/answer', 'eval1/score', 'eval1/measure'),
]


@pytest.fixture
def made(monkeypatch):
  """The names of the stages that a run asks for; none is really made."""
  names = []

  def step(self, name, fn, *inputs, cfg=None, after=None):
    names.append(name)
    return artifacts.Artifact(self.workdir / name, name, {})

  monkeypatch.setattr(artifacts.Store, 'step', step)
  return names


def run(workdir, *methods, until=''):
  cfg = config.Config(methods=methods, iterations=1)
  restpg.run_methods(cfg, workdir, until=until)


def test_every_stage_of_every_method(made, tmp_path):
  run(tmp_path, 'sft', 'rest_pg')
  evaluation = ['eval0/answer', 'eval0/score', 'eval0/measure']
  assert made == [
    *START, 'targets', *FIT, *evaluation,
    *START, 'reason', *FIT, *evaluation, *E_STEP, *END,
  ]  # fmt: skip


def test_a_workdir_that_can_hold_no_checkpoint_is_refused(made, tmp_path):
  with pytest.raises(errors.InputError, match='a backslash'):
    run(tmp_path / 'a\\b', 'sft')
  assert made == list(tmp_path.iterdir()) == []


def test_until_stops_each_method_after_its_last_stage_of_that_name(
  made, tmp_path
):
  with pytest.raises(artifacts.Until, match='sft'):
    run(tmp_path, 'sft', 'sft_reasoning', 'rest_pg', until='sft')
  assert made == [
    *START, 'targets', *FIT,
    *START, 'reason', *FIT,
    *START, 'reason', *FIT,
  ]  # fmt: skip


@pytest.mark.parametrize('order', [1, -1])
def test_until_leaves_out_a_method_without_such_a_stage(made, tmp_path, order):
  with pytest.raises(artifacts.Until):
    run(tmp_path, *('sft', 'rest_pg')[::order], until='reason')
  assert made == [*START, 'reason']


@pytest.mark.parametrize(
  'until, last',
  [
    ('retrieve', 'retrieve/test'),
    ('retrieve/train', 'retrieve/train'),
    ('e_step1', 'e_step1/select'),
    ('e_step1/draw', 'e_step1/draw'),
    ('eval1', 'eval1/measure'),
  ],
)
def test_until_takes_a_stage_or_the_first_part_of_its_name(
  made, tmp_path, until, last
):
  with pytest.raises(artifacts.Until):
    run(tmp_path, 'rest_pg', until=until)
  assert made[-1] == last
  whole = list(tmp_path.glob('methods/rest_pg-*.json'))
  assert len(whole) == (until == 'eval1')


def test_a_round_of_the_e_step_is_two_stages_more(made, tmp_path):
  cfg = config.Config(
    methods=('rest_pg',), iterations=1, draw=config.Draw(m=32, rounds=(16, 32))
  )
  restpg.run_methods(cfg, tmp_path)
  at = made.index('e_step1/draw')
  assert made[at : at + 5] == [
    'e_step1/draw', 'e_step1/score', 'e_step1/draw_2', 'e_step1/score_2',
    'e_step1/select',
  ]  # fmt: skip
  with pytest.raises(artifacts.Until):
    restpg.run_methods(cfg, tmp_path, until='e_step1/score')
  assert made[-1] == 'e_step1/score'


@pytest.fixture
def noted(monkeypatch, tmp_path):
  """Runs a config without making anything; the labels of what is finished."""

  def step(self, name, fn, *inputs, cfg=None, after=None):
    mark = artifacts.fingerprint(name, fn, inputs, cfg)
    return artifacts.Artifact(self.workdir / f'{name}-{mark[:12]}', mark, {})

  def run(**settings):
    cfg = config.Config(**{'methods': ('rest_em',), 'iterations': 1} | settings)
    restpg.run_methods(cfg, tmp_path)
    return [r['label'] for r in experiments.read_experiments(tmp_path)]

  monkeypatch.setattr(artifacts.Store, 'step', step)
  return run


# How the stages of configs/demo.py were called by commit 6c139c5, which made
# them: files may move and functions be renamed, workdirs must be found again.
DEMO = {
  'base': '1df269f04a8d',
  'retrieve/train': 'c0475cfaa530',
  'retrieve/val': 'f04ff84953c4',
  'retrieve/test': '4e9f2e1cbc53',
  'reason': 'a2e705906888',
  'sft/train': '770359c1a565',
  'sft/choose': '992ffc2432a4',
  'eval0/answer': '7570bd072ea6',
  'eval0/score': 'dd0330bc1767',
  'eval0/measure': '33b5d5bdb206',
  'e_step1/draw': '40c28f03bd5f',
  'e_step1/score': 'abad5f4b05b2',
  'e_step1/select': 'e3ae3b283ac2',
  'm_step1/train': '045b8f3084ad',
  'm_step1/choose': '22770c7d318c',
  'eval1/answer': '76df740dac71',
  'eval1/score': '3800ecd03f85',
  'eval1/measure': '0ef3a2b05a6a',
}


def test_a_workdir_of_an_older_version_is_found_again(monkeypatch, tmp_path):
  names = {}

  def step(self, name, fn, *inputs, cfg=None, after=None):
    mark = artifacts.fingerprint(name, fn, inputs, cfg, self._reads)
    names[name] = mark[:12]
    return artifacts.Artifact(self.workdir / name, mark, {})

  monkeypatch.setattr(artifacts.Store, 'step', step)
  cfg = cli.load_config(f'{ROOT}/configs/demo.py')
  cfg.compute = config.Compute()  # JAX has its devices by now
  restpg.run_methods(cfg, tmp_path)
  assert names == DEMO


def test_another_experiment_of_a_method_has_a_record_of_its_own(noted):
  assert noted() == ['rest_em']
  ends = ['rest_em (iterations 0)', 'rest_em (iterations 1)']
  assert noted(iterations=0) == ends
  assert noted() == noted(iterations=0) == ends  # the same ones again


@pytest.mark.parametrize(
  'settings, label',
  [
    ({'seed': 1}, 'seed 1'),
    ({'iterations': 2}, 'iterations 2'),
    ({'draw': config.Draw(m=16)}, 'm 16'),
    ({'answer': config.Sample(m=2, temperature=0.1)}, 'answer.m 2'),
    ({'retrieval': config.Retrieval(shuffle=0.5)}, 'shuffle 0.5'),
    ({'fresh_start': False}, 'fresh_start False'),
    ({'select': config.Select(threshold=0.7)}, 'threshold 0.7'),
    ({'reward': config.Reward(rule='expected')}, 'reward.rule expected'),
  ],
)  # fmt: skip
def test_what_makes_another_experiment(noted, settings, label):
  noted()
  assert f'rest_em ({label})' in noted(**settings)


@pytest.mark.parametrize(
  'settings',
  [
    {'compute': config.Compute(log_every=1)},
    {'choose': config.Choose(keep_all=True)},
    {'evaluate': config.Evaluate(metrics=())},
    {'methods': ('rest_em', 'sft')},
  ],
)
def test_what_does_not(noted, settings):
  noted()
  assert 'rest_em' in noted(**settings)


def test_a_reward_elsewhere_is_the_same_experiment(noted, tmp_path):
  noted()
  judge = shutil.copytree(assets.path('tiny_it'), tmp_path / 'judge')
  reward = config.Reward(model=config.Model(str(judge)))
  assert noted(reward=reward) == ['rest_em']
  assert noted(reward=reward, methods=('sft',)) == ['sft', 'rest_em']
  sft, rest_em = experiments.read_experiments(tmp_path)
  assert variants.same_reward(sft, rest_em)


@pytest.mark.parametrize('rounds', [(16,), (16, 16, 32), (0, 32), (33, 32)])
def test_rounds_rise_to_m(rounds):
  with pytest.raises(errors.InputError, match=r'must rise .* draw\.m=32$'):
    restpg.check_config(config.Config(draw=config.Draw(m=32, rounds=rounds)))


def test_the_prompt_and_output_of_an_example_fit_its_row():
  limits = config.Prompt(max_input=100, max_output=28)
  said = 'compute.row_length=127 is too short: an example may have '
  with pytest.raises(errors.InputError, match=f'{said}.* = 128 tokens'):
    cfg = config.Config(prompt=limits, compute=config.Compute(row_length=127))
    restpg.check_config(cfg)
  restpg.check_config(
    config.Config(prompt=limits, compute=config.Compute(row_length=128))
  )


@pytest.mark.parametrize(
  'section, said',
  [
    ({'draw': config.Draw(temperature=-1.0)}, 'draw.temperature is -1; it'),
    ({'draw': config.Draw(temperature=math.nan)}, 'draw.temperature is nan;'),
    ({'answer': config.Sample(top_p=0.0)}, 'answer.top_p is 0; it must be a'),
    ({'answer': config.Sample(top_p=1.5)}, 'answer.top_p is 1.5; it must be'),
    ({'reason': config.Reason(top_p=-0.1)}, 'reason.top_p is -0.1; it must'),
    ({'draw': config.Draw(top_k=-2)}, 'draw.top_k is -2; it must be 0 (all'),
    ({'draw': config.Draw(dtype='int8')}, "draw.dtype is 'int8'; it must be"),
    ({'compute': config.Compute(prompts=-1)}, 'compute.prompts is -1; it must'),
    ({'compute': config.Compute(memory=-0.5)}, 'compute.memory is -0.5; it m'),
    ({'compute': config.Compute(log_every=0)}, 'compute.log_every is 0; it mu'),
    ({'evaluate': config.Evaluate(dtype='f32')}, "evaluate.dtype is 'f32'; it"),
    ({'evaluate': config.Evaluate(shards=-1)}, 'evaluate.shards is -1; it mu'),
    ({'data': config.Data(limit=-1)}, 'data.limit is -1; 0 takes every row'),
    ({'reason': config.Reason(cut_off='x')}, "reason.cut_off is 'x'; it must"),
    ({'select': config.Select(threshold=1.1)}, 'select.threshold is 1.1; no'),
    ({'select': config.Select(threshold=math.nan)}, 'select.threshold is nan'),
    ({'select': config.Select(floor=math.nan)}, 'select.floor is nan; it mus'),
    ({'compute': config.Compute(rows=-1)}, 'compute.rows is -1; it must be 0'),
    ({'compute': config.Compute(remat='all')}, 'known are none, dots, full'),
    ({'compute': config.Compute(attention='x')}, 'known are naive, blocks, s'),
    (
      {'compute': config.Compute(attention='splash', row_length=9999)},
      'compute.row_length=9999 must be a multiple of 128 for',
    ),
  ],
)
def test_a_section_that_no_run_can_have_is_refused(section, said):
  with pytest.raises(errors.InputError, match=re.escape(said)):
    restpg.check_config(config.Config(**section))


def empty(tmp_path, until='', **world):
  cfg = config.Config(methods=('sft',), data=config.Data())
  cfg.data.world = config.World(**world)
  restpg.run_methods(cfg, tmp_path, until=until)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_an_empty_split_is_told_before_anything_runs(made, tmp_path, split):
  with pytest.raises(errors.InputError) as e:
    empty(tmp_path, **{split: 0})
  assert str(e.value) == (
    f'data.world.{split} is 0; this run needs at least 1 example'
  )
  assert made == []


def test_a_split_may_be_empty_that_no_stage_of_the_run_reads(made, tmp_path):
  for until, split in (
    ('retrieve', 'train'),
    ('sft/train', 'val'),
    ('sft', 'test'),
  ):
    with pytest.raises(artifacts.Until):
      empty(tmp_path, until, **{split: 0})


def settings_of(monkeypatch, tmp_path, **changed):
  """Stage -> its settings, of a run that makes none."""
  found = {}

  def step(self, name, fn, *inputs, cfg=None, after=None):
    found[name] = cfg
    return artifacts.Artifact(self.workdir / name, name, {})

  monkeypatch.setattr(artifacts.Store, 'step', step)
  restpg.run_methods(config.Config(iterations=1, **changed), tmp_path)
  return found


def test_only_test_answers_are_judged_in_the_precision_of_evaluation(
  monkeypatch, tmp_path
):
  def dtypes(**changed):
    reward = config.Reward(dtype='bfloat16')
    found = settings_of(monkeypatch, tmp_path, reward=reward, **changed)
    stages = 'e_step1/score', 'sft/choose', 'eval0/score', 'eval1/score'
    return [found[name].reward.dtype for name in stages], found

  plain, before = dtypes()
  assert plain == ['bfloat16'] * 4
  full = config.Evaluate(dtype='float32', shards=4)
  in_full, after = dtypes(evaluate=full)
  assert in_full == ['bfloat16', 'bfloat16', 'float32', 'float32']
  assert after['eval0/score'].shards == 4
  for name, cfg in before.items():
    same = fingerprints.meaning(cfg) == fingerprints.meaning(after[name])
    assert same == (name not in ('eval0/score', 'eval1/score')), name


def test_a_caution_is_a_warning_of_the_run(made, tmp_path):
  cfg = config.Config(reward=config.Reward(rule='expected'))
  with pytest.warns(errors.DataWarning, match='hardly any output can reach'):
    restpg.run_methods(cfg, tmp_path)


@pytest.mark.parametrize('until', ['sf', 'sft/tr', 'sft/train/x', 'e_step2'])
def test_until_a_name_that_no_stage_has_is_refused_at_once(
  made, tmp_path, until
):
  workdir = tmp_path / 'w'
  with pytest.raises(errors.InputError) as caught:
    run(workdir, 'sft', until=until)
  assert str(caught.value) == (
    f'--until={until}: no stage has that name; the stages are base, '
    'retrieve/train, retrieve/val, retrieve/test, targets, sft/train, '
    'sft/choose, eval0/answer, eval0/score, eval0/measure'
  )
  assert made == [] and not workdir.exists()


def test_a_run_holds_its_workdir(made, tmp_path, monkeypatch):
  def step(self, name, fn, *inputs, cfg=None, after=None):
    with pytest.raises(errors.InputError, match='is running there'):
      run(tmp_path, 'sft')
    raise KeyboardInterrupt

  monkeypatch.setattr(artifacts.Store, 'step', step)
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path, 'sft')
  with lock.exclusive(tmp_path):
    pass
