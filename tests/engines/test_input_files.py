"""Facts about engines/input_files.py: what of a folder is in fingerprints.

The digests are those of builds that hashed every file of a folder: a run of
then is found again where the folder held nothing but what is read.
"""

import dataclasses
import json
import shutil
from typing import Any

import pytest

from restpg_jax import assets, config, errors, restpg
from restpg_jax.engines import input_files
from restpg_jax.io import artifacts, fingerprints
from restpg_jax.stages import measure
from tests import pipeline
from tests.data import longlamp_rows

JUNK = (  # of downloads, of systems, of people
  *('.DS_Store', '.gitattributes', '.cache/huggingface/download/a.metadata'),
  *('README.md', 'notes.txt', 'a.lock', '__pycache__/a.pyc'),
)


@dataclasses.dataclass(frozen=True)
class Folder:
  """A folder, the setting that names it, and what it is hashed to."""

  field: str
  settings: Any
  names: tuple[str, ...]  # what is read
  digest: str
  junk: tuple[str, ...] = ()

  def write(self, path):
    return write_files(path, *self.names)

  def content(self, path) -> str:
    cfg = dataclasses.replace(self.settings, **{self.field: str(path)})
    return fingerprints.meaning(cfg, input_files.READS)[self.field]['content']


HF = Folder(
  'checkpoint',
  config.Model(),
  ('config.json', 'model.safetensors', 'tokenizer.model'),
  '43d3b69f07663962a17ba522581ac155b8e2bfc07eb204ec01489b2f95793c40',
  ('gemma-2b.gguf', 'pytorch_model.bin', 'tokenizer.json', 'model.json'),
)
ENCODER = Folder(
  'encoder',
  config.Retrieval(),
  (
    *('config.json', 'model.safetensors', 'vocab.txt', 'modules.json'),
    *('1_Pooling/config.json', 'sentence_bert_config.json'),
    'tokenizer_config.json',
  ),
  '783c56bac4df2b12b3e15fcf0a09a6d030294ab20e38b3a173b2c75f0d8aadf7',
  ('onnx/model.onnx', 'pytorch_model.bin', 'special_tokens_map.json'),
)
FOLDERS = {
  'hf': HF,
  'its tokenizer': dataclasses.replace(HF, field='tokenizer'),
  'gemma': Folder(
    'checkpoint',
    config.Model(),
    (
      *('_METADATA', 'checkpoint', 'layer_0/.zarray', 'layer_0/0.0'),
      'tokenizer.model',
    ),
    '4d20cbddedae5b4370bcf3943765e082d234d615696be252b2b58e7ca471edac',
    ('2b.gguf', 'layer_0/.DS_Store', 'config.json'),
  ),
  'encoder': ENCODER,
  'encoder of a metric': dataclasses.replace(
    ENCODER, settings=measure.MeasureSettings((), None, False, 1)
  ),
  'data': Folder(
    'path',
    config.Data(),
    tuple(
      f'{task}_user/{name}'
      for task in ('product_review', 'topic_writing')
      for name in ('train.jsonl', 'val-00000-of-00001.parquet', 'test.json')
    ),
    '97ee9793300a5e59b4368e59bbfd48e7c8475b88ab014fd83cd4f2c7675c8ebe',
    (
      *('product_review_temporal/train.jsonl', 'product_review/train.jsonl'),
      *('topic_writing_user/README.md', 'topic_writing_user/train.json.lock'),
      'topic_writing_user/.cache/train.jsonl',
    ),
  ),
  'prepared': Folder(
    'path',
    config.Data(),
    (
      '.config/metadata.json',  # TFDS writes it
      *(
        f'product_review_user/1.0.0/{name}'
        for name in (
          *('dataset_info.json', 'features.json'),
          'longlamp-train.array_record-00000-of-00001',
        )
      ),
    ),
    '93de1764cc5383f4bad9a11742d812607d85ec2122db003bbacc07a2a15c8725',
    (
      'product_review_user/incomplete.AB_1.0.0/dataset_info.json',
      'product_review_user/1.0.0/.DS_Store',
    ),
  ),
}
each_folder = pytest.mark.parametrize('folder', FOLDERS.values(), ids=FOLDERS)


def write_files(path, *names):
  for name in names:
    file = path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'bytes of {name}')
  return path


@each_folder
def test_a_folder_of_what_is_read_counts_as_ever(folder, tmp_path):
  assert folder.content(folder.write(tmp_path)) == folder.digest


@each_folder
def test_what_nobody_reads_changes_nothing(folder, tmp_path):
  write_files(folder.write(tmp_path), *JUNK, *folder.junk)
  (tmp_path / 'gone').symlink_to(tmp_path / 'nowhere')
  (tmp_path / 'empty').mkdir()
  assert folder.content(tmp_path) == folder.digest


@each_folder
def test_every_file_that_is_read_counts(folder, tmp_path):
  folder.write(tmp_path)
  for name in folder.names:
    (tmp_path / name).write_text('other bytes')
    assert folder.content(tmp_path) != folder.digest, name
    write_files(tmp_path, name)
  assert folder.content(tmp_path) == folder.digest


@pytest.mark.parametrize(
  'name, digest',
  [
    (
      'tiny_pt',
      'f996d3e856a4754d727a705dc265e68c7575a10f2276c03c9e0d395d376e4200',
    ),
    (
      'tiny_it',
      'a78010c6bc2a7f6f2e69aa99b07eb166bb99970c9214fdd9af6dfac5a516b370',
    ),
  ],
)
def test_the_bundled_models_count_as_ever(name, digest, tmp_path):
  path = shutil.copytree(assets.path(name), tmp_path / 'copy')
  write_files(path, *JUNK, 'model.gguf', 'params/.DS_Store', 'params/README.md')
  assert HF.content(path) == HF.content(name) == digest


def test_the_setting_decides_which_data_counts(tmp_path):
  folder = FOLDERS['data']
  folder.write(tmp_path)
  for split in ('train', 'val', 'test'):
    write_files(tmp_path, f'topic_writing_temporal/{split}.jsonl')
  assert folder.content(tmp_path) == folder.digest
  temporal = dataclasses.replace(
    folder, settings=config.Data(setting='temporal')
  )
  before = temporal.content(tmp_path)
  shutil.rmtree(tmp_path / 'product_review_user')
  assert temporal.content(tmp_path) == before != folder.digest


def test_the_outputs_beside_the_questions_count(tmp_path):
  names = [
    f'email_generation_user/{split}_{part}.json'
    for split in ('train', 'val', 'test')
    for part in ('questions', 'outputs')
  ]
  write_files(tmp_path, *names)
  before = FOLDERS['data'].content(tmp_path)
  for name in names:
    (tmp_path / name).write_text('other')
    assert FOLDERS['data'].content(tmp_path) != before
    write_files(tmp_path, name)


def test_of_shards_with_an_index_those_that_it_names_count(tmp_path):
  write_files(tmp_path, 'config.json', 'a.safetensors', 'old.safetensors')
  index = {'weight_map': {'w': 'a.safetensors'}}
  (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(index))
  before = HF.content(tmp_path)
  (tmp_path / 'old.safetensors').unlink()
  assert HF.content(tmp_path) == before
  (tmp_path / 'a.safetensors').write_text('other')
  assert HF.content(tmp_path) != before


def test_a_file_that_cannot_be_read_is_the_users_error(tmp_path):
  FOLDERS['data'].write(tmp_path)
  gone = tmp_path / 'topic_writing_user' / 'train.jsonl'
  gone.unlink()
  gone.symlink_to(tmp_path / 'nowhere')
  with pytest.raises(errors.InputError, match=r'train\.jsonl: it cannot be re'):
    FOLDERS['data'].content(tmp_path)


def test_a_run_goes_on_where_only_junk_has_come(tmp_path, capsys):
  data, model = tmp_path / 'data', tmp_path / 'model'
  longlamp_rows.folder(data)
  shutil.copytree(assets.path('tiny_pt'), model)
  cfg = pipeline.small(
    methods=('sft',),
    data=config.Data(path=str(data)),
    policy=config.Model(checkpoint=str(model)),
  )
  for _ in range(2):
    with pytest.raises(artifacts.Until):
      restpg.run_methods(cfg, tmp_path / 'work', until='retrieve')
    write_files(data, *JUNK, 'email_generation_temporal/train.jsonl')
    write_files(data / 'email_generation_user', *JUNK)
    write_files(model, *JUNK)
  lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
  assert lines[-4:] == [
    ['base', 'kept'],
    ['retrieve/train', 'kept'],
    ['retrieve/val', 'kept'],
    ['retrieve/test', 'kept'],
  ]
