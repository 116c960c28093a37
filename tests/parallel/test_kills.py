"""Runs that are killed at points of all stages, and started again until done.

The long form, of hundreds of kills, is benchmarks/kills.py.
"""

import random

import pytest
from common import kills

pytestmark = pytest.mark.slow

# Processes -> kills of a round.
ROUNDS = {1: 13, 2: 9}


@pytest.fixture(scope='module')
def harness(tmp_path_factory):
  return kills.Harness(tmp_path_factory.mktemp('kills'))


@pytest.mark.parametrize('processes', ROUNDS)
def test_after_any_kill_a_run_goes_on_to_the_same_end(harness, processes):
  number = ROUNDS[processes]
  planned = harness.plan(processes, number, random.Random(processes))
  rows = list(harness.round(f'round-{processes}', processes, planned))
  assert [str(row) for row in rows if row.fault] == []
  assert len(rows) >= number - 1  # the point of one may come no more
