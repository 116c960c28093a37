"""Facts about restpg_jax/doctor/machine.py: devices, disk, versions."""

import collections

import pytest

from restpg_jax import config
from restpg_jax.doctor import machine

WEIGHTS = 885_888 * 4  # bytes of tiny_pt in float32
Usage = collections.namedtuple('Usage', 'total used free')


def cfg(**train):
  settings = config.Train(steps=100, checkpoint_every=30, **train)
  return config.Config(train=settings)


@pytest.mark.parametrize(
  'train, keep_all, models',
  [
    # The base, two policies, and four checkpoints of the last fit.
    ({}, False, 1 + 2 + 4),
    ({'optimizer': 'adamw'}, False, 1 + 2 + 4 * 3),
    ({}, True, 1 + 3 * 4),
    ({'lora': config.Lora(rank=4)}, True, 1),
  ],
)
def test_the_weights_that_a_run_writes(train, keep_all, models):
  asked = cfg(**train)
  asked.choose.keep_all = keep_all
  assert machine.bytes_of_run(asked, fits=3) == models * WEIGHTS


def test_a_disk_that_is_too_small_is_told(monkeypatch, tmp_path):
  free = 7 * WEIGHTS
  monkeypatch.setattr(
    machine.shutil, 'disk_usage', lambda path: Usage(0, 0, free)
  )
  workdir = tmp_path / 'not' / 'yet'
  found = machine.disk(cfg(), workdir, fits=3)
  assert found.state == 'ok'
  assert found.said.startswith(f'{tmp_path}: 24 MiB free')
  free -= 1
  found = machine.disk(cfg(), workdir, fits=3)
  assert found.state == 'missing'
  assert 'train.checkpoint_every' in found.remedy
  (workdir / 'base-0123').mkdir(parents=True)  # some is written already
  assert machine.disk(cfg(), workdir, fits=3).state == 'note'


def test_a_disk_of_nobody_knows_what():
  found = machine.disk(cfg(), 'gs://bucket/run', fits=1)
  assert (found.state, found.said.split(':')[0]) == ('ok', 'gs')
  unknown = config.Config(policy=config.Model('nowhere'))
  assert machine.disk(unknown, '.', fits=1).state == 'ok'
  assert machine.disk(cfg(), '.', fits=1).said.endswith(
    '17 MiB of weights at most'
  )
  never = config.Config(train=config.Train(checkpoint_every=0))
  assert machine.disk(never, '.', fits=1).state == 'ok'


def test_accelerators_that_are_not_used(tmp_path):
  (tmp_path / 'accel0').write_text('')
  drivers = {
    f'{tmp_path}/accel[0-9]': "TPUs: pip install 'jax[tpu]'",
    f'{tmp_path}/none*': 'others: nothing',
  }
  (found,) = machine.unused(drivers)
  assert (found.state, found.remedy) == ('note', "pip install 'jax[tpu]'")
  assert found.said == f'{tmp_path}/accel0: this machine has TPUs'


def test_devices_and_whether_the_policy_can_be_laid_out_on_them():
  states = [(f.name, f.state) for f in machine.devices(config.Config())]
  assert states[:2] == [('devices', 'ok'), ('devices, training', 'ok')]
  wrong = config.Config(compute=config.Compute(fsdp=7))
  (found,) = machine.devices(wrong)
  assert found.state == 'broken'
  assert 'compute.fsdp=7 does not divide' in found.said
  odd = config.Config(train=config.Train(lora=config.Lora(rank=-1)))
  states = [(f.name, f.state) for f in machine.devices(odd)]
  assert ('devices, training', 'broken') in states


def test_memory_and_versions():
  assert machine.memory().state == 'ok'
  versions, libtpu = machine.installed()
  assert 'jax 0.' in versions.said
  assert libtpu.state in ('ok', 'note')
