"""Facts about restpg_jax/data/builder.py and prepared.py: LongLaMP by TFDS."""

import itertools
import json
import pathlib
import tempfile
import tracemalloc

import pytest
import tensorflow_datasets as tfds
from etils import epath

from restpg_jax import errors, types
from restpg_jax.data import builder, files, hub, longlamp, world
from tests.data import longlamp_rows as given

pytestmark = pytest.mark.slow

EXAMPLES = tempfile.TemporaryDirectory()
SIZES = {'train': 3, 'val': 2, 'test': 1}
CUSTOM = {'id': 'a', 'user': 'u', 'input': 'x', 'output': 'y'}
SAMPLE = pathlib.Path(__file__).parents[3] / 'shared/data/longlamp_sample'


def write(folder):
  """All names of the builder, each in one of the forms."""
  forms = itertools.cycle(['jsonl', 'json', 'parquet'])
  for name, form in zip(builder.NAMES[:-1], forms, strict=False):
    task = builder.task_of(name)
    (folder / name).mkdir(parents=True)
    for seed, (split, size) in enumerate(SIZES.items()):
      some = world.rows(task, split, seed=seed, count=size)
      if form == 'parquet':
        given.write_parquet(folder / name / f'{split}-0.parquet', some)
      else:
        text = '\n'.join(map(json.dumps, some))
        text = text if form == 'jsonl' else json.dumps(some)
        (folder / name / f'{split}.{form}').write_text(text)
  (folder / 'custom').mkdir()
  for split, size in SIZES.items():
    rows = [
      CUSTOM | {'id': f'{split}-{n}', 'profile': ['old', {'text': f'{n}'}]}
      for n in range(size)
    ]
    (folder / 'custom' / f'{split}.jsonl').write_bytes(given.lines(*rows))


class TestByTFDS(tfds.testing.DatasetBuilderTestCase):
  """TFDS's own checks of a builder, of the format that its reader reads."""

  DATASET_CLASS = builder.Longlamp
  SPLITS = SIZES
  EXAMPLE_DIR = EXAMPLES.name
  FORMAT = 'tfrecord'

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if not list(pathlib.Path(cls.EXAMPLE_DIR).iterdir()):
      write(pathlib.Path(cls.EXAMPLE_DIR))

  def _make_builder(self, config=None):
    return builder.Longlamp(
      data_dir=self.tmp_dir,
      config=config or 'product_review_user',
      file_format=self.FORMAT,
    )


class TestArrayRecordByTFDS(TestByTFDS):
  """The same of ArrayRecord, read by random access."""

  FORMAT = 'array_record'

  def _assertAsDataset(self, builder):
    for split, size in self.SPLITS.items():
      source = builder.as_data_source(split)
      assert len(source) == size
      for n in reversed(range(size)):
        assert set(source[n]) == set(builder.info.features)


def prepared(tmp_path, name, **how):
  how = {'max_text': 100_000, 'on_error': 'stop', 'source': 'x'} | how
  return builder.build_dataset(
    name, manual_dir=str(tmp_path), to=epath.Path(tmp_path / 'to'), **how
  )


def both(tmp_path, split, setting='user', **how):
  """(examples, counts) of the files, and of what was prepared of them."""
  found = []
  for path in (tmp_path, tmp_path / 'to' / 'longlamp'):
    found.append(given.read(path, split, setting, **how))
  return found


@pytest.mark.parametrize('setting', longlamp.SETTINGS)
def test_a_run_reads_the_same_examples(tmp_path, setting):
  write(tmp_path)
  for task in types.TASKS:
    prepared(tmp_path, f'{task}_{setting}')
  prepared(tmp_path, 'custom')
  for split, size in SIZES.items():
    (ours, seen), (theirs, counts) = both(tmp_path, split, setting)
    assert len(ours) == 5 * size
    bare = [e.__class__(**(vars(e) | {'truth': ()})) for e in ours]
    assert theirs == bare  # truth is known of the world only
    assert counts == seen | {'skipped_rows': 0}


@pytest.mark.skipif(not SAMPLE.is_dir(), reason='sample data is not here')
def test_real_rows_come_back_as_they_were(tmp_path):
  for name in ('email_generation_user', 'topic_writing_user'):
    builder.build_dataset(
      name,
      manual_dir=str(SAMPLE),
      to=epath.Path(tmp_path),
      max_text=100_000,
      on_error='stop',
      source='x',
    )
  theirs, _ = given.read(tmp_path / 'longlamp', 'test')
  ours, _ = given.read(SAMPLE, 'test')
  ours = [e for e in ours if e.task in ('email_generation', 'topic_writing')]
  assert theirs == ours


def test_custom_rows_keep_their_ids_by_random_access(tmp_path):
  write(tmp_path)
  prepared(tmp_path, 'custom')
  source = tfds.data_source(
    'longlamp/custom', split='train', data_dir=tmp_path / 'to'
  )
  assert source[2] == {
    'id': b'train-2',
    'user': b'u',
    'input': b'x',
    'output': b'y',
    'profile': {'text': [b'old', b'2']},
  }


def test_shards_follow_the_rows(tmp_path, monkeypatch):
  task = given.folder(tmp_path)
  some = [given.MAIL | {'input': f'{n} {"x" * 400}'} for n in range(50)]
  (task / 'train.jsonl').write_bytes(given.lines(*some))
  monkeypatch.setattr(builder, 'SHARD', 1 << 12)
  prepared(tmp_path, task.name)
  shards = list((tmp_path / 'to').rglob('longlamp-train.array_record-*'))
  assert len(shards) == 6
  examples, _ = given.read(tmp_path / 'to' / 'longlamp')
  assert [e.input for e in examples] == [row['input'] for row in some]


def test_a_row_of_many_shards_leaves_the_others_empty(tmp_path, monkeypatch):
  task = given.folder(tmp_path)
  some = [given.MAIL | {'input': 'x' * n} for n in (1, 2, 9_000, 3)]
  (task / 'train.json').write_text(json.dumps(some))
  (task / 'train.jsonl').unlink()
  monkeypatch.setattr(builder, 'SHARD', 1 << 10)
  monkeypatch.setattr('restpg_jax.data.json_rows.PIECE', 100)
  prepared(tmp_path, task.name)
  examples, _ = given.read(tmp_path / 'to' / 'longlamp')
  assert [len(e.input) for e in examples] == [1, 2, 9_000, 3]


def test_a_shard_is_in_memory_at_a_time(tmp_path, monkeypatch):
  task = given.folder(tmp_path)
  row = given.MAIL | {'profile': [{'text': 'x' * 10_000}] * 10}
  (task / 'train.jsonl').write_bytes(given.lines(*[row] * 200))  # 20 MB
  monkeypatch.setattr(builder, 'SHARD', 1 << 20)
  prepared(tmp_path, task.name, source='first')  # what is imported once
  for path in (tmp_path / 'to').rglob('1.0.0'):
    epath.Path(path).rmtree()
  tracemalloc.start()
  prepared(tmp_path, task.name)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 8_000_000


def test_skipped_rows_are_counted_and_listed(tmp_path):
  task = given.folder(tmp_path, train=given.lines(given.MAIL, {}, given.MAIL))
  metadata = prepared(tmp_path, task.name, on_error='skip')
  assert metadata['counts']['train']['skipped_rows'] == 1
  [path] = (tmp_path / 'to').rglob('skipped.jsonl')
  assert path.parent.name == '1.0.0'
  assert json.loads(path.read_text()) == {
    'file': str(task / 'train.jsonl'),
    'row': 2,
    'reason': 'input is missing; every row needs a text there',
  }
  with pytest.warns(errors.DataWarning):
    examples, counts = given.read(tmp_path / 'to' / 'longlamp')
  assert len(examples) == 2
  assert counts['skipped_rows'] == 1


@pytest.mark.parametrize('content', [b'{"input": 5}', b'{"in', b''])
def test_bad_rows_leave_nothing(tmp_path, content):
  task = given.folder(tmp_path, test=content)
  with pytest.raises(errors.InputError, match='test.jsonl: row 1|no rows'):
    prepared(tmp_path, task.name)
  assert not builder.prepared_before(task.name, epath.Path(tmp_path / 'to'))
  assert not list((tmp_path / 'to').rglob('longlamp-*'))


def test_what_an_interrupted_attempt_left_is_no_data_set(tmp_path):
  task = given.folder(tmp_path)
  prepared(tmp_path, task.name)
  whole = tmp_path / 'to/longlamp' / task.name / '1.0.0'
  half = whole.with_name('incomplete.ABC123_1.0.0')
  whole.rename(half)
  with pytest.raises(errors.InputError, match="no split 'train'"):
    given.read(tmp_path / 'to' / 'longlamp')
  prepared(tmp_path, task.name)
  assert whole.exists() and not half.exists()


@pytest.mark.parametrize('damage', ['shard', 'torn', 'info'])
def test_a_damaged_data_set_is_refused(tmp_path, damage):
  task = given.folder(tmp_path)
  prepared(tmp_path, task.name)
  [shard] = (tmp_path / 'to').rglob('longlamp-train*')
  if damage == 'shard':
    shard.unlink()
  elif damage == 'torn':
    shard.write_bytes(shard.read_bytes()[:-100])
  else:
    (shard.parent / 'dataset_info.json').write_text('{')
  with pytest.raises(errors.InputError, match='remove the folder and prepare'):
    given.read(tmp_path / 'to' / 'longlamp')


def test_texts_that_were_cut_cannot_be_asked_for(tmp_path):
  task = given.folder(
    tmp_path, train=given.lines(given.MAIL | {'profile': [{'text': 'a' * 9}]})
  )
  prepared(tmp_path, task.name, max_text=8)
  path = tmp_path / 'to' / 'longlamp'
  [example], counts = given.read(path, max_text=8)
  assert example.profile[0].text == 'a' * 8
  assert counts['cut_texts'] == 1
  with pytest.raises(errors.InputError, match='max_text is 9, but its tex'):
    given.read(path, max_text=9)


def test_without_the_hub_it_is_said_what_to_put_where(tmp_path, monkeypatch):
  def unreachable(*args, **kwargs):
    raise OSError('no network')

  monkeypatch.setattr(hub.huggingface_hub, 'snapshot_download', unreachable)
  with pytest.raises(errors.InputError) as error:
    prepared(tmp_path / 'none', 'topic_writing_user')
  for part in ('no network', 'train-*.parquet', 'DIR/topic_writing_user'):
    assert part in str(error.value)
  with pytest.raises(errors.InputError, match='email_generation_user: no such'):
    prepared(tmp_path / 'none', 'email_generation_user')


def test_a_download_of_all_files_becomes_the_source(tmp_path, monkeypatch):
  def download(dataset, *, repo_type, allow_patterns, local_dir):
    assert (dataset, repo_type) == ('LongLaMP/LongLaMP', 'dataset')
    assert allow_patterns == 'topic_writing_user/*.parquet'
    row = world.rows('topic_writing', 'train', seed=0, count=1)
    for split in splits:
      path = pathlib.Path(local_dir, f'topic_writing_user/{split}-0.parquet')
      given.write_parquet(path, row)

  monkeypatch.setattr(hub.huggingface_hub, 'snapshot_download', download)
  splits = ['train', 'val']
  with pytest.raises(errors.InputError, match="no split 'test'"):
    prepared(tmp_path / 'none', 'topic_writing_user')
  splits = list(files.NAMES)
  made = prepared(tmp_path / 'none', 'topic_writing_user')
  assert {split: c['rows'] for split, c in made['counts'].items()} == {
    'train': 1,
    'val': 1,
    'test': 1,
  }
