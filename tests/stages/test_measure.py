"""Facts about restpg_jax/stages/measure.py."""

import dataclasses
import re

import numpy as np
import pytest
from etils import epath

from restpg_jax import config, errors, restpg, types
from restpg_jax.engines import embedder
from restpg_jax.io import artifacts, records
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import measure, score
from tests import pipeline, runs
from tests.io import test_encoders
from tests.rewards import nltk_data

folder = test_encoders.folder  # a small BERT
GOLD = 'a good boat is a boat'
PROMPT = config.Prompt(template='prompts/tiny/policy.txt')
JUDGE = config.Reward(template='prompts/tiny/judge.txt', max_input=192)
BY_ROUGE = dataclasses.replace(JUDGE, name='rouge')
BY_EXPECTED = dataclasses.replace(BY_ROUGE, rule='expected')


@pytest.fixture(scope='module')
def layout():
  return layouts.Layout.of(config.Compute())


def settings(*metrics, encoder='', reasoning=False, reward=BY_ROUGE, **more):
  cfg = config.Config(
    evaluate=config.Evaluate(metrics=metrics, encoder=str(encoder)), **more
  )
  return measure.measure_settings(
    cfg.evaluate,
    cfg.retrieval,
    prompt=PROMPT,
    reward=measure.reward_of(reward, cfg.evaluate),
    reasoning=reasoning,
    m=cfg.answer.m,
  )


def measured(out, texts, cfg, layout):
  """texts: those of the first example, then those of the second, .."""
  examples = [
    runs.example(runs.EMAIL, row, output=GOLD) for row in range(len(texts))
  ]
  drawn = [
    types.Trajectory(example.id, j, text)
    for example, of_one in zip(examples, texts, strict=True)
    for j, text in enumerate(of_one)
  ]
  records.write(out / 'retrieve' / 'examples.jsonl', examples)
  records.write(out / 'answer' / 'trajectories.jsonl', drawn)
  summary = measure.measure(
    out / 'retrieve',
    out / 'answer',
    out=epath.Path(out),
    cfg=cfg,
    layout=layout,
  )
  lines = list(records.read(out / 'measured.jsonl', measure.Measured))
  assert summary['expected'] == summary['made'] == len(lines)
  return lines


def test_each_answer_by_every_name(tmp_path, layout, folder, monkeypatch):
  nltk_data.wordnet(tmp_path)
  nltk_data.punkt(tmp_path)
  cfg = settings(*measure.METRICS, encoder=folder)
  with nltk_data.only(tmp_path, monkeypatch):
    one, two = measured(tmp_path, [[GOLD], ['c']], cfg, layout)
  assert list(one.values) == list(measure.METRICS)
  assert (one.example_id, one.j) == (f'{runs.EMAIL}/test/0', 0)
  counted = one.values.pop('corpus_bleu')
  assert counted == [6, 6, 6, 5, 4, 3, 6, 5, 4, 3]
  whole = {name: 1.0 for name in one.values} | {
    'meteor': 1 - 0.5 / 6**3,  # in one chunk of 6 words
    'judge': one.values['judge'],
  }
  assert one.values == pytest.approx(whole)
  judged = {one.values['judge'], two.values['judge']}
  assert judged <= {0.1, 0.3, 0.5, 0.7, 1.0}
  assert two.values['rouge1'] == two.values['meteor'] == 0.0
  assert -1 <= two.values['cosine'] < 0.999


def test_cosine_is_that_of_the_encoders_vectors(tmp_path, layout, folder):
  texts = ['a b', 'good', GOLD]
  found = measured(
    tmp_path, [[t] for t in texts], settings('cosine', encoder=folder), layout
  )
  vectors_ND = embedder.Embedder(folder, layout, tmp_path / 'x')(texts)
  lengths_N = np.linalg.norm(vectors_ND, axis=1)
  expected = vectors_ND @ vectors_ND[2] / lengths_N / lengths_N[2]
  assert [m.values['cosine'] for m in found] == pytest.approx(expected)


def test_the_judge_gives_what_it_gives_as_the_reward(tmp_path, layout):
  texts = [[GOLD], ['a boat'], ['']]
  found = measured(tmp_path, texts, settings('judge'), layout)
  examples, drawn = tmp_path / 'retrieve', tmp_path / 'answer'
  score.score(
    examples,
    drawn,
    out=tmp_path / 'score',
    cfg=score.ScoreSettings(JUDGE, PROMPT, reasoning=False, m=1),
    layout=layout,
  )
  rewards = [
    s.reward
    for s in records.read(tmp_path / 'score/scored.jsonl', types.Trajectory)
  ]
  assert [m.values['judge'] for m in found] == rewards
  assert rewards[0] > rewards[2] == 0.0


def test_vectors_are_gone_when_it_is_done(tmp_path, layout, folder):
  cfg = settings('cosine', 'judge', encoder=folder)
  measured(tmp_path, [['a']], cfg, layout)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    *('answer', 'measured', 'measured.jsonl', 'metrics.jsonl', 'retrieve'),
  ]


def test_no_answer_is_zero_by_every_name(tmp_path, layout, folder):
  names = [name for name in measure.METRICS if name != 'meteor']
  cfg = settings(*names, encoder=folder, reasoning=True)
  without, empty = measured(
    tmp_path, [['no marker'], ['Summary:\nx\nAnswer:\n ']], cfg, layout
  )
  assert without.values == empty.values
  counted = without.values.pop('corpus_bleu')
  assert counted == [0, 6] + [0] * 8  # its gold text counts
  assert set(without.values.values()) == {0.0}


def test_only_the_answer_is_measured(tmp_path, layout):
  text = f'Summary:\nwords and words\nAnswer:\n{GOLD}'
  cfg = settings('rouge1', reasoning=True)
  (found,) = measured(tmp_path, [[text]], cfg, layout)
  assert found.values == {'rouge1': 1.0}


def test_a_killed_stage_goes_on_and_a_longer_one_makes_what_is_missing(
  tmp_path, layout, monkeypatch
):
  monkeypatch.setattr(measure, 'PIECE', 2)
  texts = [['a'], ['a good'], [GOLD], ['boat'], ['b']]
  cfg = settings('rouge1')
  whole = measured(tmp_path / 'whole', texts, cfg, layout)
  calls = []
  of_rouge = measure.rouge.rouge
  monkeypatch.setattr(
    measure.rouge, 'rouge', lambda *args: calls.append(args) or of_rouge(*args)
  )
  with monkeypatch.context() as killing:
    pipeline.kill_at_write(killing, 2)
    with pytest.raises(KeyboardInterrupt):
      measured(tmp_path / 'cut', texts, cfg, layout)
  assert not (tmp_path / 'cut' / 'measured.jsonl').exists()
  before = len(calls)
  assert measured(tmp_path / 'cut', texts, cfg, layout) == whole
  assert len(calls) - before == 3
  further = dataclasses.replace(cfg, m=2)
  before = len(calls)
  found = measured(
    tmp_path / 'cut', [[*t, 'good'] for t in texts], further, layout
  )
  assert [m for m in found if m.j == 0] == whole
  assert len(calls) - before == 5


def test_what_decides_nothing_is_not_in_the_settings(folder):
  plain = settings('bleu', 'rouge1')
  assert plain == settings('rouge1', 'bleu', 'rouge1')
  assert plain == settings('rouge1', 'bleu', encoder=folder)
  other = config.Reward(rule='expected')
  assert plain == settings('rouge1', 'bleu', 'judge', reward=other)
  assert settings('judge') != settings('judge', reward=BY_EXPECTED)
  with_encoder = settings('rouge1', 'cosine', encoder=folder)

  def mark(cfg):
    return artifacts.fingerprint('measure', measure.measure, (), cfg)

  assert len({mark(c) for c in (plain, with_encoder, settings('bleu'))}) == 3
  assert mark(plain) == mark(dataclasses.replace(plain, m=7))


def test_the_encoder_of_retrieval_serves_too(folder):
  retrieval = config.Retrieval(encoder=str(folder))
  assert settings('cosine', retrieval=retrieval).encoder == str(folder)


@pytest.mark.parametrize(
  'metrics, message',
  [
    (('rouge1', 'rogue2'), "evaluate.metrics has 'rogue2'; known are rouge1, "),
    (('cosine',), 'give the folder of an encoder as evaluate.encoder'),
  ],
)
def test_wrong_settings_are_told_before_anything_runs(metrics, message):
  cfg = config.Config(evaluate=config.Evaluate(metrics=metrics))
  with pytest.raises(errors.InputError, match=re.escape(message)):
    restpg.check_config(cfg)


@pytest.mark.slow
def test_what_is_not_there_is_told_before_anything_runs(tmp_path, monkeypatch):
  cfg = pipeline.small()
  cfg.evaluate = config.Evaluate(metrics=('cosine',), encoder=str(tmp_path))
  with pytest.raises(errors.InputError, match=r'config\.json is missing'):
    restpg.run_methods(cfg, tmp_path / 'work')
  cfg.evaluate = config.Evaluate(metrics=('meteor',))
  with (
    nltk_data.only(tmp_path, monkeypatch),
    pytest.raises(errors.InputError, match='nltk.downloader wordnet'),
  ):
    restpg.run_methods(cfg, tmp_path / 'work')
  assert not (tmp_path / 'work').exists()
