"""Facts about restpg_jax/io/records.py."""

import dataclasses
import json
import warnings

import numpy as np
import pytest

from restpg_jax import errors, types
from restpg_jax.io import records

EXAMPLE = types.Example(
  id='topic_writing/train/3',
  task='topic_writing',
  input='one\u2028two\r\nthree\x0b\x85four',
  output='žluťoučký 🐎 <eos> "quoted" \\ ',
  profile=(types.Document('a', 'b'), types.Document('', 'c\nd')),
  context=('first', 'second'),
  truth=(types.Slot('tea', ('tea', 'coffee')),),
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


THREE = [dataclasses.replace(TRAJECTORY, j=j, text='žš') for j in range(3)]


def shards(folder, host=0):
  return records.Shards(folder, types.Trajectory, host=host)


def test_a_line_of_a_shard_is_json_with_the_crc32_of_what_it_is_without(
  tmp_path,
):
  shards(tmp_path / 'drawn').append([TRAJECTORY])
  line = (tmp_path / 'drawn' / '00000.jsonl').read_text()
  assert line == (
    '{"example_id": "x/y/0", "j": 3, "text": "text", "ended": true, '
    '"tokens": 7, "reward": 0.7, "logp": null, "crc": "7f651bef"}\n'
  )
  assert json.loads(line)['crc'] == '7f651bef'


def test_a_shard_goes_on_silently_after_every_possible_tear(tmp_path):
  shards(tmp_path).append(THREE)
  path = tmp_path / '00000.jsonl'
  whole = path.read_bytes()
  ends = [i + 1 for i, byte in enumerate(whole) if byte == ord('\n')]
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    for cut in range(len(whole) + 1):
      path.write_bytes(whole[:cut])
      kept = sum(end <= cut for end in ends)
      if cut > ends[0]:  # a file system that lost the last block
        path.write_bytes(whole[: ends[0]] + bytes(cut - ends[0]))
        kept = 1
      again = shards(tmp_path)
      assert again.done == THREE[:kept]
      again.append(THREE[kept:])
      assert path.read_bytes() == whole


def test_every_host_adds_to_its_own_file_and_reads_all(tmp_path):
  first, second = shards(tmp_path, 0), shards(tmp_path, 1)
  first.append(THREE[:1])
  second.append(THREE[1:])
  assert shards(tmp_path, 2).done == THREE
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    '00000.jsonl', '00001.jsonl'
  ]  # fmt: skip


def test_any_changed_byte_costs_its_own_item_and_no_other(tmp_path):
  shards(tmp_path).append(THREE)
  path = tmp_path / '00000.jsonl'
  whole = path.read_bytes()
  first = whole.index(b'\n') + 1
  second = whole.index(b'\n', first)
  for place in range(first, second):
    changed = bytearray(whole)
    changed[place] ^= 1
    path.write_bytes(changed)
    with pytest.warns(errors.DataWarning) as caught:
      again = shards(tmp_path)
    assert again.done == [THREE[0], THREE[2]]
    again.append([THREE[1]])
    assert len(caught) == 1
    assert str(caught[0].message) == (
      f'{path}, line 2: damaged and dropped; 1 item is made again'
    )
  assert sorted(shards(tmp_path).done, key=lambda t: t.j) == THREE


def test_one_warning_a_file_names_all_its_damaged_lines(tmp_path):
  shards(tmp_path).append(THREE * 4)
  path = tmp_path / '00000.jsonl'
  lines = path.read_bytes().splitlines(keepends=True)
  for number in (2, 3, 4, 9):
    lines[number - 1] = b'{}\n'
  path.write_bytes(b''.join(lines))
  with pytest.warns(errors.DataWarning) as caught:
    assert len(shards(tmp_path).done) == 8
  assert [str(w.message) for w in caught] == [
    f'{path}, lines 2-4, 9: damaged and dropped; 4 items are made again'
  ]
  assert len(path.read_bytes().splitlines()) == 8


@pytest.mark.parametrize(
  'garbage, lines', [(b'\x1f\x8b\xff', ' 1'), (b'\xff\n\0\n\x80', 's 1-3')]
)
def test_a_file_that_is_no_shard_at_all_is_named_and_made_anew(
  tmp_path, garbage, lines
):
  shards(tmp_path, 1).append(THREE[:1])
  path = tmp_path / '00000.jsonl'
  path.write_bytes(garbage)
  with pytest.warns(errors.DataWarning, match=f'00000.jsonl, line{lines}: dam'):
    again = shards(tmp_path)
  assert again.done == THREE[:1]
  again.append(THREE[1:])
  assert shards(tmp_path).done == [*THREE[1:], THREE[0]]


def test_a_host_leaves_the_files_of_others_as_they_are(tmp_path):
  path = tmp_path / '00001.jsonl'
  path.write_bytes(b'damaged\n{"torn')
  with pytest.warns(errors.DataWarning, match='00001.jsonl, line 1: damaged'):
    assert shards(tmp_path, 0).done == []
  assert path.read_bytes() == b'damaged\n{"torn'


def test_a_whole_line_of_something_else_is_no_damage(tmp_path):
  records.Shards(tmp_path, types.Slot, host=0).append([types.Slot('a', ('a',))])
  with pytest.raises(ValueError, match='line 1: no Trajectory'):
    shards(tmp_path)
