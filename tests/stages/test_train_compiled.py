"""When training compiles its programs."""

import contextlib

import jax
import pytest
from etils import epath

from restpg_jax import config, types
from restpg_jax.engines import trainer
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import train
from restpg_jax.training import packing
from tests.stages.test_train import fit


@pytest.mark.slow
def test_everything_is_compiled_in_the_first_steps(tmp_path, monkeypatch):
  """Texts of all lengths: no new shape comes up in 20 steps."""
  compiled = []
  sharded = layouts.Layout.sharded

  def counted(self, *args, **kwargs):
    compiled.append(sharded(self, *args, **kwargs))
    return compiled[-1]

  monkeypatch.setattr(layouts.Layout, 'sharded', counted)
  out = epath.Path(tmp_path)
  samples = [
    types.Trajectory('e', j, 'so ' * (1 + j * 7 % 30), reward=1.0)
    for j in range(30)
  ]
  fit(out, config.Compute(), samples, steps=20, batch_size=7, max_output=40)
  accumulate, update = compiled
  # A shape is compiled for a step's first micro-batch, and for the others.
  assert accumulate._cache_size() <= 2 * packing.SHAPES
  assert update._cache_size() == 1


@pytest.mark.slow
def test_hosts_meet_when_a_step_is_compiled(tmp_path, monkeypatch):
  """What one compiles for long, no other waits for inside a collective."""
  events = []

  def compiled(name, seconds, **more):
    del seconds, more
    if name == '/jax/core/compile/backend_compile_duration':
      events.append('compiled')

  def built(*args):
    events.append('built')
    return build(*args)

  build = trainer.training_programs
  monkeypatch.setattr(trainer, 'training_programs', built)
  meet = hosts_lib.Hosts.meet

  def met(hosts, name, **facts):
    events.append(name)
    return meet(hosts, name, **facts)

  monkeypatch.setattr(hosts_lib.Hosts, 'meet', met)
  monkeypatch.setattr(
    train.TrainLoop,
    'check_numbers',
    lambda *args, **kwargs: events.append('first step'),
  )
  jax.clear_caches()
  with monitored(compiled):
    fit(epath.Path(tmp_path), steps=1)
  ready = events.index('ready')
  built = events.index('built')
  assert 'compiled' in events[built:ready]
  assert 'compiled' not in events[ready : events.index('first step')]


@contextlib.contextmanager
def monitored(listener):
  """Calls the listener with every event of JAX that has a duration."""
  jax.monitoring.register_event_duration_secs_listener(listener)
  try:
    yield
  finally:
    jax.monitoring.unregister_event_duration_listener(listener)
