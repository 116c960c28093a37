"""Facts about restpg_jax/backends.py: which devices JAX looks for."""

import importlib.util
import os

import jax
import pytest

from restpg_jax import backends, config, errors
from restpg_jax.parallel import layout


@pytest.fixture
def alone(monkeypatch, tmp_path):
  """A machine with libtpu, no TPU, and nobody who has chosen anything."""
  for name in backends.CHOSEN:
    monkeypatch.delenv(name, raising=False)
  (tmp_path / 'libtpu.py').write_text('')
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setattr(backends.metadata, 'entry_points', lambda group: [])
  found = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    'find_spec',
    lambda name: None if name == 'jax_plugins' else found(name),
  )
  monkeypatch.setenv('JAX_PLATFORMS', '')  # so that it is put back
  monkeypatch.delenv('JAX_PLATFORMS')
  return tmp_path


def chosen(*devices):
  backends.pass_over_tpus(devices)
  return os.environ.get('JAX_PLATFORMS')


def test_libtpu_looks_for_no_tpu_where_there_is_none(alone):
  assert chosen(f'{alone}/accel[0-9]*') == 'cpu'


def test_a_tpu_is_never_hidden(alone):
  (alone / 'accel0').write_text('')
  assert chosen(f'{alone}/accel[0-9]*', f'{alone}/vfio/[0-9]*') is None


def test_a_gpu_is_never_hidden(alone, monkeypatch):
  monkeypatch.setattr(backends.metadata, 'entry_points', lambda group: ['gpu'])
  assert chosen() is None


@pytest.mark.parametrize('name', backends.CHOSEN[1:])
def test_who_has_chosen_is_left_alone(alone, monkeypatch, name):
  monkeypatch.setenv(name, 'x')
  assert chosen() is None


def test_without_libtpu_nothing_is_settled(alone):
  (alone / 'libtpu.py').unlink()
  if not importlib.util.find_spec('libtpu'):
    assert chosen() is None


@pytest.mark.parametrize(
  'value, line',
  [
    ('1', 'JAX_ENABLE_X64=1 is passed over: all runs in 32 bits'),
    ('True', 'JAX_ENABLE_X64=True is passed over: all runs in 32 bits'),
    ('0', ''),
    ('', ''),
  ],
)
def test_numbers_have_32_bits(monkeypatch, value, line):
  monkeypatch.setenv('JAX_ENABLE_X64', value)
  assert backends.keep_32_bits() == line
  assert os.environ.get('JAX_ENABLE_X64') == (None if line else value)


def test_a_platform_that_is_not_here_is_told_in_a_line(monkeypatch):
  def devices():
    raise AssertionError

  assert backends.backend_fault() == ''
  monkeypatch.setattr(jax, 'devices', devices)
  monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
  with pytest.raises(errors.InputError) as caught:
    layout.Layout.of(config.Compute())
  assert str(caught.value) == backends.backend_fault()
  assert backends.backend_fault() == (
    'JAX_PLATFORMS=cuda: JAX has no such device here (AssertionError); unset '
    'it, or install what drives the device'
  )
