"""Facts about restpg_jax/io/records.py."""

import dataclasses
import json

import numpy as np
import pytest
from etils import epath

from restpg_jax import types
from restpg_jax.io import records

EXAMPLE = types.Example(
  id='topic_writing/train/3',
  task='topic_writing',
  input='one\u2028two\r\nthree\x0b\x85four',
  output='žluťoučký 🐎 <eos> "quoted" \\ ',
  profile=(types.Document('a', 'b'), types.Document('', 'c\nd')),
  context=('first', 'second'),
  truth=(types.TruthSlot('tea', ('tea', 'coffee')),),
)
TRAJECTORY = types.Trajectory('x/y/0', 3, 'text', tokens=7, reward=0.7)


def test_nested_dataclasses_come_back_equal(tmp_path):
  path = tmp_path / 'new' / 'examples.jsonl'
  bare = types.Example('i', 't', 'x', 'y')
  assert records.write(path, [EXAMPLE, bare]) == 2
  assert list(records.read(path, types.Example)) == [EXAMPLE, bare]
  assert list(path.parent.iterdir()) == [path]  # no temporary file stays


def test_a_line_is_plain_utf8_json(tmp_path):
  path = tmp_path / 'a.jsonl'
  records.write(path, [TRAJECTORY, dataclasses.replace(TRAJECTORY, text='č')])
  lines = path.read_bytes().split(b'\n')
  assert lines[0] == (
    b'{"example_id": "x/y/0", "j": 3, "text": "text", "ended": true, '
    b'"tokens": 7, "reward": 0.7, "logp": null}'
  )
  assert 'č'.encode() in lines[1]
  assert lines[2:] == [b'']


def test_half_a_surrogate_pair_survives(tmp_path):
  path = tmp_path / 'a.jsonl'
  odd = dataclasses.replace(TRAJECTORY, text='half \ud83d pair')
  records.write(path, [odd])
  assert list(records.read(path, types.Trajectory)) == [odd]


def test_numpy_scalars_are_numbers_and_none_stays(tmp_path):
  path = tmp_path / 'a.jsonl'
  items = [
    types.Trajectory('e', np.int32(1), 't', True, np.int64(2), np.float32(1)),
    types.Trajectory('e', 2, 't'),
  ]
  records.write(path, items)
  first, second = records.read(path, types.Trajectory)
  assert first == types.Trajectory('e', 1, 't', True, 2, 1.0)
  assert type(first.j) is int and type(first.reward) is float
  assert second.reward is None


@pytest.mark.parametrize('bad', [float('nan'), object()])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, bad):
  path = tmp_path / 'a.jsonl'
  records.write(path, [TRAJECTORY])
  with pytest.raises((ValueError, TypeError)):
    records.write(
      path, [TRAJECTORY, dataclasses.replace(TRAJECTORY, reward=bad)]
    )
  assert list(records.read(path, types.Trajectory)) == [TRAJECTORY]
  assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_seen_before_the_last_line_is_written(tmp_path):
  path = tmp_path / 'a.jsonl'

  def items():
    yield TRAJECTORY
    assert not path.exists()
    yield TRAJECTORY

  assert records.write(path, items()) == 2
  assert path.exists()


def test_json_values(tmp_path):
  path = tmp_path / 'a.json'
  records.write_json(path, {'a': [1, 2.5, None, 'č'], 'd': EXAMPLE.truth[0]})
  assert records.read_json(path) == {
    'a': [1, 2.5, None, 'č'],
    'd': {'want': 'tea', 'among': ['tea', 'coffee']},
  }
  path.write_text('{"a": ')
  with pytest.raises(ValueError, match='a.json: no whole JSON'):
    records.read_json(path)


@pytest.mark.parametrize(
  'line', ['{"example_id": 1', '[]', '{"unknown": 1}', '{"j": 1}']
)
def test_a_bad_line_is_named(tmp_path, line):
  path = tmp_path / 'a.jsonl'
  records.write(path, [TRAJECTORY])
  path.write_text(path.read_text() + line + '\n')
  with pytest.raises(ValueError, match='a.jsonl, line 2: no Trajectory'):
    list(records.read(path, types.Trajectory))


def test_appender_goes_on_after_every_possible_tear(tmp_path):
  path = tmp_path / 'deep' / 'a.jsonl'
  three = [dataclasses.replace(TRAJECTORY, j=j, text='žš') for j in range(3)]
  appender = records.Appender(path, types.Trajectory)
  assert appender.done == []
  appender.append(three[:2])
  appender.append(three[2:])
  whole = path.read_bytes()
  ends = [i + 1 for i, byte in enumerate(whole) if byte == ord('\n')]
  for cut in range(len(whole) + 1):
    path.write_bytes(whole[:cut])
    again = records.Appender(path, types.Trajectory)
    kept = sum(end <= cut for end in ends)
    assert again.done == three[:kept]
    again.append(three[kept:])
    assert path.read_bytes() == whole


def test_in_a_bucket_a_file_without_lines_is_there_and_empty(bucket):
  path = 'gs://b/new/a.jsonl'
  assert records.write(path, []) == 0
  assert list(records.read(path, types.Trajectory)) == []


def test_in_a_bucket_an_appender_loses_the_last_seconds_of_a_kill(bucket):
  path = epath.Path('gs://b/new/a.jsonl')
  three = [dataclasses.replace(TRAJECTORY, j=j) for j in range(3)]
  killed = records.Appender(path, types.Trajectory)
  killed.append(three[:1])
  killed.append(three[1:])  # within parts.SECONDS: it waits
  again = records.Appender(path, types.Trajectory)
  assert again.done == three[:1]
  again.append(three[1:])
  again.close()
  assert list(records.read(path, types.Trajectory)) == three
  assert list(path.parent.iterdir()) == [path]


def test_appender_drops_a_last_line_of_zeros(tmp_path):
  path = tmp_path / 'a.jsonl'
  records.write(path, [TRAJECTORY])
  path.write_bytes(path.read_bytes() + b'\0' * 30 + b'\n')
  assert records.Appender(path, types.Trajectory).done == [TRAJECTORY]


def test_appender_refuses_a_file_broken_in_the_middle(tmp_path):
  path = tmp_path / 'a.jsonl'
  line = json.dumps(dataclasses.asdict(TRAJECTORY))
  path.write_text(f'{line}\n{line[:20]}\n{line}\n')
  with pytest.raises(ValueError, match='line 2: no Trajectory'):
    records.Appender(path, types.Trajectory)
