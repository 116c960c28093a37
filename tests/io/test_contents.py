"""Facts about what a finished stage has left, and what becomes of it."""

import json

import pytest

from restpg_jax import errors
from restpg_jax.io import artifacts, contents
from tests import tiny


@artifacts.stage('tests.two_files')
def two_files(*, out, cfg, layout):
  (out / 'kept.jsonl').write_text('{"a": 1}\n{"a": 2}\n')
  (out / 'model' / 'params').mkdir(parents=True)
  (out / 'model' / 'params' / 'w').write_bytes(b'1234')
  (out / 'metrics.jsonl').write_text('{}\n')
  (out / 'drawn').mkdir()
  (out / 'drawn' / '00000.jsonl').write_text('{}\n')
  return {'expected': 2, 'made': 2}


@pytest.fixture
def step(tmp_path):
  return lambda: artifacts.Store(tmp_path, layout=tiny.layout()).step(
    'a', two_files
  )


def test_the_marker_notes_what_is_read_later_and_no_more(step):
  done = json.loads((step().path / 'DONE.json').read_text())
  assert done['files'] == {
    'kept.jsonl': [18, 3252564686],
    'model/params/w': [4, -1],
  }


@pytest.mark.parametrize(
  'name, content, message',
  [
    ('kept.jsonl', None, 'kept.jsonl is missing, though its stage was'),
    ('kept.jsonl', b'{"a": 1}\n', 'has 9 bytes and had 18 when its stage was'),
    ('kept.jsonl', b'{"a": 1}\n{"a": 3}\n', 'is damaged: its content is not'),
    ('model/params/w', b'12', 'has 2 bytes and had 4 when its stage was'),
  ],
)
def test_a_marker_whose_files_are_gone_is_not_believed(
  step, name, content, message
):
  folder = step().path
  if content is None:
    (folder / name).unlink()
  else:
    (folder / name).write_bytes(content)
  with pytest.raises(errors.InputError, match=message) as error:
    step()
  assert f'remove {folder}, and it is made again' in str(error.value)


def test_a_store_that_grows_may_be_longer_and_never_other(step):
  folder = step().path
  files = contents.contents_of(folder, leaves_out='DONE.json')
  path = folder / 'kept.jsonl'
  path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a": 3}\n')
  contents.check_contents(folder, files, grows=True)
  path.write_bytes(b'{"a": 1}\n{"a": 9}\n')
  with pytest.raises(errors.InputError, match='is damaged: its content is'):
    contents.check_contents(folder, files, grows=True)


def test_what_is_no_part_of_it_may_go(step):
  folder = step().path
  (folder / 'metrics.jsonl').unlink()
  (folder / 'drawn').rmtree()
  step()


def test_markers_of_older_versions_note_no_files(step):
  folder = step().path
  done = json.loads((folder / 'DONE.json').read_text())
  del done['files']
  (folder / 'DONE.json').write_text(json.dumps(done))
  (folder / 'kept.jsonl').unlink()
  step()
