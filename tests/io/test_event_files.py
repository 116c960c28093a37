"""Facts about restpg_jax/io/event_files.py, by TensorBoard's own reader."""

import base64

import pytest
from etils import epath

from restpg_jax.io import event_files, parts
from tests import event_reader

PNG = base64.b64decode(
  'iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR42mNk+M8ABYxAmhEA'
  'BRgBA5nF8n0AAAAASUVORK5CYII='
)  # 3 x 2 pixels


def open_run(workdir, step=0):
  return event_files.tensorboard(epath.Path(workdir))('sft/train-01', step)


def test_a_line_is_there_before_the_run_is_closed(tmp_path):
  run = open_run(tmp_path)
  run.scalars({'loss': 2.5, 'goodput/seconds': 7.0}, 2)
  run.scalars({'loss': 1.25}, 4)
  assert event_reader.scalars(tmp_path / 'tensorboard/sft/train-01') == {
    'loss': [(2, 2.5), (4, 1.25)],
    'goodput/seconds': [(2, 7.0)],
  }


def test_a_sitting_has_a_file_and_takes_the_place_of_what_was_lost(tmp_path):
  for begin, steps in ((0, ()), (0, (2, 4, 6)), (5, (5, 7)), (8, ())):
    run = open_run(tmp_path, begin)
    for step in steps:
      run.scalars({'loss': begin + step}, step)
    run.close()
  folder = tmp_path / 'tensorboard/sft/train-01'
  assert len(list(folder.iterdir())) == 3  # the first one has sent nothing
  assert event_reader.scalars(folder) == {
    'loss': [(2, 2.0), (4, 4.0), (5, 10.0), (7, 12.0)]
  }


def test_a_text_stays_text_and_a_picture_a_picture(tmp_path):
  run = open_run(tmp_path)
  run.text('samples', 'id 0\n\n<script>*a*\udcff', 3)
  run.image('figure2', PNG, 1)
  events = event_reader.read(tmp_path / 'tensorboard/sft/train-01')
  (text,) = events.Tensors('samples/text_summary')
  assert text.step == 3
  # Markdown's form of what is to be shown as it is.
  assert text.tensor_proto.string_val == [b'    id 0\n    \n    <script>*a*?']
  (image,) = events.Images('figure2')
  assert (image.width, image.height) == (3, 2)
  assert image.encoded_image_string == PNG


def test_torch_is_not_imported_by_the_way(tmp_path, monkeypatch):
  names = frozenset({'no_such_thing', 'json'})
  with event_files._hidden(names):
    import json  # is there already

    with pytest.raises(ImportError):
      import no_such_thing
  assert json.loads('1') == 1
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'no_such_thing.py').write_text('')
  import no_such_thing  # noqa: F401


def test_in_a_bucket_it_is_written_anew_now_and_then(bucket, monkeypatch):
  run = open_run('gs://b/run')
  for step in range(3):
    run.scalars({'loss': 0.5}, step)
  folder = epath.Path('gs://b/run/tensorboard/sft/train-01')
  (path,) = folder.iterdir()
  assert bucket.writes.count(str(path)) == 1  # within 30 seconds
  monkeypatch.setattr(parts, 'SECONDS', 0.0)
  run.scalars({'loss': 0.5}, 3)
  run.close()
  assert bucket.writes.count(str(path)) == 2  # nothing new at the end
  assert event_reader.scalars(bucket.local(folder)) == {
    'loss': [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)]
  }
