"""Facts about restpg_jax/preflight: what a run needs, before it is run."""

import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import types

import pytest

from restpg_jax import cli, config, errors, main
from restpg_jax.engines import model_size
from restpg_jax.parallel import chips
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import duration, memory, programs, run
from restpg_jax.preflight import workload as work
from restpg_jax.sampling import budget
from restpg_jax.stages import train

ROOT = pathlib.Path(__file__).parents[2]
LIBTPU = importlib.util.find_spec('libtpu')


def command(workdir, *flags):
  """Runs the verb by itself: it may part the CPU, or name TPUs."""
  return subprocess.run(
    [
      *(sys.executable, '-m', 'restpg_jax.main', 'preflight'),
      *('--config=configs/demo.py', f'--workdir={workdir}', *flags),
    ],
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
  )


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('demo')
  return command(workdir), workdir


@pytest.mark.slow
def test_the_demo_fits_this_machine(demo):
  done, workdir = demo
  assert done.returncode == 0, done.stderr
  found = json.loads((workdir / 'preflight.json').read_text())
  assert (found['topology'], found['devices']) == ('cpu', 2)
  names = [row['program'] for row in found['programs']]
  assert names[:7] == [
    *('reason/start', 'reason/advance', 'draw/start', 'draw/advance'),
    *('answer/start', 'answer/advance', 'judge'),
  ]
  assert all(name.startswith('train') for name in names[7:])
  for row in found['programs']:
    assert not row['fault']
    assert 0 < row['total'] < found['usable']
    assert row['ratio'] is None or row['ratio'] >= 1
    assert row['seconds'] is None  # nobody knows the peak of this CPU
  assert list(workdir.iterdir()) == [workdir / 'preflight.json']


@pytest.mark.slow
def test_its_table_fits_a_screen(demo):
  lines = demo[0].stdout.splitlines()
  assert lines[0].startswith('2 x cpu, ')
  assert max(map(len, lines[:-1])) <= 100
  assert lines[-1] == str(demo[1] / 'preflight.json')


@pytest.mark.slow
@pytest.mark.skipif(not LIBTPU, reason='needs libtpu')
def test_the_demo_fits_a_slice_that_nobody_has(tmp_path):
  done = command(tmp_path, '--topology=v4:2x2x1', '--price=2')
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'preflight.json').read_text())
  assert (found['topology'], found['devices']) == ('v4:2x2x1', 4)
  assert found['usable'] == 30.75
  assert all(row['seconds'] > 0 for row in found['programs'])
  assert 'cost' in done.stdout


@pytest.mark.skipif(LIBTPU is not None, reason='libtpu is here')
def test_without_the_compiler_it_says_how_to_get_it():
  with pytest.raises(errors.InputError) as e:
    chips.described('v4:4x4x4')
  assert str(e.value).startswith(
    '--topology=v4:4x4x4 needs the TPU compiler, libtpu; in a clone of '
    "restpg_jax: pip install -e '.[tpu]' ("
  )


@pytest.mark.parametrize('name', ['v4-128', 'v3:4x4', '4x4', 'v4:4', 'v4:4x'])
def test_what_is_no_slice(name):
  with pytest.raises(errors.InputError, match=f'--topology={name}: give a kin'):
    chips.described(name)


@pytest.mark.parametrize(
  'flags, said',
  [
    (['--price=x'], '--price=x: it must be a number above 0'),
    (['--price=0'], '--price=0: it must be a number above 0'),
    (['--efficiency=nan'], '--efficiency=nan: it must be a number above 0'),
    (['--efficiency=1.5'], '--efficiency=1.5: at most 1'),
    (['--topology=v9:2x2'], '--topology=v9:2x2: give a kind of chip and'),
    (['--config.compute.fsdp=999'], 'compute.fsdp=999 does not divide'),
    (['--config.compute.model=999'], 'compute.model=999 does not divide'),
    (['--config.policy.checkpoint=gema'], 'gema: no such folder of weights, a'),
    (['--config.draw.top_p=0'], 'draw.top_p is 0; it must be above 0'),
  ],
)  # fmt: skip
def test_bad_input_is_told_at_once(flags, said, capsys, tmp_path):
  demo = f'--config={ROOT}/configs/demo.py'
  start = 'preflight', demo, '--config.compute.cpu_devices=0'
  assert main.main([*start, f'--workdir={tmp_path}', *flags]) == 2
  assert capsys.readouterr().err.startswith(f'error: {said}')
  assert not list(tmp_path.iterdir())


def test_without_a_config(capsys):
  assert main.main(['preflight']) == 2
  assert capsys.readouterr().err == 'error: missing --config=FILE; see --help\n'


def test_a_model_is_known_by_name_before_it_is_there():
  assert model_size.model_size('gemma_7b').layers == 28
  assert model_size.model_size('tiny_pt').layers == 4
  assert model_size.encoder_size('contriever').layers == 12
  with pytest.raises(errors.InputError) as e:
    model_size.model_size('gemma_8b')
  assert str(e.value).startswith(
    'gemma_8b: no such folder of weights, and no model of that name; known are '
    'gemma_2b, gemma_7b, '
  )


def encoder_names(cfg):
  return model_size.encoder_names(cfg.retrieval, cfg.evaluate, cfg.reward)


def test_a_metric_or_the_reward_may_ask_for_an_encoder_too():
  cfg = config.Config()
  assert encoder_names(cfg) == []
  cfg.evaluate = config.Evaluate(metrics=('cosine',), encoder='theirs')
  assert encoder_names(cfg) == ['theirs']
  cfg.retrieval = config.Retrieval('contriever', encoder='contriever')
  assert encoder_names(cfg) == [
    'contriever',
    'theirs',
  ]
  cfg = config.Config(reward=config.Reward('cosine', encoder='of the reward'))
  assert encoder_names(cfg) == ['of the reward']
  cfg.reward.name, cfg.reward.mix = 'mix', ('rouge:1', 'cosine:1')
  assert encoder_names(cfg) == ['of the reward']
  cfg.reward.mix = ('rouge:1',)
  assert encoder_names(cfg) == []


def paper():
  return cli.load_config(str(ROOT / 'configs/paper.py'))


def test_the_papers_counts():
  cfg = paper()
  assert work.examples(cfg, 'train') == 43_166
  assert work.examples(cfg, 'test') == 9_658
  assert work.examples(cfg, 'val', limit=1024) == 958 + 3 * 1024
  assert work.examples(config.Config(), 'train') == 1000
  cfg.data.limit = 10
  assert work.examples(cfg, 'train') == 40


@pytest.mark.slow
def test_stages_that_methods_share_are_counted_once():
  cfg = paper()
  layout = layouts.Layout.of(config.Compute(memory=27.0))
  stages = run.stage_hours(cfg, layout, chips.CHIPS['TPU v4'])
  names = [stage.name for stage in stages]
  assert names.count('reason') == 1  # of the two methods that reason
  assert names.count('sft/train') == 2  # with reasoning and without
  assert names.count('m_step3/train') == 2
  assert names.count('eval0/answer') == 2
  assert names.count('e_step1/draw') == 2
  assert all(stage.hours > 0 for stage in stages)
  by_name = {stage.name: stage.hours for stage in stages}
  assert by_name['m_step1/train'] == by_name['m_step3/train']


@pytest.mark.slow
def test_the_judge_of_the_test_set_is_counted_in_its_own_precision():
  layout = layouts.Layout.of(config.Compute(memory=27.0))

  def hours_of(cfg):
    stages = run.stage_hours(cfg, layout, chips.CHIPS['TPU v4'])
    return {stage.name: stage.hours for stage in stages}

  half = paper()
  half.methods, half.evaluate.dtype = ('sft',), ''
  full = paper()
  full.methods = half.methods
  assert 'test_judge' in run.stages(full)
  half.evaluate.shards = 0
  assert 'test_judge' not in run.stages(half)
  # These devices multiply float32 as fast; a TPU takes six passes.
  assert hours_of(full)['eval0/score'] == hours_of(half)['eval0/score']
  full.reward.name, full.evaluate.metrics = 'rouge', ('judge',)
  assert run.stages(full)[-3:-1] == ['test_judge', 'train']
  found = hours_of(full)
  assert 'eval0/score' not in found
  assert found['eval0/measure'] == hours_of(half)['eval0/score']


@pytest.mark.slow
def test_a_judge_that_no_chip_holds_alone_is_shared(monkeypatch):
  """7B in float32 has 31.8 GiB of weights; a v4 chip has 30.75."""
  monkeypatch.setattr(layouts.Layout, 'usable', int(30.75 * 2**30))
  monkeypatch.setattr(layouts.Layout, 'on_cpu', False)
  monkeypatch.setattr(layouts.Layout, 'context_parallel_copies', alone)
  cfg = paper()
  found, fault = memory.stage_programs_or_fault(
    cfg,
    'test_judge',
    layouts.Layout.of(cfg.compute, examples=cfg.train.batch_size),
  )
  assert found == []
  assert fault.startswith('judging needs ')
  assert 'evaluate.shards' in fault
  needed = budget.Judging.of(
    model_size.model_size('gemma_7b'),
    weights=34_152_296_448 // cfg.evaluate.shards,
    itemsize=4,
    num_logits=7,
  )
  room = needed.room(
    (7168, 1536), memory=int(0.9 * 30.75 * 2**30), max_candidates=64
  )
  assert (room.prefixes, room.candidates) == (2, 64)


def alone(layout, most):
  """As on a machine of one device."""
  del most
  return layout


def test_lengths_have_the_papers_means():
  cfg = paper()
  known, found = (
    work.text_lengths(cfg),
    work.lengths(cfg, 4000, reasoning=False),
  )
  assert found == work.lengths(cfg, 4000, reasoning=False)
  targets = statistics.fmean(one.targets for one in found)
  prompts = statistics.fmean(one.tokens - one.targets for one in found)
  # Of what would be longer, the limits cut some.
  assert targets == pytest.approx(known.gold, rel=0.05)
  assert prompts == pytest.approx(known.prompt, rel=0.05)
  assert max(one.tokens for one in found) <= 5120 + 1536
  written = work.lengths(cfg, 4000, reasoning=True)
  more = statistics.fmean(one.targets for one in written) - targets
  assert more == pytest.approx(known.reasoning, rel=0.05)


def test_rows_that_examples_do_not_fill_take_their_time():
  """On as many devices, each with rows of its own or 16 with a part of each."""
  cfg = paper()

  def seconds(parts, context_parallel):
    layout = types.SimpleNamespace(
      parts=parts,
      context_parallel=context_parallel,
      platform='tpu',
      on_cpu=False,
      compute=cfg.compute,
      mesh=types.SimpleNamespace(shape={'model': 1}),
    )
    run = duration.RunCost(cfg, layout, chips.CHIPS['TPU v4'], inputs=None)
    trained = types.SimpleNamespace(train=cfg.train, reasoning=False)
    return duration.stage_seconds(run, train.train, trained, 'train')

  alone, shared = seconds(64, 1), seconds(4, 16)
  assert 2 < alone / shared < 3.5


def row(name='judge', **more):
  return memory.ProgramReport(
    name, '64 answers', 16.0, 9.25, 25.26, 1.5, 1.06, 0.25, **more
  )


def test_the_tables_by_hand():
  assert run.program_line(row()).split() == (
    'judge 64 answers 16.00 9.25 25.26 1.50 1.06 250.0'.split()
  )
  bad = memory.ProgramReport(
    'judge', fault='too large', remedy='compute.judged=32'
  )
  assert run.program_line(bad).splitlines()[1:] == [
    '  DOES NOT FIT: too large',
    '  fits with: compute.judged=32',
  ]
  lines = run.stage_table(
    [
      run.StageHours('sft', 'sft/train', 2.0),
      run.StageHours('rest_pg', 'e_step1/draw', 0.5),
    ],
    chips=64,
    efficiency=0.5,
    price=3.0,
  ).splitlines()
  assert [line.split() for line in lines[1:]] == [
    ['sft', 'sft/train', '2.00', 'h', '4.00', 'h', '256', '768'],
    ['rest_pg', 'e_step1/draw', '30.0', 'min', '1.00', 'h', '64', '192'],
    ['all', '2.50', 'h', '5.00', 'h', '320', '960'],
  ]


def tiny(**compute):
  cfg = config.Config(compute=config.Compute(**compute))
  cfg.reward.max_input = 64
  cfg.prompt.max_output = 32
  return cfg


@pytest.mark.slow
def test_what_does_not_fit_comes_with_the_nearest_that_does(monkeypatch):
  """The judge's 64 answers in the memory that 16 of them need."""

  def needed(judged):
    cfg = tiny(judged=judged)
    layout = layouts.Layout.of(cfg.compute)
    (program,) = programs.judge_programs(cfg, layout)
    memory = program.lower().compile().memory_analysis()
    return memory.temp_size_in_bytes + memory.argument_size_in_bytes

  few, many = needed(16), needed(64)
  assert few < many
  between = (few + needed(32)) // 2
  monkeypatch.setattr(layouts.Layout, 'usable', between)
  (found,) = memory.compile_all(tiny(judged=64), ['judge'], ())
  assert found.fault.startswith('needs ')
  assert found.remedy == 'compute.judged=16'


@pytest.mark.slow
def test_sampling_that_cannot_begin_is_a_row_too():
  cfg = tiny(memory=0.001)
  (found,) = memory.compile_all(cfg, ['answer'], ())
  assert found.fault.startswith('sampling needs ')
  assert found.total is None
  name, value = found.remedy.split('=')
  assert name == 'compute.memory'
  assert float(value) > 0.1
