"""Facts about restpg_jax/stages/retrieve.py and engines/embedder.py."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from restpg_jax import config, errors, types, validate
from restpg_jax.engines import embedder
from restpg_jax.io import artifacts, records
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import retrieve
from tests.data import longlamp_rows
from tests.io import test_encoders

folder = test_encoders.folder  # a small BERT
SAMPLE = pathlib.Path(__file__).parents[3] / 'shared/data/longlamp_sample'


@pytest.fixture(scope='module')
def layout():
  return layouts.Layout.of(config.Compute())


def settings(split='test', **retrieval):
  return retrieve.retrieve_settings(
    config.Data(world=config.World(train=8, val=8, test=8)),
    config.Retrieval(**retrieval),
    split,
    seed=0,
  )


def contexts(out, layout, **retrieval):
  said = retrieve.retrieve(out=out, cfg=settings(**retrieval), layout=layout)
  assert said['made'] == said['expected'] == 8
  found = records.read(out / 'examples.jsonl', types.Example)
  return [e.context for e in found]


def test_every_retriever_by_its_name(tmp_path, layout, folder):
  found = {}
  for name in retrieve.RETRIEVERS:
    (tmp_path / name).mkdir()
    found[name] = contexts(
      tmp_path / name, layout, name=name, encoder=str(folder), k=2
    )
  assert all(context == () for context in found['none'])
  rest = [found[n] for n in ('contriever', 'bm25', 'recency', 'random')]
  assert all(len(context) == 2 for some in rest for context in some)
  assert len({str(some) for some in rest}) == 4


def test_a_profile_smaller_than_k_is_taken_whole(tmp_path, layout, folder):
  for name in ('contriever', 'bm25', 'recency', 'random'):
    (tmp_path / name).mkdir()
    few = contexts(tmp_path / name, layout, name=name, encoder=str(folder), k=2)
    (tmp_path / f'{name}2').mkdir()
    many = contexts(
      tmp_path / f'{name}2', layout, name=name, encoder=str(folder), k=999
    )
    for a, b in zip(few, many, strict=True):
      assert b[:2] == a
      assert 2 < len(b) < 999


def test_only_test_users_are_shuffled(tmp_path, layout):
  plain, mixed = (settings(s, shuffle=0.5) for s in ('train', 'test'))
  assert plain == settings('train')
  assert mixed != settings('test')
  before = contexts(tmp_path, layout)
  after = contexts(tmp_path, layout, shuffle=1.0)
  assert all(a != b for a, b in zip(before, after, strict=True))


def test_copies_are_left_out_where_that_is_asked_for(tmp_path, layout):
  gold = 'one text of mine that nobody else would write in these words'
  profile = [{'text': text} for text in ('a b', gold.upper(), 'A, b', 'c')]
  row = {'input': 'a', 'output': gold, 'profile': profile}
  rows = longlamp_rows.lines(row, row | {'input': 'b'})
  longlamp_rows.folder(tmp_path, train=rows)

  def context(**how):
    data = config.Data(path=str(tmp_path), **how)
    retrieval = config.Retrieval('recency', k=9)
    cfg = retrieve.retrieve_settings(data, retrieval, 'train', seed=0)
    said = retrieve.retrieve(out=tmp_path, cfg=cfg, layout=layout)
    first, _ = records.read(tmp_path / 'examples.jsonl', types.Example)
    return first.context, said

  made = {'expected': 2, 'made': 2}
  assert context() == (('c', 'A, b', gold.upper(), 'a b'), made)
  assert context(dedupe=True) == (
    ('c', gold.upper(), 'a b'),
    made | {'repeated_documents': 2},
  )
  assert context(dedupe=True, drop_leaks=True) == (
    ('c', 'a b'),
    made | {'repeated_documents': 2, 'leaked_documents': 2},
  )


class Counted:
  """An Embedder's program that counts the texts it reads."""

  def __init__(self, program):
    self.program, self.texts, self.shapes = program, 0, set()

  def __call__(self, params, tokens, length):
    self.texts += int((length > 0).sum())
    self.shapes.add(tokens.shape)
    return self.program(params, tokens, length)


def test_equal_texts_and_known_ones_are_read_once(tmp_path, layout, folder):
  encode = embedder.Embedder(folder, layout, tmp_path / 'vectors')
  encode._program = program = Counted(encode._program)
  texts = ['a', 'b good', 'a', 'c', 'b good']
  found = encode(texts)
  assert program.texts == 3
  np.testing.assert_array_equal(found[0], found[2])
  np.testing.assert_array_equal(found[1], found[4])
  again = embedder.Embedder(folder, layout, tmp_path / 'vectors')
  again._program = program
  more = again(['c', 'd', 'a'])
  assert program.texts == 4
  np.testing.assert_array_equal(more[[0, 2]], found[[3, 0]])


def test_a_text_has_the_same_vector_in_any_company(tmp_path, layout, folder):
  rng = np.random.default_rng(0)
  texts = [' '.join(rng.choice(list('abcde'), n)) for n in range(1, 40)]
  alone = embedder.Embedder(folder, layout, tmp_path / '1')(texts[5:6])
  beside = embedder.Embedder(folder, layout, tmp_path / '2')(texts)
  np.testing.assert_array_equal(alone[0], beside[5])


def test_stages_of_a_workdir_share_what_was_read(tmp_path, layout, folder):
  def made():
    return {p: p.stat().st_mtime_ns for p in tmp_path.glob('vectors-*/*')}

  found = []
  for stage, k in (('some', 1), ('more', 3)):
    (tmp_path / stage).mkdir()
    cfg = {'name': 'contriever', 'encoder': str(folder), 'k': k}
    contexts(tmp_path / stage, layout, **cfg)
    found.append(made())
  assert len(found[0]) == 2
  assert found[0] == found[1]


def test_an_interrupted_stage_goes_on(tmp_path, layout, folder, monkeypatch):
  monkeypatch.setattr(embedder, 'KEPT', 4)
  encode = embedder.Embedder(folder, layout, tmp_path)
  encode._program = program = Counted(encode._program)
  add = encode._store.add
  left = [2]

  def killed(*args):
    left[0] -= 1
    if left[0]:
      return add(*args)
    raise KeyboardInterrupt

  encode._store.add = killed
  texts = [f'{"a" * n} {"b" * m}' for n in range(1, 4) for m in range(1, 4)]
  with pytest.raises(KeyboardInterrupt):
    encode(texts)
  assert program.texts == 8
  again = embedder.Embedder(folder, layout, tmp_path)
  again._program = program
  again(texts)
  assert program.texts == 8 + 5


def test_another_encoder_has_another_fingerprint(folder, tmp_path):
  def of(**retrieval):
    return artifacts.fingerprint(
      'retrieve', retrieve.retrieve, (), settings(**retrieval)
    )

  assert of(name='contriever', encoder=str(folder)) != of(name='contriever')


@pytest.mark.parametrize(
  'retrieval, said',
  [
    ({'name': 'tfidf'}, "retrieval.name is 'tfidf'; known are contriever, bm2"),
    ({'name': 'contriever'}, 'give the folder of its weights as retrieval.enc'),
    ({'k': 0}, 'retrieval.k is 0; it must be at least 1'),
    ({'shuffle': 1.5}, 'retrieval.shuffle is 1.5; it must be from 0 to 1'),
  ],
)
def test_wrong_settings_are_told_before_anything_runs(retrieval, said):
  cfg = config.Config(retrieval=config.Retrieval(**retrieval))
  with pytest.raises(errors.InputError) as error:
    validate.check_settings(cfg)
  assert said in str(error.value)


def mails(tmp_path, **files):
  """DIR with the e-mail task, a row that says its split where not given."""
  task = tmp_path / 'email_generation_user'
  task.mkdir()
  for split in ('train', 'val', 'test'):
    row = {'input': f'a mail of {split}', 'output': 'its end', 'profile': []}
    content = files.get(split, json.dumps(row))
    (task / f'{split}.jsonl').write_text(content)
  return config.Data(path=str(tmp_path))


def test_skipped_rows_are_listed_beside_the_examples(tmp_path, layout):
  row = '{"input": "x", "output": "y", "profile": []}'
  data = mails(tmp_path, train=f'{row}\n{{"input": "x"}}\n{row}')
  cfg = retrieve.retrieve_settings(data, config.Retrieval(), 'train', seed=0)
  with pytest.raises(errors.InputError, match='row 2 .line 2.: output is miss'):
    retrieve.retrieve(out=tmp_path, cfg=cfg, layout=layout)
  assert not (tmp_path / 'examples.jsonl').exists()
  data = dataclasses.replace(data, on_error='skip')
  cfg = retrieve.retrieve_settings(data, config.Retrieval(), 'train', seed=0)
  with pytest.warns(errors.DataWarning):  # the two good rows are one and same
    said = retrieve.retrieve(out=tmp_path, cfg=cfg, layout=layout)
  assert said['made'] == said['expected'] == 2
  assert said['skipped_rows'] == 1
  [line] = (tmp_path / 'skipped.jsonl').read_text().splitlines()
  assert json.loads(line) == {
    'file': f'{tmp_path}/email_generation_user/train.jsonl',
    'row': 2,
    'reason': 'output is missing; every row needs a text there (the row has '
    'input)',
  }


def test_one_piece_of_the_examples_is_held_at_a_time(tmp_path, layout):
  class Row(dict):
    alive = 0

    def __init__(self, *args):
      super().__init__(*args)
      Row.alive += 1
      Row.most = max(getattr(Row, 'most', 0), Row.alive)

    def __del__(self):
      Row.alive -= 1

  def examples():
    for n in range(40):
      yield types.Example(str(n), 'topic_writing', 'x', 'y', truth=Row())

  found = retrieve.with_contexts(
    examples(), retrieve.by_bm25(None, 0, layout, tmp_path), k=1, piece=8
  )
  for _ in found:
    pass
  assert Row.most <= 2 * 8


def test_how_rows_are_read_decides_nothing_of_the_world():
  def of(**data):
    data = config.Data(world=config.World(train=8), **data)
    return retrieve.retrieve_settings(data, config.Retrieval(), 'train', seed=0)

  assert of() == of(max_text=5, on_error='skip', setting='temporal')
  assert of(path='x') != of(path='x', max_text=5)


@pytest.mark.parametrize(
  'data, said',
  [
    ({'on_error': 'go'}, "data.on_error is 'go'; it must be stop or skip"),
    ({'max_text': 0}, 'data.max_text is 0; it must be from 1 to 2796202'),
    ({'max_text': 3_000_000}, 'it must be from 1 to 2796202'),
  ],
)
def test_wrong_ways_to_read_are_told_before_anything_runs(data, said):
  with pytest.raises(errors.InputError) as error:
    validate.check_settings(config.Config(data=config.Data(**data)))
  assert said in str(error.value)
