"""Facts about restpg_jax/preflight/hosts.py: what a host needs, and waits."""

import pathlib
import types

import numpy as np
import pytest

from restpg_jax import cli, config
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import compiling, duration, hosts, run
from restpg_jax.stages import choose, draw, score, train

ROOT = pathlib.Path(__file__).parents[2]


def paper():
  return cli.load_config(str(ROOT / 'configs/paper.py'))


def on_hosts(count, each=4):
  """A layout of so many hosts, as far as arithmetic looks at one."""
  devices = [
    types.SimpleNamespace(process_index=n // each) for n in range(count * each)
  ]
  mesh = types.SimpleNamespace(devices=np.array(devices))
  return types.SimpleNamespace(mesh=mesh, devices=count * each)


def test_hosts_are_those_of_the_chips():
  assert hosts.host_count(on_hosts(16)) == 16
  assert hosts.host_count(layouts.Layout.of(config.Compute())) == 1


def test_the_slowest_of_hosts():
  alike = np.full(100, 7)
  assert hosts.slowest(alike, 1000, 1) == 0
  # Of two normals the larger is 1 / sqrt(pi) deviations above their mean.
  two = hosts.slowest(alike, 1000, 2)
  assert two == pytest.approx((2 / 1000 / np.pi) ** 0.5, rel=0.05)
  # One of them does 1.0252 of the mean; so a simulation of the shares says.
  shares = np.random.default_rng(0).binomial(1000, 0.5, 4000)
  measured = np.maximum(shares, 1000 - shares).mean() / 500 - 1
  assert two == pytest.approx(measured, rel=0.05)
  assert hosts.slowest(alike, 4000, 2) == pytest.approx(two / 2)
  # Inputs of which some are long deviate more.
  assert hosts.slowest(np.array([1, 1, 1, 9]), 1000, 2) > 1.5 * two


def test_stages_that_hosts_share_wait_and_training_does_not():
  cfg = paper()
  alone = duration.RunCost(cfg, on_hosts(1), None, None)
  many = duration.RunCost(cfg, on_hosts(16), None, None)
  assert hosts.wait_share(many, train.train, 'train') == 0
  assert hosts.wait_share(alone, draw.draw, 'train') == 0
  of_train = hosts.wait_share(many, score.score, 'train')
  assert 0.02 < of_train < hosts.wait_share(many, score.score, 'test') < 0.2


def test_weights_are_read_at_the_assumed_rate():
  cfg = paper()
  run_cost = duration.RunCost(cfg, on_hosts(16), None, None)
  policy, judge = 2.5e9 * 4, 8.54e9 * 2  # bytes
  for stage, size in [
    (draw.draw, policy),
    (score.score, judge),
    (choose.choose, 10 * policy + judge),
  ]:
    seconds = hosts.load_seconds(run_cost, stage, None)
    assert seconds == pytest.approx(size / hosts.READ, rel=0.01)
  cfg.reward.name = 'rouge'
  assert hosts.load_seconds(run_cost, score.score, None) == 0


def test_memory_of_a_host():
  cfg = paper()
  cfg.compute.attention = 'naive'
  layout = layouts.Layout.of(cfg.compute, examples=cfg.train.batch_size)
  found = hosts.host_memory(cfg, layout)
  assert found.weights == pytest.approx(31.8, abs=0.1)  # the judge, float32
  assert 0.1 < found.examples < 1
  # 43,166 prompts of 1,660 tokens and ten outputs of 560 each, int32.
  assert found.rows == pytest.approx(1.2, abs=0.1)
  # Weights and gradients of 2.5 billion, float32: all devices are this host's.
  assert found.checkpoint == pytest.approx(18.8, rel=0.05)
  assert found.peak == found.examples + max(
    found.weights, found.rows + found.checkpoint
  )


def test_whole_hours_by_hand():
  stages = [
    run.StageHours('sft', 'sft/train', 2.0, load=0.25),
    run.StageHours('rest_pg', 'e_step1/draw', 0.5, wait=0.05),
  ]
  times = [compiling.CompileTime('judge', 12, 150.0)]
  hours = run.whole_hours(stages, times, efficiency=0.5)
  assert hours == {
    'stages': 5.0, 'wait': 0.1, 'load': 0.25, 'compile': 0.5, 'all': 5.85
  }  # fmt: skip
  assert run.whole_line(hours, 16).splitlines() == [
    'with 6.0 min until the slowest of 16 has done its share, 15.0 min of '
    'reading weights at 1 GB/s a host',
    'and 30.0 min of compiling as on this machine: 5.85 h',
  ]
