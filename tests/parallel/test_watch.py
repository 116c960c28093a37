"""Facts about the watch of a host: whom it sees die, and what it does then."""

import contextlib
import json
import threading
import time

import pytest

from restpg_jax import interrupts, pulse
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import watch

PERIOD = 0.02


@pytest.fixture(autouse=True)
def still(monkeypatch):
  """A pulse of this test's own, and a main thread that nobody interrupts."""
  monkeypatch.setattr(pulse, 'NOW', pulse.Pulse())
  monkeypatch.setattr(watch, 'GRACE', 0.1)
  monkeypatch.setattr(watch, 'LEAVE', 0.1)
  interrupted = []
  monkeypatch.setattr(interrupts, 'end_now', lambda: interrupted.append(1))
  return interrupted


@contextlib.contextmanager
def watching(folder, index=0, count=2, board=None, silence=0.0, patience=0.0):
  """Gives the codes that the process was ended with, and the hosts."""
  hosts = hosts_lib.Hosts(index, count, board or hosts_lib.Memory())
  codes = []
  with watch.Watch(
    hosts,
    folder,
    silence=silence,
    patience=patience,
    period=PERIOD,
    exit=codes.append,
  ):
    yield codes, hosts


def wait(condition):
  end = time.monotonic() + 5
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.01)


@contextlib.contextmanager
def peer(board, index, where='draw', works=lambda: True):
  """Another host, which gives signs of life while the block runs."""
  stopped = threading.Event()

  def live():
    sign = beats = 0
    while not stopped.wait(PERIOD / 2):
      sign, beats = sign + 1, beats + works()
      text = json.dumps({'sign': sign, 'beats': beats, 'where': where})
      board.put(f'beat/{index}', text)

  thread = threading.Thread(target=live)
  thread.start()
  try:
    yield
  finally:
    stopped.set()
    thread.join()


def test_a_peer_without_a_sign_of_life_is_dead(tmp_path, still, capsys):
  board = hosts_lib.Memory()
  with watching(tmp_path, board=board, silence=0.2) as (codes, hosts):
    with peer(board, 1, 'e_step1/draw'):
      time.sleep(0.4)
      assert not hosts.ended()
    wait(lambda: codes)
  assert codes == [75]
  assert still == [1]  # first the main thread had a chance
  assert hosts.ended() == hosts_lib.End(
    75,
    'error: host 1 gave no sign of life for 0 s, the last from e_step1/draw',
    0,
  )
  assert 'the last from e_step1/draw' in capsys.readouterr().err


def test_a_peer_that_never_gave_one_is_dead_as_well(tmp_path):
  with watching(tmp_path, silence=0.1) as (codes, hosts):
    wait(lambda: codes)
  assert 'the last from its start' in hosts.ended().cause


def test_silence_0_waits_for_ever(tmp_path):
  with watching(tmp_path) as (codes, hosts):
    time.sleep(0.3)
    assert not hosts.ended()


def test_no_progress_leaves_the_stacks_of_all_threads(tmp_path):
  (tmp_path / watch.FOLDER).mkdir()
  pulse.NOW.where = 'sft/train'
  with watching(tmp_path, count=1, patience=0.2) as (codes, hosts):
    wait(lambda: codes)
  stacks = tmp_path / 'hosts' / '00000.stacks.txt'
  assert hosts.ended().cause == (
    'error: no progress in sft/train for 0.00333333 minutes (compute.patience);'
    f' the stacks of all threads are in {stacks}'
  )
  assert 'test_no_progress_leaves' in stacks.read_text()
  assert codes == [75]


def test_progress_is_seen(tmp_path):
  with watching(tmp_path, count=1, patience=0.2) as (codes, hosts):
    for _ in range(20):
      pulse.beat()
      time.sleep(0.03)
    assert not hosts.ended()


def test_who_waits_for_a_host_that_works_may_wait(tmp_path):
  board = hosts_lib.Memory()
  with (
    peer(board, 1),
    pulse.waiting_at('draw/end'),
    watching(tmp_path, board=board, patience=0.2) as (codes, hosts),
  ):
    time.sleep(0.8)
    assert not hosts.ended()


def test_hosts_that_all_wait_for_each_other_end(tmp_path):
  board = hosts_lib.Memory()
  with (
    peer(board, 1, 'score/begin', works=lambda: False),
    pulse.waiting_at('draw/end'),
    watching(tmp_path, board=board, patience=0.2) as (codes, hosts),
  ):
    wait(lambda: codes)
  assert hosts.ended().cause.endswith(
    'host 0 is at draw/end, host 1 is at score/begin'
  )


def test_the_end_of_another_host_ends_this_one(tmp_path, still, capsys):
  with watching(tmp_path) as (codes, hosts):
    hosts_lib.Hosts(1, 2, hosts.board).end(2, 'error: no such file')
    wait(lambda: codes)
  assert codes == [2]
  assert capsys.readouterr().err == 'host 1: error: no such file\n'


def test_an_end_that_the_main_thread_has_stated_is_left_to_it(tmp_path, still):
  with watching(tmp_path) as (codes, hosts):
    hosts.end(1, 'error: disk full')
    wait(lambda: codes)
  assert still == []  # but it must come to its end, by and by
  assert codes == [1]


def test_where_the_board_is_gone_the_process_ends_after_silence(tmp_path):
  class Gone(hosts_lib.Memory):
    def put(self, key, text):
      raise RuntimeError('UNAVAILABLE: connection refused\nand a stack')

    list = claim = get = put

  with watching(tmp_path, index=1, board=Gone(), silence=0.2) as (codes, _):
    wait(lambda: codes)
  assert codes == [75]


def test_a_heartbeat_file_says_where_a_host_is(tmp_path, monkeypatch):
  monkeypatch.setattr(watch, 'FILE_PERIOD', 0.05)
  pulse.NOW.where = 'eval0/score'
  path = tmp_path / 'hosts' / '00001.json'
  with watching(tmp_path, index=1):
    wait(path.exists)
    wait(lambda: path.read_text().endswith('}\n'))
  state = json.loads(path.read_text())
  assert state['where'] == 'eval0/score'
  assert state['seconds_without_progress'] >= 0


def test_before_the_first_stage_the_workdir_is_left_alone(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(watch, 'FILE_PERIOD', 0.0)
  pulse.NOW.where = pulse.STARTING  # it may be another run's
  with watching(tmp_path, index=1):
    time.sleep(0.5)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('call', ['put', 'claim'])
def test_a_board_that_does_not_answer_ends_the_process(tmp_path, call):
  """As that of a first host that is stopped: calls wait without end.

  It may stop between its last answer and the cause that this host states.
  """
  answers = threading.Event()
  board = hosts_lib.Memory()
  setattr(board, call, lambda key, text: answers.wait())
  with watching(tmp_path, index=1, board=board, silence=0.2) as (codes, _):
    wait(lambda: codes)
    answers.set()
  assert codes == [75]


def test_who_comes_to_its_end_where_the_board_is_gone_says_why(
  tmp_path, still, capsys, monkeypatch
):
  """Its main thread unwinds at once, and could not take leave of anybody."""
  monkeypatch.setattr(watch, 'GRACE', 60.0)

  def gone(*_):
    raise RuntimeError('UNAVAILABLE: no connection')

  board = hosts_lib.Memory()
  board.put = board.list = board.get = gone
  hosts, codes = hosts_lib.Hosts(1, 2, board), []
  with watch.Watch(
    hosts,
    tmp_path,
    silence=0.2,
    patience=0.0,
    period=PERIOD,
    exit=codes.append,
  ) as watching_it:
    watching_it.exit_if_gone()
    assert not codes  # it may yet answer
    wait(lambda: still)
  watching_it.exit_if_gone()
  assert codes == [75]
  assert capsys.readouterr().err == (
    'error: the first host gave no answer for 0 s (UNAVAILABLE: no '
    'connection)\n'
  )


def test_a_disk_that_stands_still_keeps_no_watch_from_its_work(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(watch, 'FILE_PERIOD', 0.0)
  writes = threading.Event()
  monkeypatch.setattr(
    watch.Watch, '_write_file', lambda self, state: writes.wait()
  )
  with watching(tmp_path, silence=0.2) as (codes, _):
    wait(lambda: codes)
  writes.set()
  assert codes == [75]
