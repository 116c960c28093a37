"""Facts about outputs, their charts, training curves, costs and moments."""

import pytest

from restpg_jax.io import records
from restpg_jax.report import build, costs, curves, moments, outputs
from restpg_jax.stages import choose, train
from tests import runs

pytestmark = pytest.mark.usefixtures('no_warnings')


def test_moments_are_those_of_all_values():
  sums = moments.Moments()
  assert sums.pair() == [None, None]
  for value in (0, 0, 1, 1):
    sums.add(value)
  assert sums.pair() == pytest.approx([0.5, 0.288675])


def test_lengths_and_calibration_of_test_answers(tmp_path):
  examples = [runs.example(runs.EMAIL, row) for row in range(4)]
  rewards = 0.1, 0.1, 1.0, 1.0
  texts = 'no', 'blue', 'red', 'red boats'
  scored = [
    runs.answer(e, r, text=text, tokens=4, ended=r > 0.1)
    for e, r, text in zip(examples, rewards, texts, strict=True)
  ]
  runs.finish(tmp_path, 'rest_pg', [(examples, scored)])
  results = build.build_report(tmp_path)
  (row,) = results['outputs']
  assert (row['method'], row['t']) == ('rest_pg', 0)
  assert row['completions/mean_length'] == [4, 0]
  assert row['completions/clipped_ratio'][0] == 0.5
  assert row['answer_words'][0] == 5 / 4
  assert row['calibration'] == {
    'true_score': [[0.1, 2, 0.0, 0.0], [1.0, 2, 1.0, 0.0]]
  }
  names = {p.name for p in (tmp_path / 'report' / 'figures').iterdir()}
  assert {'calibration_true_score.csv', 'output_words.png'} <= names


def test_a_measure_that_some_answers_lack_calibrates_nothing(tmp_path):
  examples = [
    runs.example(runs.EMAIL, 0),
    runs.example(runs.EMAIL, 1, truth=()),
  ]
  runs.finish(
    tmp_path, 'sft', [(examples, [runs.answer(e, 0.5) for e in examples])]
  )
  assert build.build_report(tmp_path)['outputs'][0]['calibration'] == {}


def test_training_curves(tmp_path):
  lines = [train.TrainLog(step, 1 / step, 2.0, 1e-3) for step in (1, 2, 4)]
  records.write(tmp_path / 'trained' / 'metrics.jsonl', lines)
  rewards = [choose.CheckpointReward(4, 0.5)]
  records.write(tmp_path / 'chosen' / 'validation.jsonl', rewards)
  method = {
    'label': 'sft',
    'method': 'sft',
    'config': runs.settings(),
    'output': None,
    'iterations': [{'t': 0, 'answers': 'a', 'scores': 's'}],
  }
  stages = [
    {'name': name, 'folder': folder, 'fingerprint': folder, 'inputs': inputs}
    for name, folder, inputs in (
      ('sft/train', 'trained', []),
      ('sft/choose', 'chosen', [{'fingerprint': 'trained'}]),
      ('eval0/score', 's', [{'fingerprint': 'chosen'}]),
    )
  ]
  drawn = {c.name: c for c in curves.figures(tmp_path, [method], stages)}
  (panel,) = drawn['training_loss'].panels
  assert (panel.title, panel.series[0].title) == ('SFT', 'sft')
  assert [(p.x, p.y) for p in panel.series[0].points] == [
    (1, 1), (2, 0.5), (4, 0.25)
  ]  # fmt: skip
  (panel,) = drawn['training_validation'].panels
  assert [(p.x, p.y) for p in panel.series[0].points] == [(4, 0.5)]
  (tmp_path / 'trained' / 'metrics.jsonl').unlink()
  left = [c.name for c in curves.figures(tmp_path, [method], stages)]
  assert left == ['training_validation']


def test_long_curves_keep_their_ends():
  thin = curves.thinned(list(range(1, 10_001)))
  assert (thin[0], thin[-1]) == (1, 10_000) and len(thin) < 160
  assert curves.thinned([]) == []


def stage(name, folder, inputs=(), **changed):
  return {
    'name': name,
    'folder': folder,
    'fingerprint': folder,
    'inputs': [{'fingerprint': f} for f in inputs],
    'seconds': 36.0,
    'sittings': [],
    'devices': {'kind': 'TPU v4', 'count': 4},
    'summary': {'made': 2, 'tokens': 50},
    **changed,
  }


def test_cost_counts_chips():
  method = {
    'label': 'rest_pg',
    'output': runs.OUTPUT,
    'iterations': [{'t': 1, 'answers': 'a', 'scores': 's'}],
  }
  stages = [
    stage('sft/train', 't'),
    stage('m_step1/train', 't1', ['t']),
    stage('eval1/answer', 'a', ['t1']),
    stage('eval1/score', 's', ['a'], devices=None),
    stage('eval2/score', 'of another method'),
  ]
  cost = costs.account([method], stages)
  by_kind = {row['kind']: row for row in cost['kinds']}
  assert list(by_kind) == ['train', 'judge', 'answer']
  assert by_kind['train']['seconds'] == 72
  assert by_kind['train']['chip_seconds'] == 4 * 72
  assert by_kind['judge']['chip_seconds'] is None  # a marker of before
  (answer,) = cost['answers']
  assert answer == {
    'method': 'rest_pg',
    't': 1,
    'reasoning': True,
    'answers': 2,
    'tokens': 25,
    'seconds': 18,
    'chip_seconds': 72,
  }


def test_outputs_name_each_evaluation_once(tmp_path):
  results = runs.two_methods(tmp_path)
  assert [(row['method'], row['t']) for row in results['outputs']] == [
    ('sft', 0), ('rest_pg', 0), ('rest_pg', 1)
  ]  # fmt: skip
  assert outputs.numbers([], {}) == []
