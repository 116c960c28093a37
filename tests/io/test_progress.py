"""Facts about restpg_jax/io/progress.py."""

import os
import pty
import sys
import termios

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
  assert capsys.readouterr().err.splitlines() == [
    'draw/1: 80 of 1,000 examples, 8 examples/s, 0:01:55 left',
    'draw/1: 160 of 1,000 examples, 8 examples/s, 0:01:45 left',
  ]


def test_what_was_there_before_is_not_in_the_rate(capsys):
  clock = Clock()
  beat = progress.Heartbeat(8000, 'steps', 'train', done=4000, clock=clock)
  clock.now += 10
  beat.update(5)
  assert capsys.readouterr().err == (
    'train: 4,005 of 8,000 steps, 0.5 steps/s, 2:13:10 left\n'
  )


def test_quick_work_is_silent_where_there_is_no_terminal(capsys):
  with progress.bar(2, 'examples', 'a') as bar:
    bar.update(1)
    bar.update()
  found = capsys.readouterr()
  assert (found.out, found.err) == ('', '')


END = '[end]'


def show(monkeypatch, columns):
  """What a bar of 2 to 3 of 4 prints on a terminal so wide."""
  outside, inside = pty.openpty()
  termios.tcsetwinsize(inside, (24, columns))
  with open(inside, 'w') as terminal:
    monkeypatch.setattr(sys, 'stderr', terminal)
    with progress.bar(4, 'examples', 'draw/1', done=2) as bar:
      bar.update(1)
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
  assert '2/4' in shown
  assert shown.endswith('\r')  # the bar makes way for the stage's line


def test_no_bar_on_a_terminal_without_width(monkeypatch):
  assert show(monkeypatch, 0) == ''
