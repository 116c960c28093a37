"""Facts about restpg_jax/io/speed.py: rates from counts and a clock."""

import dataclasses

import pytest

from restpg_jax.io import speed


class Clock:
  now = 50.0

  def __call__(self):
    return self.now


def test_a_drawing_stage():
  clock = Clock()
  meter = speed.Meter(100, done=18, clock=clock)
  clock.now += 96
  meter.add(2, tokens=50, busy=100, slots=200)  # waited for the compiler
  clock.now += 4
  meter.add(6, tokens=300, busy=320, slots=400)
  meter.add(2, tokens=100, busy=80, slots=100)
  assert dataclasses.asdict(meter.now()) == {
    'sitting': 0,
    'seconds': 100.0,
    'done': 28,
    'total': 100,
    'made': 10,
    'tokens': 450,
    'busy': 500,
    'slots': 700,
    'items_per_s': 2.0,
    'tokens_per_s': 100.0,
    'occupancy': 5 / 7,
    'mean_reward': None,
    'accepted': None,
    'left': 36.0,
    'goodput': None,
  }


def test_a_scoring_stage_counts_who_reaches_the_bar():
  meter = speed.Meter(10, accept=0.7, clock=Clock())
  meter.add(0, rewards=[0.7, 1.0])  # known from an earlier sitting
  meter.add(2, rewards=[0.3, 0.0])
  pace = meter.now()
  assert (pace.mean_reward, pace.accepted) == (0.5, 0.5)
  assert pace.done == 2


def test_without_a_bar_nothing_is_accepted_or_refused():
  meter = speed.Meter(10, clock=Clock())
  meter.add(2, rewards=[0.5, 1.0])
  assert (meter.now().mean_reward, meter.now().accepted) == (0.75, None)


def test_until_something_follows_the_first_result_no_rate_is_known():
  clock = Clock()
  meter = speed.Meter(10, clock=clock)
  clock.now += 90
  meter.add(2)
  pace = meter.now()
  assert pace.seconds == 90
  assert (pace.items_per_s, pace.tokens_per_s, pace.left) == (None, None, None)
  assert speed.rates(pace) == []


def lines():
  """Two sittings: 100 samples in 10 s, killed; 20 more in 2 s."""
  clock = Clock()
  first, found = speed.Meter(120, clock=clock), []
  for _ in range(2):
    clock.now += 5
    first.add(50, tokens=500, busy=60, slots=100)
    found.append(first.now())
  second = speed.Meter(120, done=100, sitting=1, clock=clock)
  clock.now += 2
  second.add(20, tokens=2000, busy=10, slots=10)
  return [*found, second.now()]


def test_all_sittings_together():
  assert speed.overall(lines()) == {
    'items_per_s': 10.0,
    'tokens_per_s': 250.0,
    'occupancy': pytest.approx(130 / 210),
  }


def test_a_sitting_that_only_found_all_done_has_no_rates():
  assert speed.overall([speed.Meter(5, done=5, clock=Clock()).now()]) == {}


def test_what_people_read():
  pace = dataclasses.replace(
    lines()[-1], tokens_per_s=12345.6, mean_reward=0.5234, accepted=0.314
  )
  assert speed.rates(pace) == [
    '12,346 tokens/s',
    '100% of slots busy',
    'mean reward 0.523',
    '31% accepted',
  ]
  assert [speed.short(x) for x in (0.12345, 8.0, 99.94, 100.4)] == [
    '0.123',
    '8',
    '99.9',
    '100',
  ]
