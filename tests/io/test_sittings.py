"""Facts about what a stage notes of its time."""

import threading
import time
from concurrent import futures

import jax
import pytest

from restpg_jax import pulse
from restpg_jax.io import progress, records, sittings, speed
from restpg_jax.parallel import hosts as hosts_lib

ONE = hosts_lib.Hosts()


class Clock:
  """Time that passes when a test says so."""

  def __init__(self):
    self.now = 100.0

  def monotonic(self) -> float:
    return self.now


@pytest.fixture
def clock(monkeypatch):
  clock = Clock()
  for module in (pulse, sittings):
    monkeypatch.setattr(module, 'time', clock)
  monkeypatch.setattr(pulse, 'NOW', pulse.Pulse())
  return clock


def sitting(folder, clock, *, loading, saved, lost, hosts=ONE):
  """A killed one, in which items were put on disk for `saved` seconds."""
  with (
    pytest.raises(KeyboardInterrupt),
    sittings.account(folder, hosts, period=1e6),
  ):
    clock.now += loading
    pulse.beat(1)
    clock.now += saved
    pulse.saved()
    clock.now += lost
    raise KeyboardInterrupt


def numbers(line):
  return (
    *(line.seconds, line.useful, line.compiling, line.waiting, line.redone),
    line.finished,
  )


def test_what_was_not_on_disk_at_a_kill_is_redone(tmp_path, clock):
  sitting(tmp_path, clock, loading=2, saved=5, lost=3)
  (line,) = sittings.read(tmp_path)
  assert numbers(line) == (10, 7, 0, 0, 3, False)


def test_so_is_loading_after_a_kill_but_not_after_an_end(tmp_path, clock):
  sitting(tmp_path, clock, loading=2, saved=5, lost=0)
  for _ in range(2):
    with sittings.account(tmp_path, ONE):
      clock.now += 2
      pulse.beat(1)
      clock.now += 4
  _, second, third = sittings.read(tmp_path)
  assert numbers(second) == (6, 4, 0, 0, 2, True)
  assert numbers(third) == (6, 6, 0, 0, 0, True)
  assert [second.sitting, third.sitting] == [1, 2]


def test_of_a_stage_that_puts_nothing_on_disk_all_is_redone(tmp_path, clock):
  for again in (False, True):
    with pytest.raises(OSError), sittings.account(tmp_path, ONE):
      clock.now += 2
      pulse.beat(again)  # a loading that is lost anyway counts once
      clock.now += 2
      raise OSError
    assert numbers(sittings.read(tmp_path)[-1]) == (4, 0, 0, 0, 4, False)


def test_compiling_and_waiting_are_neither_useful_nor_redone(tmp_path, clock):
  with pytest.raises(KeyboardInterrupt), sittings.account(tmp_path, ONE):
    clock.now += 1
    pulse.saved()
    clock.now += 4
    pulse.NOW.compiled += 4
    pulse.NOW.programs += 2
    clock.now += 0.5
    with pulse.waiting_at('shares'):
      clock.now += 7
      raise KeyboardInterrupt
  (line,) = sittings.read(tmp_path)
  assert numbers(line) == (12.5, 1, 4, 7, 0.5, False)
  assert line.programs == 2


def test_lines_of_metrics_have_what_was_spent_until_then(tmp_path, clock):
  log = tmp_path / 'metrics.jsonl'
  with sittings.account(tmp_path, ONE, period=1e6):
    clock.now += 2
    pulse.NOW.compiled += 2
    with progress.bar(4, 'samples', 'draw1', log=log) as shown:
      clock.now += 3
      shown.update(4)
      pulse.saved()
    clock.now += 5  # after the line
  (line,) = records.read(log, speed.Pace)
  assert line.goodput == speed.Spent(5, 2, 0, 0, 0)
  assert line.goodput.useful == 3
  assert sittings.so_far() is None


def test_hosts_that_are_threads_end_in_any_order(tmp_path, clock):
  inside = [threading.Event(), threading.Event()]
  outside = threading.Event()

  def first():
    with sittings.account(tmp_path / 'a', ONE, period=1e6):
      inside[0].set()
      inside[1].wait(60)
    outside.set()

  def second():
    inside[0].wait(60)
    with sittings.account(tmp_path / 'b', ONE, period=1e6):
      inside[1].set()
      outside.wait(60)
      assert sittings.so_far() is not None
    assert sittings.so_far() is None

  with futures.ThreadPoolExecutor(2) as pool:
    for done in [pool.submit(first), pool.submit(second)]:
      done.result(60)
  assert sittings.so_far() is None


def test_a_wait_counts_while_it_goes_on(clock):
  with pulse.waiting_at('shares'):
    clock.now += 7
    assert pulse.waited() == 7
  assert pulse.waited() == 7


def test_each_host_has_its_file_and_a_torn_line_costs_itself(tmp_path, clock):
  other = hosts_lib.Hosts(1, 2, hosts_lib.Memory())
  sitting(tmp_path, clock, loading=1, saved=0, lost=0, hosts=other)
  sitting(tmp_path, clock, loading=1, saved=0, lost=0)
  files = tmp_path / 'goodput.jsonl', tmp_path / 'goodput-00001.jsonl'
  with files[0].open('ab') as file:
    file.write(b'{"host": 0, "hos')
  sitting(tmp_path, clock, loading=3, saved=0, lost=0)
  lines = sittings.read(tmp_path)
  assert sorted((s.host, s.hosts, s.sitting, s.seconds) for s in lines) == [
    *((0, 1, 0, 1), (0, 1, 1, 3), (1, 2, 0, 1))
  ]
  assert len(list(records.read(files[1], sittings.Sitting))) == 2


def test_a_kill_leaves_the_line_of_every_period(tmp_path):
  with sittings.account(tmp_path, ONE, period=0.01):
    path = tmp_path / 'goodput.jsonl'
    while path.read_bytes().count(b'\n') < 4:
      time.sleep(0.01)
    before = sittings.read(tmp_path)[0]
  (line,) = sittings.read(tmp_path)
  assert (before.finished, line.finished) == (False, True)
  assert 0 < before.seconds <= line.seconds


def test_a_folder_of_older_versions_has_none(tmp_path):
  assert sittings.read(tmp_path) == []


def test_each_second_is_counted_once():
  spans = sittings.Spans()
  times = [(2, 3), (1, 5), (5, 6), (5.5, 8), (4, 9), (0, 10)]
  assert [spans.add(*span) for span in times] == [1, 3, 1, 2, 1, 2]


@pytest.fixture
def all_cached():
  """Programs are kept on disk however quickly they compile."""
  name = 'jax_persistent_cache_min_compile_time_secs'
  before = getattr(jax.config, name)
  jax.config.update(name, 0.0)
  yield
  jax.config.update(name, before)


def test_what_jax_compiles_is_counted(tmp_path, all_cached):
  x = jax.numpy.ones([3, 3])
  for _ in range(2):

    def program(x):  # a new one to JAX, and the same to its cache on disk
      inner = jax.jit(lambda x: jax.numpy.sin(x) @ x)
      return inner(x) + inner(2 * x)

    with sittings.account(tmp_path, ONE):
      jax.jit(program)(x)
  cold, warm = sittings.read(tmp_path)
  assert 0 < cold.compiling < cold.seconds
  assert cold.programs == 1
  # Read from the cache of the tests: that takes time, but compiles nothing.
  assert 0 < warm.compiling < warm.seconds
  assert warm.programs == 0
