"""Facts about restpg_jax/parallel/layout.py, most of them on 8 devices."""

import dataclasses
import pathlib

import jax
import pytest

from restpg_jax import config, errors
from restpg_jax.parallel import layout as layouts
from restpg_jax.parallel import mesh as meshes
from tests import many

HERE = pathlib.Path(__file__).parent
# compute.fsdp, or the whole mesh -> devices that share weights, of model
MESHES = {
  '0': (8, 1),
  '1': (1, 1),
  '4': (4, 1),
  '2x2x1x2': (2, 2),
  '1x2x2x2': (4, 2),
}
SIZES = pytest.mark.parametrize('mesh', MESHES)


@pytest.fixture(scope='module')
def eight():
  """What eight_devices.py found, in a process with 8 virtual devices."""
  return many.of_eight_devices(HERE / 'eight_devices.py')


@pytest.mark.slow
@SIZES
def test_training_on_eight_devices_equals_training_on_one(eight, mesh):
  assert eight['devices'][mesh] == 8
  assert eight['difference'][mesh] < 1e-5
  assert eight['moved'] > 1e-2  # 20 steps of training did something


@pytest.mark.slow
@SIZES
def test_each_device_holds_its_part_of_the_weights(eight, mesh):
  f, m = MESHES[mesh]
  assert eight['shards'][mesh] == {
    'embedding': [128 // (m * f), 128],
    'q': [2, 128 // f, 128 // m],
    'down': [2, 128 // m, 128 // f],
    'scale': [128],
  }


@pytest.mark.slow
def test_the_state_of_the_optimizer_is_born_in_parts(eight):
  assert eight['born'] == [[32, 128]]


@pytest.mark.slow
def test_parts_of_a_row_see_what_the_whole_row_sees(eight):
  assert eight['parted'] < 1e-5
  assert eight['turned'] < 1e-5


@pytest.mark.slow
def test_samples_on_eight_devices_are_those_of_one(eight):
  assert eight['samples'] == 20
  assert eight['alike']


@pytest.mark.slow
def test_devices_draw_without_a_word_to_each_other(eight):
  assert eight['collectives']['1'] == []
  assert 'all-reduce' in eight['collectives']['8']  # the search does find some


@pytest.mark.slow
def test_a_model_may_be_shared_by_several_devices(eight):
  assert eight['weights'] == {'1': 128 * 128, '2': 64 * 128, '8': 16 * 128}
  assert eight['shared'] == {'2': True, '8': True}


@pytest.mark.slow
def test_what_does_not_divide_is_the_users_error(eight):
  assert eight['errors'] == [
    'compute.fsdp=3 does not divide 8 devices',
    'compute.fsdp=4 times compute.model=4 does not divide 8 devices',
    'compute.sequence=3 must be one of 1, 2, 4, 8, 16, or 0',
  ]


def test_all_devices_are_used():
  layout = layouts.Layout.of(config.Compute())
  assert layout.devices == jax.device_count()
  assert layout.mesh.axis_names == ('data', 'fsdp', 'sequence', 'model')


@dataclasses.dataclass(frozen=True)
class Device:
  platform: str
  id: int
  process_index: int = 0


@pytest.mark.parametrize(
  ('platform', 'devices', 'examples', 'expected', 'more'),
  [
    # v4:4x4x4, v4:2x4x4 and a host: 16 examples of a step fill a device's rows.
    ('tpu', 64, 64, (4, 1, 16, 1), {}),
    ('tpu', 32, 64, (2, 2, 8, 1), {}),
    ('tpu', 4, 64, (1, 4, 1, 1), {}),
    # More than 16 devices do not share a row.
    ('tpu', 512, 64, (32, 1, 16, 1), {}),
    # What is set is left as it is.
    ('tpu', 64, 64, (2, 16, 2, 1), {'fsdp': 16, 'sequence': 2}),
    ('tpu', 64, 64, (1, 32, 2, 1), {'fsdp': 32}),
    ('tpu', 64, 64, (2, 2, 8, 2), {'model': 2}),
    # Other kinds of attention cannot be parted, or nothing is trained.
    ('tpu', 64, 64, (4, 16, 1, 1), {'attention': 'blocks'}),
    ('tpu', 64, 0, (4, 16, 1, 1), {}),
    ('gpu', 64, 64, (4, 16, 1, 1), {}),
  ],
)
def test_devices_share_rows_that_the_examples_would_not_fill(
  platform, devices, examples, expected, more
):
  fake = [Device(platform, n) for n in range(devices)]
  mesh = meshes.make_mesh(fake, config.Compute(**more), examples)
  assert tuple(mesh.shape.values()) == expected


def test_more_parts_than_devices_are_refused():
  n = jax.device_count() + 1
  with pytest.raises(errors.InputError, match=f'compute.fsdp={n} does not'):
    layouts.Layout.of(config.Compute(fsdp=n))


def test_shards_of_no_number_of_devices_are_refused():
  n = jax.device_count() + 1
  with pytest.raises(errors.InputError, match=f'compute.shards={n} does not'):
    layouts.Layout.of(config.Compute(shards=n))


def test_memory_is_what_is_said_or_half_of_what_a_cpu_has():
  assert layouts.Layout.of(config.Compute(memory=0.5)).memory == 2**29
  (total,) = [
    int(line.split()[1]) * 1024
    for line in pathlib.Path('/proc/meminfo').read_text().splitlines()
    if line.startswith('MemTotal:')
  ]
  layout = layouts.Layout.of(config.Compute())
  assert layout.memory == total // 2 // layout.devices


def test_a_cpu_is_parted_before_it_is_used_or_never():
  n = jax.device_count()
  assert layouts.Layout.of(config.Compute(cpu_devices=n)).devices == n
  with pytest.raises(errors.InputError, match=f'has {n} already; start anoth'):
    layouts.Layout.of(config.Compute(cpu_devices=n + 1))
