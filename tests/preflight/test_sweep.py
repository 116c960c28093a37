"""Facts about restpg_jax/preflight/sweep.py: what members reuse and take."""

import pathlib

import pytest

from restpg_jax import cli, config, errors, members, restpg, verb_args
from restpg_jax.engines import input_files
from restpg_jax.io import artifacts, records
from restpg_jax.parallel import chips
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import draw_workloads, duration, sweep, tally

ROOT = pathlib.Path(__file__).parents[2]


def members_of(*changes, **settings) -> list[members.Member]:
  """Members of a small run: 40 training, 8 validation, 12 test inputs."""
  found = []
  for n, overrides in enumerate(changes):
    cfg = config.Config(methods=('rest_em',), iterations=1, **settings)
    cfg.data.world = config.World(train=40, val=8, test=12)
    cfg.train.steps, cfg.train.checkpoint_every, cfg.train.warmup = 10, 4, 1
    for key, value in overrides.items():
      section, _, name = key.rpartition('.')
      setattr(getattr(cfg, section) if section else cfg, name, value)
    found.append(members.Member(n, overrides, cfg))
  return found


def test_a_member_makes_what_those_before_it_have_not():
  first, second, total, apart = sweep.member_costs(
    members_of({'draw.m': 8}, {'draw.m': 4})
  )
  # Validation: 3 checkpoints answer 8 inputs, in each of two trainings.
  drawn = 40 * 8 + 2 * 12 + 2 * 3 * 8
  assert first.tally == tally.Tally(drawn, drawn, 20)
  assert (first.reuses, first.makes) == (0, 18)
  assert second.tally == tally.Tally(12 + 24, 12 + 24, 10)
  assert (second.reuses, second.makes) == (12, 6)
  assert second.names == 'e_step1/select, m_step1, eval1'
  assert total.tally == first.tally + second.tally
  assert (total.reuses, total.makes) == (12, 24)
  smaller = 40 * 4 + 2 * 12 + 2 * 3 * 8
  assert apart.tally == first.tally + tally.Tally(smaller, smaller, 20)


def test_a_larger_budget_draws_what_is_missing():
  _, second, *_ = sweep.member_costs(members_of({'draw.m': 4}, {'draw.m': 8}))
  assert second.tally.samples == 40 * 4 + 12 + 24
  assert second.names == (
    'e_step1/draw from 4 to 8, e_step1/score from 4 to 8, e_step1/select, '
    'm_step1, eval1'
  )


def test_rounds_are_counted_once():
  rounds = members_of({'draw.m': 8, 'draw.rounds': (4, 8)})
  (whole,) = members_of({'draw.m': 8})
  cost, *_ = sweep.member_costs(rounds)
  alone, *_ = sweep.member_costs([whole])
  assert cost.tally.samples == alone.tally.samples


def test_what_a_workdir_has_is_there(tmp_path):
  listed = members_of({'draw.m': 8}, {'draw.m': 16})
  for step in restpg.planned_steps(listed[0].cfg, input_files.READS):
    folder = tmp_path / f'{step.name}-{step.fingerprint[:12]}'
    folder.mkdir(parents=True)
    extent = {'extent': step.extent} if step.extent else {}
    records.write_json(folder / artifacts.DONE, {'summary': {}} | extent)
  first, second, *_ = sweep.member_costs(listed, workdir=tmp_path)
  assert (first.reuses, first.makes, first.names) == (18, 0, 'nothing')
  assert first.tally == tally.Tally()
  assert second.tally.samples == 40 * 8 + 12 + 24
  listed[0].cfg.policy.checkpoint = 'not here'  # nobody can tell
  first, *_ = sweep.member_costs(listed, workdir=tmp_path)
  assert first.reuses == 0


def table():
  costs = [
    sweep.MemberCost('0', 'm 8', 2, 3, 'sft', tally.Tally(1000, 0, 7, 7200.0)),
    sweep.MemberCost('all', '', 2, 3, '', tally.Tally(1000, 0, 7, 7200.0)),
  ]
  return sweep.member_table(costs, 4, 0.5, 2.0)


def test_the_table_has_hours_and_costs_of_chips_that_are_known():
  assert table().splitlines() == [
    'member settings  reuses  makes      samples       scored     steps'
    '      at 50%  chip-hours        cost',
    '0      m 8            2      3        1,000            0         7'
    '      4.00 h          16          32',
    '       makes sft',
    'all                   2      3        1,000            0         7'
    '      4.00 h          16          32',
  ]


@pytest.mark.slow
def test_extending_a_draw_takes_the_seconds_of_what_is_missing():
  cfg = cli.load_config(str(ROOT / 'configs/paper.py'))
  layout = layouts.Layout.of(config.Compute(memory=27.0))
  run = duration.RunCost(
    cfg, layout, chips.CHIPS['TPU v4'], draw_workloads.split_sizes(cfg)
  )
  steps = restpg.planned_steps(cfg, reads=None)
  (draw,) = [
    s for s in steps if (s.method, s.name) == ('rest_pg', 'e_step1/draw')
  ]
  whole = tally.stage_tally(cfg, draw, run=run)
  more = tally.stage_tally(cfg, draw, before=16, run=run)
  assert (whole.samples, more.samples) == (43_166 * 32, 43_166 * 16)
  # All but the prompts, which are read again.
  assert whole.seconds / 2.5 < more.seconds < whole.seconds / 2


@pytest.mark.parametrize(
  'overrides, flags, message',
  [
    ([{'draw.m': 8}] * 2, {}, r'members 0 \(m 8\) and 1 \(m 8\) are the same'),
    ([{'draw.m': 0}], {}, r'member 0 \(m 0\): draw.m'),
    ([{'draw.m': 8}], {'price': 'x'}, '--price=x: it must be a number above 0'),
  ],
)
def test_what_cannot_be_listed(overrides, flags, message):
  with pytest.raises(errors.InputError, match=message):
    sweep.list_members(
      members_of(*overrides), verb_args.PreflightArgs(**flags), ''
    )
