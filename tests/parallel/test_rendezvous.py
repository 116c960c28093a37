"""Facts about the meeting of processes before the runtime starts."""

import contextlib
import socket
import threading
import time

import pytest

from restpg_jax import errors
from restpg_jax.parallel import rendezvous


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr(rendezvous, 'PAUSE', 0.02)
  monkeypatch.setattr(rendezvous, 'ANSWERS', 0.3)


@pytest.fixture
def address():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  return f'127.0.0.1:{port}'


def meet(address, *processes, seconds=5.0):
  """What each of (index, count, fault, delay) raises; None: all is well."""
  raised = {}

  def come(number, index, count, fault='', delay=0.0):
    time.sleep(delay)
    try:
      rendezvous.come_together(
        address, count=count, index=index, seconds=seconds, fault=fault
      )
      raised[number] = None
    except Exception as error:
      raised[number] = error

  threads = [
    threading.Thread(target=come, args=(number, *process))
    for number, process in enumerate(processes)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return [raised[n] for n in range(len(processes))]


def test_all_go_on_in_whatever_order_they_come(address):
  raised = meet(address, (0, 3, '', 0.2), (1, 3), (2, 3, '', 0.4))
  assert raised == [None] * 3


def test_those_who_came_are_told_who_is_missing(address):
  raised = meet(address, (0, 4), (2, 4), seconds=0.5)
  for error in raised:
    assert isinstance(error, errors.TryAgain)
    assert str(error) == (
      f'hosts 1 and 3 did not come (4 processes were to meet at {address}): '
      'start the same command there, with --process_id of that number where it '
      'is given by flags'
    )


def test_without_the_first_the_others_say_where_it_is_to_listen(address):
  (error,) = meet(address, (1, 2), seconds=0.3)
  assert isinstance(error, errors.TryAgain)
  assert str(error).startswith(
    f'host 0, which is to listen on {address}, did not come within 0 s '
    '(Connection refused); this is host 1 of 2'
  )


def test_two_of_one_number_end_all(address):
  raised = meet(address, (0, 4), (1, 4), (3, 4, '', 0.3), (1, 4, '', 0.6))
  for error in raised:
    assert isinstance(error, errors.InputError)
    assert 'two processes were started with --process_id=1' in str(error)


def test_other_numbers_of_processes_end_all(address):
  raised = meet(address, (0, 3), (1, 3), (2, 4, '', 0.3))
  for error in raised:
    assert isinstance(error, errors.InputError)
    assert str(error) == (
      'host 2 was started with --num_processes=4, host 0 with 3; give all the '
      'same number'
    )


@pytest.mark.parametrize('bad', [0, 1])
def test_bad_input_of_one_ends_all_once_they_have_come(address, bad):
  faults = ['MEGASCALE_X is set' * (n == bad) for n in range(3)]
  raised = meet(address, *((n, 3, faults[n], 0.1 * n) for n in range(3)))
  for error in raised:
    assert isinstance(error, errors.InputError)
    assert str(error).endswith('MEGASCALE_X is set')
  assert str(raised[2]).startswith('host 1: ' * bad)


def test_one_that_was_started_again_takes_its_old_place(address):
  host, _, port = address.rpartition(':')

  def end_at_once():
    time.sleep(0.2)
    with socket.create_connection((host, int(port))) as connection:
      assert connection.recv(7) == rendezvous.GREETING
      connection.sendall(b'{"index": 1, "count": 3, "fault": ""}\n')

  thread = threading.Thread(target=end_at_once)
  thread.start()
  raised = meet(address, (0, 3), (1, 3, '', 0.6), (2, 3, '', 0.8))
  thread.join()
  assert raised == [None] * 3


def test_visitors_who_say_something_else_are_passed_over(address):
  host, _, port = address.rpartition(':')

  def visit():
    for text in (b'GET / HTTP/1.1\r\n\r\n', b'', b'[1]\n', b'{}\n'):
      with (
        contextlib.suppress(OSError),
        socket.create_connection((host, int(port))) as connection,
      ):
        connection.sendall(text)

  thread = threading.Timer(0.1, visit)
  thread.start()
  raised = meet(address, (0, 2), (1, 2, '', 0.5))
  thread.join()
  assert raised == [None, None]


@pytest.mark.parametrize('reply', [b'', b'HTTP/1.1 400 Bad Request\r\n\r\n'])
def test_a_port_of_somebody_else_is_said_by_all(address, reply):
  host, _, port = address.rpartition(':')
  with socket.create_server((host, int(port))) as other:
    other.settimeout(0.1)
    ended = threading.Event()

    def answer():
      while not ended.is_set():
        with contextlib.suppress(OSError):
          connection, _ = other.accept()
          connection.sendall(reply)

    thread = threading.Thread(target=answer)
    thread.start()
    raised = meet(address, (0, 2), (1, 2), seconds=0.6)
    ended.set()
    thread.join()
  for error in raised:
    assert isinstance(error, errors.InputError)
    assert str(error).startswith(
      f"{address}: the coordinator's port is in use, by another run"
    )
