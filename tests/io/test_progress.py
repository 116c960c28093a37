"""Facts about restpg_jax/io/progress.py."""

import json
import os
import pty
import sys
import termios
import time

import pytest

from restpg_jax.io import progress


class Clock:
  now = 100.0

  def __call__(self):
    return self.now


def test_a_line_at_most_every_ten_seconds(capsys):
  clock = Clock()
  beat = progress.Heartbeat(1000, 'examples', 'draw/1', clock=clock)
  for _ in range(25):  # 8 examples each second
    clock.now += 1
    beat.update(8)
  # The clock of the rates begins with the first 8.
  assert capsys.readouterr().err.splitlines() == [
    'draw/1: 80 of 1,000 examples, 8 examples/s, 0:01:55 left',
    'draw/1: 160 of 1,000 examples, 8 examples/s, 0:01:45 left',
  ]


def test_what_was_there_before_is_not_in_the_rate(capsys):
  clock = Clock()
  beat = progress.Heartbeat(8000, 'steps', 'train', done=4000, clock=clock)
  beat.update(1)
  clock.now += 10
  beat.update(5)
  assert capsys.readouterr().err == (
    'train: 4,006 of 8,000 steps, 0.5 steps/s, 2:13:08 left\n'
  )


def test_compiling_is_not_in_the_rate_nor_in_the_time_left(capsys):
  clock = Clock()
  beat = progress.Heartbeat(500, 'examples', 'reason', clock=clock)
  clock.now += 240  # of compiling
  beat.update(4)
  clock.now += 10
  beat.update(20)
  beat.end()
  assert capsys.readouterr().err == (
    'reason: 24 of 500 examples, 2 examples/s, 0:03:58 left\n'
  )


def waited(monkeypatch, capsys, **how):
  """What stands there before the first result of 4, of which 2 were there."""
  monkeypatch.setattr(progress, 'PERIOD', 0.01)
  with progress.bar(4, 'examples', 'reason', **how):
    time.sleep(0.1)
  return capsys.readouterr().err


def test_until_the_first_result_it_says_that_it_compiles(monkeypatch, capsys):
  said = waited(monkeypatch, capsys, done=2)
  assert said == 'reason: 2 of 4 examples, compiling\n'


def test_nothing_is_compiled_for_what_is_done_or_needs_none(
  monkeypatch, capsys
):
  assert waited(monkeypatch, capsys, done=4) == ''
  assert waited(monkeypatch, capsys, compiles=False) == ''


def test_quick_work_is_silent_where_there_is_no_terminal(capsys):
  with progress.bar(2, 'examples', 'a') as bar:
    bar.update(1)
    bar.update()
  found = capsys.readouterr()
  assert (found.out, found.err) == ('', '')


END = '[end]'


def show(monkeypatch, columns):
  """What a bar of 2 to 3 of 4 prints on a terminal so wide."""

  def work():
    with progress.bar(4, 'examples', 'draw/1', done=2) as bar:
      bar.update(1)

  return on_terminal(monkeypatch, columns, work)


def on_terminal(monkeypatch, columns, work):
  """What `work` prints on a terminal so wide."""
  outside, inside = pty.openpty()
  termios.tcsetwinsize(inside, (24, columns))
  with open(inside, 'w') as terminal:
    monkeypatch.setattr(sys, 'stderr', terminal)
    work()
    terminal.write(END)
    terminal.flush()
    shown = ''
    while not shown.endswith(END):  # a terminal hands on what it got in pieces
      shown += os.read(outside, 10_000).decode()
  os.close(outside)
  return shown.removesuffix(END)


def test_a_bar_on_a_terminal(monkeypatch):
  shown = show(monkeypatch, 80)
  assert 'draw/1' in shown
  assert '2/4 [00:00, compiling]' in shown
  assert shown.endswith('\r')  # the bar makes way for the stage's line


def test_no_bar_on_a_terminal_without_width(monkeypatch):
  assert show(monkeypatch, 0) == ''


def test_the_line_of_a_drawing_and_of_a_scoring_stage(capsys):
  clock = Clock()
  draw = progress.Heartbeat(100, 'samples', 'draw1', clock=clock)
  score = progress.Heartbeat(50, 'answers', 'score', clock=clock, accept=0.7)
  for beat in (draw, score):
    beat.update(1, tokens=0)
  clock.now += 10
  draw.update(40, tokens=2100, busy=870, slots=1000)
  score.update(10, tokens=20_000, rewards=[0.7, 0.3, 1.0, 0.0])
  assert capsys.readouterr().err.splitlines() == [
    'draw1: 41 of 100 samples, 4 samples/s, 210 tokens/s, 87% of slots busy, '
    '0:00:14 left',
    'score: 11 of 50 answers, 1 answers/s, 2,000 tokens/s, mean reward 0.500, '
    '50% accepted, 0:00:39 left',
  ]


def test_a_bar_says_the_same(monkeypatch):
  def work():
    with progress.bar(5, 'answers', 'score', accept=0.7) as shown:
      shown.update(1)
      time.sleep(0.2)  # tqdm draws at most ten times a second
      shown.update(2, busy=3, slots=4, rewards=[1.0, 0.0])

  text = on_terminal(monkeypatch, 120, work)
  assert '3/5' in text
  assert '[00:00, 0:00:00 left, ' in text
  assert (
    ' answers/s, 75% of slots busy, mean reward 0.500, 50% accepted]' in text
  )


def test_metrics_every_ten_seconds_and_at_the_end(tmp_path):
  clock, log = Clock(), tmp_path / 'metrics.jsonl'

  def sitting(done):
    beat = progress.Heartbeat(100, 'samples', 'd', done, clock=clock, log=log)
    for _ in range(5):
      clock.now += 4
      beat.update(2, tokens=30)
    beat.end()
    return beat.totals()

  sitting(0)
  with log.open('a') as file:
    file.write('{"sitting": 1, "seco')  # killed while it wrote
  totals = sitting(10)
  found = [json.loads(line) for line in log.read_text().splitlines()]
  assert [(p['sitting'], p['seconds'], p['done']) for p in found] == [
    (0, 12.0, 6),
    (0, 20.0, 10),
    (1, 12.0, 16),
    (1, 20.0, 20),
  ]
  assert found[-1]['tokens'] == 150
  assert found[-1]['left'] == 160.0
  assert totals == {'items_per_s': 0.5, 'tokens_per_s': 7.5}


def test_what_was_made_until_a_kill_is_in_the_metrics(tmp_path):
  log = tmp_path / 'metrics.jsonl'
  with (
    pytest.raises(KeyboardInterrupt),
    progress.bar(9, 'samples', 'draw1', log=log) as shown,
  ):
    shown.update(3, tokens=5)
    raise KeyboardInterrupt
  (line,) = log.read_text().splitlines()
  assert json.loads(line)['made'] == 3


def test_nothing_left_to_do_adds_no_line(tmp_path):
  log = tmp_path / 'metrics.jsonl'
  with progress.bar(3, 'samples', 'draw1', 3, log=log) as shown:
    shown.update(0, rewards=[1.0])
  assert not log.exists()
  assert shown.totals() == {}
