"""Facts about restpg_jax/storage.py, in a bucket as TensorFlow shows it."""

import os
import shutil

import pytest
from etils import epath

from restpg_jax import errors, storage

DATA = b'one\ntwo, longer\n\nlast'


@pytest.fixture(params=['local', 'remote'])
def path(request, tmp_path, bucket):
  folder = tmp_path if request.param == 'local' else 'gs://b/deep/down'
  path = epath.Path(folder) / 'a.txt'
  path.write_bytes(DATA)
  return path


def test_a_remote_file_reads_as_a_local_one_does(path):
  with storage.opened(path) as file:
    assert [file.readline(3), file.readline(), file.readline(100)] == [
      b'one', b'\n', b'two, longer\n'
    ]  # fmt: skip
    assert list(file) == [b'\n', b'last']
    assert file.tell() == len(DATA) and file.read(9) == b''
    assert file.seek(-4, os.SEEK_END) == 17
    assert file.read() == b'last'
    assert file.seek(4) == 4 and file.seek(1, os.SEEK_CUR) == 5
    assert file.read(2) == b'wo'
    assert not file.closed and file.readable() and file.seekable()


def test_only_what_is_asked_for_is_read(bucket):
  path = epath.Path('gs://b/large')
  path.write_bytes(bytes(range(256)) * (5 << 12))  # 5 MiB
  with storage.opened(path) as file:
    file.seek(3 << 20)
    assert file.read(2) == b'\0\1'
  assert sum(n for _, n in bucket.reads) == 1 << 20


def test_a_remote_path_stays_what_it_is(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert storage.absolute('gs://b/x/y') == epath.Path('gs://b/x/y')
  assert storage.absolute('x') == epath.Path(tmp_path / 'x')
  assert storage.remote('gs://b') and not storage.remote(tmp_path)


def test_room_is_that_of_the_disk_that_a_folder_will_be_on(
  tmp_path, monkeypatch
):
  usage = shutil.disk_usage(tmp_path)
  asked = []

  def disk_usage(path):
    asked.append(os.fspath(path))
    return usage._replace(free=1000)

  monkeypatch.setattr(shutil, 'disk_usage', disk_usage)
  folder = tmp_path / 'not' / 'yet'
  storage.check_room(folder, 1000, 'all of it')
  with pytest.raises(errors.InputError) as caught:
    storage.check_room(folder, 1001, '7 samples')
  assert str(caught.value) == (
    f'{folder}: 7 samples will need 1,001 bytes, and 1,000 are free; make room '
    'and run the same command again, or give another --workdir'
  )
  assert asked == [os.fspath(tmp_path)] * 2
  storage.check_room('gs://bucket/run', 2**60, 'anything')
  assert len(asked) == 2
