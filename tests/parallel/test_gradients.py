"""Facts about how the weights' gradients of 8 devices become one."""

import pathlib

import pytest

from tests import many

pytestmark = pytest.mark.slow

HERE = pathlib.Path(__file__).parent
MESHES = '8x1x1x1', '2x2x1x2', '2x2x2x1', 'adapters'


@pytest.fixture(scope='module')
def eight():
  """What gradients.py found, in a process with 8 virtual devices."""
  return many.of_eight_devices(HERE / 'gradients.py')


@pytest.mark.parametrize('mesh', MESHES)
def test_no_gradient_of_a_weight_is_reduced_in_bfloat16(eight, mesh):
  kinds = {'all-reduce f32', 'reduce-scatter f32'}
  assert set(eight['reductions'][mesh]) <= kinds


@pytest.mark.parametrize('mesh', ['2x2x1x2', '2x2x2x1'])
def test_each_device_is_sent_its_part_of_the_sum(eight, mesh):
  # q, k, v, out, gate, up and down of two layers
  assert eight['reductions'][mesh]['reduce-scatter f32'] == 2 * 7


def test_gradients_of_adapters_are_summed_whole(eight):
  # Two matrices for each projection; embedding and layers are frozen.
  assert eight['reductions']['adapters'] == {'all-reduce f32': 2 * 2 * 7}


@pytest.mark.parametrize('mesh', MESHES)
def test_the_sum_of_the_shares_is_the_gradient(eight, mesh):
  assert eight['exact'][mesh]


def test_bfloat16_products_on_eight_devices_lose_nothing_in_the_sum(eight):
  assert eight['error'] < 1e-5
  assert eight['rounded'] > 1e-4  # the measure sees a share that is rounded
