"""Facts about io/partial_file.py: whole or not there, across kills."""

import pytest
from etils import epath

from restpg_jax import errors
from restpg_jax.io import partial_file


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_it_appears_when_it_is_whole(tmp_path):
  with partial_file.open_partial(tmp_path / 'new' / 'out.jsonl', 'a') as out:
    out.append([{'n': 1}, {'n': 2}])
    assert names(tmp_path / 'new') == ['out.jsonl.part', 'out.jsonl.part.json']
    out.append([])
    out.append([{'n': '\ud800'}])  # half a pair: only as an escape
  assert names(tmp_path / 'new') == ['out.jsonl']
  assert (tmp_path / 'new' / 'out.jsonl').read_text() == (
    '{"n": 1}\n{"n": 2}\n{"n": "\\ud800"}\n'
  )


def test_in_a_bucket_it_grows_by_parts_and_goes_on_behind_them(bucket):
  path = epath.Path('gs://b/new/out.jsonl')
  with (
    pytest.raises(KeyboardInterrupt),
    partial_file.open_partial(path, 'a') as out,
  ):
    out.append([{'n': 1}])
    out.append([{'n': 2}])
    raise KeyboardInterrupt
  assert names(path.parent) == ['out.jsonl.part', 'out.jsonl.part.json']
  refuses(path, 'b', 'begun with another')
  part = path.with_name('out.jsonl.part')
  part.write_bytes(part.read_bytes() + b'{"torn')  # copied from elsewhere
  with partial_file.open_partial(path, 'a') as out:
    assert out.done == 2
    refuses(path, 'a', '--output=gs://b/new/out.jsonl: process .* is running')
    out.append([{'n': 3}])
  assert names(path.parent) == ['out.jsonl']
  assert path.read_text() == '{"n": 1}\n{"n": 2}\n{"n": 3}\n'


def test_in_a_bucket_nothing_is_a_file_too(bucket):
  path = epath.Path('gs://b/out.jsonl')
  with partial_file.open_partial(path, 'a'):
    pass
  assert path.read_text() == ''


def killed(path, *pieces):
  """Leaves these bytes of a process that did not come to its end."""
  with pytest.raises(KeyboardInterrupt), partial_file.open_partial(path, 'a'):
    raise KeyboardInterrupt
  path.with_name('out.jsonl.part').write_bytes(b''.join(pieces))


@pytest.mark.parametrize(
  'torn', [b'', b'{"n": 3', b'{"n": 3}', b'\0\0\0\n', b'{"n": \n{"n": 4}\n']
)
def test_it_goes_on_behind_the_last_whole_line(torn, tmp_path):
  path = tmp_path / 'out.jsonl'
  killed(path, b'{"n": 1}\n{"n": 2}\n', torn)
  assert not path.exists()
  with partial_file.open_partial(path, 'a') as out:
    assert out.done == 2
    out.append([{'n': 3}])
  assert path.read_text() == '{"n": 1}\n{"n": 2}\n{"n": 3}\n'
  assert names(tmp_path) == ['out.jsonl']


def refuses(path, fingerprint, why):
  with (
    pytest.raises(errors.InputError, match=why),
    partial_file.open_partial(path, fingerprint),
  ):
    pass


def test_what_something_else_began_is_refused_and_left_alone(tmp_path):
  path = tmp_path / 'out.jsonl'
  killed(path, b'{"n": 1}\n')
  refuses(path, 'b', 'begun with another')
  (tmp_path / 'out.jsonl.part.json').unlink()
  refuses(path, 'a', 'remove it, or give another')
  assert path.with_name('out.jsonl.part').read_bytes() == b'{"n": 1}\n'


def test_nothing_whole_begun_may_be_begun_anew(tmp_path):
  path = tmp_path / 'out.jsonl'
  killed(path)
  with partial_file.open_partial(path, 'b') as out:
    assert out.done == 0
  assert path.read_text() == ''


def test_two_at_a_time_are_refused(tmp_path):
  path = tmp_path / 'out.jsonl'
  with partial_file.open_partial(path, 'a') as out:
    refuses(path, 'a', 'another process is writing')
    out.append([{'n': 1}])
  assert path.read_text() == '{"n": 1}\n'
