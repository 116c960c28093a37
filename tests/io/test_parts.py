"""Facts about restpg_jax/io/parts.py: a file that grows in a bucket."""

import pytest
from etils import epath

from restpg_jax.io import parts


@pytest.fixture
def path(bucket):
  del bucket  # it is there
  return epath.Path('gs://b/drawn/00000.jsonl')


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def joined(path):
  """What is left of a file when it was joined."""
  parts.join(path)
  return [name for name in names(path.parent) if not name.endswith('.tmp')]


def content(path):
  return b''.join(line for _, line in parts.lines(path))


def line(n):
  return b'{"n": %d}\n' % n


def clock():
  clock.now += 1.0
  return clock.now


def slow():
  """Every call is a minute later than the one before."""
  clock.now += 60.0
  return clock.now


@pytest.fixture(autouse=True)
def begin():
  clock.now = 0.0


def test_a_part_is_named_by_the_byte_at_which_it_begins(path):
  tail = parts.Tail(path, slow)
  assert [tail.add(line(n)) for n in range(3)] == [0, 9, 18]
  assert names(path.parent) == [
    '00000-000000000000.jsonl',
    '00000-000000000009.jsonl',
    '00000-000000000018.jsonl',
  ]
  assert [*parts.lines(path)] == [(0, line(0)), (9, line(1)), (18, line(2))]
  tail.close()
  assert names(path.parent) == ['00000.jsonl']
  assert path.read_bytes() == line(0) + line(1) + line(2)


def test_what_comes_quickly_waits_at_most_so_many_seconds(path, bucket):
  tail = parts.Tail(path, clock)
  for n in range(100):
    tail.add(line(n))
  # A line a second: the first at once, then 29 or 30 of them in each part.
  assert [piece.length for piece in parts.pieces(path)] == [9, 291, 300, 300]
  tail.flush()
  assert content(path) == b''.join(map(line, range(100)))


def test_nothing_is_read_or_written_twice_for_few_parts(path, bucket):
  tail = parts.Tail(path, slow)
  for n in range(15):
    tail.add(line(n))
  assert len(bucket.writes) == 15 and bucket.reads == []


def test_the_number_of_parts_stays_bounded(path):
  tail = parts.Tail(path, slow)
  most = 0
  for n in range(300):
    tail.add(line(n))
    most = max(most, len(names(path.parent)))
  assert most <= 33  # 1 of 256, 15 of 16 and 16 of 1
  assert content(path) == b''.join(map(line, range(300)))
  tail.close()
  assert path.read_bytes() == b''.join(map(line, range(300)))
  assert names(path.parent) == ['00000.jsonl']


def test_a_kill_at_any_operation_loses_and_doubles_nothing(
  path, bucket, monkeypatch
):
  calls = ['GFile', 'rename', 'remove']
  real = {name: getattr(bucket, name) for name in calls}
  monkeypatch.setattr(parts, 'JOINED', 3)
  for last in range(60):
    left = [last]

    def killed(name, left=left):
      def call(*arguments, **more):
        if name != 'GFile' or 'w' in arguments[1]:
          left[0] -= 1
          if left[0] < 0:
            raise KeyboardInterrupt
        return real[name](*arguments, **more)

      return call

    for name in calls:
      setattr(bucket, name, killed(name))
    added = 0
    try:
      tail = parts.Tail(path, slow)
      for n in range(7):
        added = n
        tail.add(line(n))
      added = 7
      tail.close()
    except KeyboardInterrupt:
      pass
    for name in calls:
      setattr(bucket, name, real[name])
    found = content(path)
    assert found == b''.join(map(line, range(7)))[: len(found)]
    assert len(found) >= 9 * added
    if found:
      assert joined(path) == ['00000.jsonl']
      assert path.read_bytes() == found
      path.parent.rmtree()
  assert added == 7  # the last one was not killed


def test_a_reader_goes_on_while_parts_are_joined(path):
  tail = parts.Tail(path, slow)
  for n in range(4):
    tail.add(line(n))
  read = parts.lines(path)
  assert next(read) == (0, line(0))
  tail.close()
  assert [*read] == [(9, line(1)), (18, line(2)), (27, line(3))]


def test_a_copy_on_this_machine_is_one_file_again(path, bucket, tmp_path):
  tail = parts.Tail(path, slow)
  tail.add(line(0))
  tail.add(line(1))
  for old in path.parent.iterdir():
    old.copy(epath.Path(tmp_path) / old.name)
  local = epath.Path(tmp_path) / '00000.jsonl'
  assert content(local) == line(0) + line(1)
  parts.join(local)
  parts.Tail(local).add(line(2))
  assert names(tmp_path) == ['00000.jsonl']
  # Back over what is still there, whose parts are now in the file.
  local.copy(path, overwrite=True)
  assert content(path) == line(0) + line(1) + line(2)
  parts.join(path)
  assert names(path.parent) == ['00000.jsonl']
