"""Facts about the end of runs over two processes: one cause, one code."""

import os

import pytest

from restpg_jax import assets, main
from restpg_jax.io import lock
from tests import many
from tests.parallel import several

REST = '--process_id=0', '--coordinator=a:1'
pytestmark = pytest.mark.slow


@pytest.fixture
def two(tmp_path):
  return several.Several(tmp_path)


def both(two, code, *, first=(), second=(), change=None):
  """Starts two that end alike; returns the message, which both print."""
  two.start(0, *first)
  two.start(1, *second, change=change)
  ended = two.end()
  assert [e.code for e in ended] == [code, code], two.outputs()
  one, other = (
    e.last.removeprefix('host 0: ').removeprefix('host 1: ') for e in ended
  )
  assert one == other
  return one.removeprefix('error: ')


def test_a_host_that_never_comes_is_named(two):
  two.start(0, '--config.compute.joining=5')
  (ended,) = two.end(60)
  assert ended.code == 75
  assert ended.last.startswith(
    f'error: host 1 did not come (2 processes were to meet at 127.0.0.1:'
    f'{two.port}): start the same command there'
  )


def test_the_first_host_that_never_comes_is_named_with_its_address(two):
  two.start(1, '--config.compute.joining=5')
  (ended,) = two.end(60)
  assert ended.code == 75
  assert ended.last.startswith(
    f'error: host 0, which is to listen on 127.0.0.1:{two.port}, did not come'
  )


def test_another_config_on_one_host(two):
  message = both(two, 2, second=['--config.train.steps=7'])
  assert 'has config.train.steps=7, host 0 has 4' in message
  assert message.startswith('host 1 (')


def test_the_service_waits_for_a_host_that_leaves_late(two):
  second = ['--config.train.steps=7']
  both(two, 2, second=second, change=several.late_leave)


def test_another_version_on_one_host(two):
  message = both(two, 2, change=several.other_version)
  assert 'has jax 0.0.1, host 0 has' in message
  assert 'install the same versions' in message


def test_another_code_on_one_host(two):
  assert 'hash to 0123456789ab' in both(two, 2, change=several.other_code)


def test_a_clock_that_is_late(two):
  message = both(two, 2, change=several.late_clock)
  assert 'its clock is -3,600 s off that of host 0' in message


def test_other_weights_on_one_host(two):
  flag = f'--config.policy.checkpoint={assets.path("tiny_it")}'
  message = both(two, 2, second=[flag])
  assert 'reads (data, weights, tokenizer or templates) are not' in message
  assert 'rest_pg: base' in message


def test_missing_weights_on_one_host(two):
  flag = '--config.policy.checkpoint=/no/such/weights'
  assert '/no/such/weights' in both(two, 2, second=[flag])


def test_a_workdir_that_the_hosts_do_not_share(two):
  two.start(0)
  two.start(1, workdir='other')
  ended = two.end()
  assert [e.code for e in ended] == [2, 2]
  for e in ended:
    assert 'is not the same place for all: host 1 cannot see' in e.last


def test_a_workdir_in_which_another_run_is(two):
  with lock.exclusive(two.folder / 'run'):
    message = both(two, 2)
  assert f'process {os.getpid()} on ' in message
  assert 'is running there' in message


def test_a_port_that_is_in_use(two):
  with several.listening(two.port):
    message = both(
      two,
      2,
      first=['--config.compute.joining=5'],
      second=['--config.compute.joining=5'],
    )
  assert message.startswith(
    f"127.0.0.1:{two.port}: the coordinator's port is in use, by another run"
  )


def test_variables_of_a_job_over_several_slices_on_one_host(two):
  message = both(two, 2, change=several.multislice)
  assert message.startswith('host 1: MEGASCALE_COORDINATOR_ADDRESS: the')


@pytest.mark.parametrize(
  'flags, message',
  [
    (['--num_processes=2'], 'belong together'),
    (['--process_id=1'], 'belong together'),
    (['--coordinator=10.0.0.2:8476'], 'belong together'),
    (['--num_processes=two', *REST], 'must be a whole number'),
    (
      ['--num_processes=2', '--process_id=2', '--coordinator=a:1'],
      'from 0 to 1',
    ),
    (['--num_processes=2', '--process_id=0', '--coordinator=a'], 'HOST:PORT'),
  ],
)
def test_flags_that_mean_no_run(tmp_path, capsys, flags, message):
  (tmp_path / 'small.py').write_text(many.SMALL)
  argv = [f'--config={tmp_path / "small.py"}', f'--workdir={tmp_path / "run"}']
  assert main.main([*argv, *flags]) == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / 'run').exists()
