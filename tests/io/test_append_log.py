"""Facts about restpg_jax/io/append_log.py."""

import dataclasses
import json
import random
import warnings

import pytest
from etils import epath

from restpg_jax import errors, types
from restpg_jax.io import append_log

TRAJECTORY = types.Trajectory('x/y/0', 3, 'text', tokens=7, reward=0.7)
THREE = [dataclasses.replace(TRAJECTORY, j=j, text='žš') for j in range(3)]


def shards(folder, host=0):
  return append_log.AppendLog(folder, types.Trajectory, host=host)


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
      assert list(again) == THREE[:kept]
      again.append(THREE[kept:])
      assert path.read_bytes() == whole


def test_every_host_adds_to_its_own_file_and_reads_all(tmp_path):
  first, second = shards(tmp_path, 0), shards(tmp_path, 1)
  first.append(THREE[:1])
  second.append(THREE[1:])
  assert list(shards(tmp_path, 2)) == THREE
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
    assert list(again) == [THREE[0], THREE[2]]
    again.append([THREE[1]])
    assert len(caught) == 1
    assert str(caught[0].message) == (
      f'{path}, line 2: damaged and dropped; 1 item is made again'
    )
  assert sorted(list(shards(tmp_path)), key=lambda t: t.j) == THREE


def test_one_warning_a_file_names_all_its_damaged_lines(tmp_path):
  shards(tmp_path).append(THREE * 4)
  path = tmp_path / '00000.jsonl'
  lines = path.read_bytes().splitlines(keepends=True)
  for number in (2, 3, 4, 9):
    lines[number - 1] = b'{}\n'
  path.write_bytes(b''.join(lines))
  with pytest.warns(errors.DataWarning) as caught:
    assert len(list(shards(tmp_path))) == 8
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
  assert list(again) == THREE[:1]
  again.append(THREE[1:])
  assert list(shards(tmp_path)) == [*THREE[1:], THREE[0]]


def test_a_host_leaves_the_files_of_others_as_they_are(tmp_path):
  path = tmp_path / '00001.jsonl'
  path.write_bytes(b'damaged\n{"torn')
  with pytest.warns(errors.DataWarning, match='00001.jsonl, line 1: damaged'):
    assert list(shards(tmp_path, 0)) == []
  assert path.read_bytes() == b'damaged\n{"torn'


def test_a_whole_line_of_something_else_is_no_damage(tmp_path):
  append_log.AppendLog(tmp_path, types.TruthSlot, host=0).append(
    [types.TruthSlot('a', ('a',))]
  )
  with pytest.raises(ValueError, match='line 1: no Trajectory'):
    list(shards(tmp_path))


def test_what_another_host_adds_meanwhile_is_not_read(tmp_path):
  shards(tmp_path, 1).append(THREE[:1])
  opened = shards(tmp_path, 0)
  shards(tmp_path, 1).append(THREE[1:])
  (tmp_path / '00002.jsonl').write_bytes(b'{"torn')
  assert list(opened) == THREE[:1]


def test_in_a_bucket_the_bytes_are_the_same_in_the_end(bucket, tmp_path):
  for folder in (tmp_path, 'gs://b/drawn'):
    with shards(folder) as one, shards(folder, 1) as other:
      for n, item in enumerate(THREE):
        (one, other)[n % 2].append([item])
  for name in ('00000.jsonl', '00001.jsonl'):
    local = tmp_path / name
    assert epath.Path(f'gs://b/drawn/{name}').read_bytes() == local.read_bytes()
  assert list(shards('gs://b/drawn')) == [THREE[0], THREE[2], THREE[1]]
  assert len([*epath.Path('gs://b/drawn').iterdir()]) == 2


def test_in_a_bucket_a_kill_costs_the_last_seconds_and_all_hosts_see_the_rest(
  bucket,
):
  killed = shards('gs://b/drawn', 1)
  killed.append(THREE[:1])
  killed.append(THREE[1:])  # within parts.SECONDS: it waits
  other = shards('gs://b/drawn', 0)
  with shards('gs://b/drawn', 1) as again:  # joins its parts
    assert list(other) == list(again) == THREE[:1]
    again.append(THREE[1:])
  assert list(shards('gs://b/drawn', 0)) == THREE


def test_a_damaged_part_costs_its_own_items(bucket):
  with shards('gs://b/drawn') as one:
    one.append(THREE[:2])
  path = epath.Path('gs://b/drawn/00000.jsonl')
  path.write_bytes(path.read_bytes().replace(b'"j": 1', b'"j": 7'))
  with pytest.warns(errors.DataWarning, match='00000.jsonl, line 2: damaged'):
    again = shards('gs://b/drawn')
  with again:
    again.append(THREE[1:])
  assert list(shards('gs://b/drawn')) == THREE


def test_a_shelf_in_a_bucket_gives_what_still_waits(bucket):
  with shelf('gs://b/drawn') as opened:
    for item in THREE:
      opened.append([item])
    assert opened.get([2, 0, 1]) == [THREE[2], THREE[0], THREE[1]]
  assert opened.get([1]) == THREE[1:2]  # the parts are one file by now


def shelf(folder, host=0):
  return append_log.IndexedLog(
    folder, types.Trajectory, host=host, key=lambda t: t.j
  )


def test_a_shelf_gives_items_by_key_in_the_order_asked(tmp_path):
  many = [dataclasses.replace(TRAJECTORY, j=j, text='ž' * j) for j in range(40)]
  mixed = random.Random(0).sample(many, 40)
  shelf(tmp_path, 0).append(mixed[:10])
  shelf(tmp_path, 1).append(mixed[10:20])
  again = shelf(tmp_path, 1)
  assert {t.j for t in many if t.j in again} == {t.j for t in mixed[:20]}
  again.append(mixed[20:25])
  again.append([])
  again.append(mixed[25:])
  order = random.Random(1).sample(range(40), 40)
  assert again.get(order) == [many[j] for j in order]
  assert again.get([]) == []


def test_of_two_items_with_one_key_a_shelf_gives_the_first(tmp_path):
  second = dataclasses.replace(TRAJECTORY, text='second')
  opened = shelf(tmp_path)
  opened.append([TRAJECTORY, second])
  opened.append([second])
  assert opened.get([3]) == shelf(tmp_path).get([3]) == [TRAJECTORY]


def test_an_item_that_was_changed_behind_a_shelfs_back_is_named(tmp_path):
  opened = shelf(tmp_path)
  opened.append(THREE)
  path = tmp_path / '00000.jsonl'
  path.write_bytes(path.read_bytes().replace(b'"j": 2', b'"j": 5'))
  assert opened.get([1, 0]) == [THREE[1], THREE[0]]
  with pytest.raises(ValueError, match=r'00000.jsonl, byte \d+: changed since'):
    opened.get([2])
