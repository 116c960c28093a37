"""Facts about hosts that share a board: how they meet, and how all end."""

import dataclasses
import threading
from concurrent import futures

import pytest

from restpg_jax import interrupts
from restpg_jax.parallel import hosts as hosts_lib


def together(count, function, board=None):
  """What function(hosts) gives on each host, or the exception it raises."""
  board = board or hosts_lib.Memory()

  def called(n):
    try:
      return function(hosts_lib.Hosts(n, count, board))
    except Exception as error:
      return error

  with futures.ThreadPoolExecutor(count) as pool:
    return list(pool.map(called, range(count)))


def test_each_name_is_one_hosts_and_the_share_follows_from_it_alone():
  names = [f'email_generation/train/{n}' for n in range(1000)]
  owners = [[h for h in hosts(4) if h.owns(name)] for name in names]
  assert all(len(owner) == 1 for owner in owners)
  shares = [sum(owner[0].index == n for owner in owners) for n in range(4)]
  assert min(shares) > 200
  # Written out: a share that moved would draw everything once more.
  assert [owner[0].index for owner in owners[:8]] == [1, 2, 2, 1, 1, 0, 2, 3]


def hosts(count):
  return [hosts_lib.Hosts(n, count) for n in range(count)]


def test_a_name_that_is_no_utf8_is_somebodys_too():
  assert sum(h.owns('half a pair \ud800') for h in hosts(2)) == 1


def test_all_learn_what_each_stated_in_order():
  met = together(3, lambda h: h.at('draw').meet('end', number=h.index))
  assert met == [[{'number': 0}, {'number': 1}, {'number': 2}]] * 3


def test_only_the_first_goes_on_from_a_gathering():
  gathered = together(2, lambda h: h.gather(made=h.index))
  assert gathered == [[{'made': 0}, {'made': 1}], []]


def test_a_host_alone_meets_itself():
  assert hosts_lib.ONE.gather(made=3) == [{'made': 3}]


def test_who_does_not_come_in_time_is_named():
  def meet(h):
    return h.at('draw').meet('end', seconds=0.2) if h.index == 1 else None

  ended = together(3, meet)[1]
  assert isinstance(ended, hosts_lib.Ended)
  assert ended.end == hosts_lib.End(
    75, 'error: hosts 0 and 2 did not come to draw/end within 0 s', 1
  )


def test_nobody_waits_for_a_host_that_ended_and_all_get_its_cause():
  def meet(h):
    if h.index == 1:
      return h.end(2, 'error: no such file')
    return h.meet('end')

  first, _, third = together(3, meet)
  for ended in (first, third):
    assert ended.end == hosts_lib.End(2, 'error: no such file', 1)
    assert ended.line == 'host 1: error: no such file'


def test_the_first_cause_counts_and_its_own_host_prints_it_as_it_is():
  board = hosts_lib.Memory()
  zero, one = (hosts_lib.Hosts(n, 2, board) for n in range(2))
  zero.end(1, 'error: disk full')
  late = one.end_with(75, 'error: host 0 is gone')
  assert (late.end.code, late.line) == (1, 'host 0: error: disk full')
  assert zero.end_with(75, 'x').line == 'error: disk full'


def test_an_end_can_be_stated_where_the_board_is_gone():
  class Gone(hosts_lib.Memory):
    def claim(self, key, text):
      raise RuntimeError('UNAVAILABLE')

  assert hosts_lib.Hosts(1, 2, Gone()).end(75, 'x') == hosts_lib.End(75, 'x', 1)


def test_until_gives_up_after_its_time():
  assert not hosts_lib.ONE.until(lambda: False, 0.05)
  assert hosts_lib.ONE.until(lambda: True, 0.0)


def test_all_stop_at_the_same_step_when_one_is_asked_to(monkeypatch):
  asked, together_on = threading.local(), threading.Barrier(3)
  monkeypatch.setattr(interrupts, 'noted', lambda: getattr(asked, 'to', ''))

  def train(h):
    for step in range(1, 50):
      together_on.wait()  # as the collectives of a step
      if h.index == 2 and step == 7:
        asked.to = 'SIGTERM'
      if cause := h.at('sft').stopping('train', step):
        return step, cause
    raise AssertionError('nobody stopped')

  ended = together(3, train)
  assert len({*ended}) == 1
  step, cause = ended[0]
  assert cause == 'SIGTERM on host 2'
  assert 7 <= step <= 9


def test_a_decision_is_not_left_behind_for_ever():
  board = hosts_lib.Memory()
  for step in range(1, 20):
    hosts_lib.Hosts(0, 2, board).stopping('train', step)
  assert len(board.list('step')) == 2


def test_who_waits_for_a_decision_ends_with_the_run():
  board = hosts_lib.Memory()
  zero, one = (hosts_lib.Hosts(n, 2, board) for n in range(2))
  zero.end(1, 'error: x')
  with pytest.raises(hosts_lib.Ended):
    one.stopping('train', 3)


def test_the_first_host_leaves_last():
  left = []

  def leave(h):
    if h.index:
      threading.Event().wait(0.2)
      left.append(h.index)
    h.leave(5)
    if h.first:
      left.append(0)

  together(3, leave)
  assert left[-1] == 0


def test_hosts_are_listed_as_people_do():
  assert hosts_lib.listed([3]) == 'host 3'
  assert hosts_lib.listed([1, 2, 5]) == 'hosts 1, 2 and 5'


def test_the_hosts_of_a_stage_differ_in_the_names_of_their_barriers_only():
  whole = hosts_lib.Hosts(1, 2)
  stage = whole.at('draw-0123')
  assert dataclasses.replace(stage, prefix='') == whole
  assert stage.prefix == 'draw-0123/'


def test_a_part_of_a_part_has_the_names_of_both():
  stage = hosts_lib.Hosts(1, 2).at('member3').at('draw-0123')
  assert stage.prefix == 'member3/draw-0123/'
