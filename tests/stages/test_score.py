"""What a reward looks at, and the judge beside a naive reading of it."""

import dataclasses
import json
import warnings

import pytest
from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.engines import reward_log, rewards
from restpg_jax.io import append_log, artifacts, records
from restpg_jax.stages import score
from tests import tiny

PROMPT = config.Prompt(template='prompts/tiny/policy.txt')
EXAMPLE = types.Example('e', 'topic_writing', 'Say it', 'It is good.')


def settings(reasoning, name='rouge'):
  return score.ScoreSettings(config.Reward(name=name), PROMPT, reasoning, m=8)


def answer(text, reasoning=True):
  query = rewards.reward_query(
    EXAMPLE, rewards.answer_reader(PROMPT, reasoning=reasoning)(text)
  )
  return query and query.answer


def test_only_the_answer_behind_the_first_marker_is_rewarded():
  assert answer('Summary:\nshort texts\nAnswer:\nIt is\nAnswer:\nbad') == (
    'It is\nAnswer:\nbad'
  )


def test_without_marker_or_with_nothing_behind_it_there_is_no_answer():
  assert answer('Summary:\nshort texts') is None
  assert answer('Summary:\nshort texts\nAnswer:\n') is None


def test_a_method_without_reasoning_answers_with_the_whole_text():
  assert answer('It is.\nAnswer:\nbad', reasoning=False) == (
    'It is.\nAnswer:\nbad'
  )


def scored(tmp_path, texts, name='rouge', accept=None):
  records.write(tmp_path / 'examples.jsonl', [EXAMPLE])
  records.write(
    tmp_path / 'trajectories.jsonl',
    [types.Trajectory('e', j, t) for j, t in enumerate(texts)],
  )
  out = tmp_path / 'out'
  out.mkdir(exist_ok=True)
  summary = score.score(
    tmp_path,
    tmp_path,
    out=out,
    cfg=dataclasses.replace(settings(True, name), accept=accept),
    layout=tiny.layout(),
  )
  lines = records.read(out / 'scored.jsonl', types.Trajectory)
  return summary, [line.reward for line in lines]


def test_no_answer_is_reward_0_and_counted_and_equal_answers_asked_once(
  tmp_path,
):
  texts = ['no marker', 'x\nAnswer:\nIt is good.', 'y\nAnswer:\nIt is good.']
  summary, scores = scored(tmp_path, texts)
  assert scores == [0.0, 1.0, 1.0]
  assert summary['without_answer'] == 1
  assert summary['distinct'] == 1


EQUAL = ['x\nAnswer:\nboats', 'y\nAnswer:\nstars', 'no marker']


def test_a_reward_that_tells_nothing_apart_warns_after_an_e_step(tmp_path):
  with pytest.warns(errors.DataWarning) as caught:
    scored(tmp_path, EQUAL, accept=1.0)
  assert (
    'reward.name=rouge: all 2 distinct outputs have the same reward, 0, so '
    'none is told from another; look at reward.model and reward.template'
  ) in [str(w.message) for w in caught]


def test_of_a_test_set_or_of_rewards_that_differ_it_says_nothing(tmp_path):
  different = [*EQUAL, 'z\nAnswer:\nIt is good.']
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    scored(tmp_path / 'differ', different, accept=1.0)
    scored(tmp_path / 'test', EQUAL)


def test_rewards_of_a_killed_run_are_not_asked_again(tmp_path):
  texts = ['x\nAnswer:\nIt is good.', 'y\nAnswer:\nelse']
  out = tmp_path / 'out'
  out.mkdir()
  known = rewards.RewardQuery('Say it', 'It is good.', 'It is good.')
  append_log.AppendLog(out / 'rewards', reward_log.ScoredQuery, host=0).append(
    [
      reward_log.ScoredQuery(reward_log.query_key(known), 0.25)
    ]  # no reward of ours: proves it is not redone
  )
  _, scores = scored(tmp_path, texts)
  assert scores == [0.25, 0.0]


def test_of_two_rewards_of_a_question_the_first_counts(tmp_path):
  known = rewards.RewardQuery('Say it', 'It is good.', 'It is good.')
  append_log.AppendLog(
    tmp_path / 'out/rewards', reward_log.ScoredQuery, host=0
  ).append(
    [
      reward_log.ScoredQuery(reward_log.query_key(known), r)
      for r in (0.25, 0.5)
    ]
  )
  _, scores = scored(tmp_path, ['x\nAnswer:\nIt is good.'])
  assert scores == [0.25]


def test_pieces_ask_a_question_once_wherever_it_comes_again(
  tmp_path, monkeypatch
):
  twin = dataclasses.replace(EXAMPLE, id='f')  # another user, the same texts
  bare = dataclasses.replace(EXAMPLE, id='g', output='never drawn')
  records.write(tmp_path / 'examples.jsonl', [EXAMPLE, bare, twin])
  texts = ['It', 'is', 'good', 'It', 'bad']
  records.write(
    tmp_path / 'trajectories.jsonl',
    [
      types.Trajectory(id, j, f'x\nAnswer:\n{text}')
      for id in 'ef'
      for j, text in enumerate(texts)
    ],
  )
  pieces = []

  def build(cfg, layout):
    def reward(queries):
      pieces.append([q.answer for q in queries])
      yield [(n, len(q.answer) / 10) for n, q in enumerate(queries)]

    return reward

  monkeypatch.setitem(rewards.REWARDS, 'length', build)
  monkeypatch.setattr(reward_log, 'PIECE', 3)
  summary = score.score(
    tmp_path,
    tmp_path,
    out=tmp_path / 'out',
    cfg=settings(True, 'length'),
    layout=tiny.layout(),
  )
  assert pieces == [['It', 'is', 'good'], ['bad']]
  assert summary['distinct'] == 4 and summary['made'] == 10
  assert summary['mean_reward'] == pytest.approx(0.26)
  lines = records.read(tmp_path / 'out' / 'scored.jsonl', types.Trajectory)
  assert [line.reward for line in lines] == [0.2, 0.2, 0.4, 0.2, 0.3] * 2


def test_cut_prompts_are_counted_over_all_sittings(tmp_path, monkeypatch):
  def cutter(queries):
    yield [
      rewards.Judgement(n, 0.5, truncated=query.answer != 'z')
      for n, query in enumerate(queries)
    ]

  monkeypatch.setitem(rewards.REWARDS, 'cutter', lambda cfg, layout: cutter)
  for texts in ('w', 'wyz'):
    outputs = [f'x\nAnswer:\n{text}' for text in texts]
    summary, _ = scored(tmp_path, outputs, 'cutter')
  assert summary['cut_prompts'] == 2


def test_samples_beyond_m_of_a_wider_store_are_not_scored(tmp_path):
  summary, scores = scored(tmp_path, ['x\nAnswer:\ny'] * 11)
  assert len(scores) == summary['expected'] == 8


def test_a_sample_that_gets_lost_is_missed(tmp_path, monkeypatch):
  queries = score.sample_queries
  monkeypatch.setattr(
    score, 'sample_queries', lambda *args: [*queries(*args)][:-1]
  )
  summary, scores = scored(tmp_path, ['x\nAnswer:\ny'] * 3)
  assert len(scores) == 2
  assert (summary['expected'], summary['made']) == (3, 2)


def test_a_round_without_samples_has_no_mean(tmp_path):
  summary, scores = scored(tmp_path, [])
  assert scores == [] and summary['made'] == 0
  assert summary['mean_reward'] is None


def test_the_accepted_share_is_shown_and_changes_nothing(tmp_path):
  texts = ['none', *['x\nAnswer:\nIt is good.'] * 2, 'y\nAnswer:\nelse']
  summary, scores = scored(tmp_path, texts, accept=0.7)
  assert scores == [0.0, 1.0, 1.0, 0.0]
  assert summary['accepted'] == 0.5
  *_, line = (tmp_path / 'out' / 'metrics.jsonl').read_text().splitlines()
  pace = json.loads(line)  # of answers: an output without one is not scored
  assert (pace['done'], pace['total']) == (2, 2)
  assert pace['accepted'] == pace['mean_reward'] == pytest.approx(2 / 3)
  marks = {
    artifacts.fingerprint(
      'score', score.score, (), dataclasses.replace(settings(True), accept=bar)
    )
    for bar in (None, 0.7, 1.0)
  }
  assert len(marks) == 1


THEIR_REWARDS = """
import numpy as np
from restpg_jax.engines import rewards

def pairs(cfg, layout):
  return lambda queries: ([(n, 0.5)] for n, _ in enumerate(queries))

def of_numpy(cfg, layout):
  def reward(queries):
    yield list(zip(np.arange(len(queries)), np.full(len(queries), 0.5)))
  return reward

def judgements(cfg, layout):
  return lambda queries: (
    [rewards.Judgement(n, 0.5, tokens=7, truncated=n == 0)]
    for n, _ in enumerate(queries))
"""


@pytest.mark.parametrize(
  ('name', 'cut', 'tokens'),
  [('pairs', 0, None), ('of_numpy', 0, None), ('judgements', 1, 14)],
)
def test_a_reward_of_somebody_else_is_imported(
  tmp_path, monkeypatch, name, cut, tokens
):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'their_rewards.py').write_text(THEIR_REWARDS)
  texts = ['x\nAnswer:\ny', 'x\nAnswer:\nz']
  summary, scores = scored(tmp_path, texts, f'their_rewards:{name}')
  assert scores == [0.5, 0.5]
  assert summary['cut_prompts'] == cut
  *_, line = (tmp_path / 'out' / 'metrics.jsonl').read_text().splitlines()
  assert json.loads(line)['tokens'] == tokens


def test_a_reward_answers_each_question_once(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'odd_rewards.py').write_text(
    'def twice(cfg, layout):\n'
    '  return lambda queries: [[(0, 0.5), (0, 0.5)]]\n'
    'def never(cfg, layout):\n'
    '  return lambda queries: [[(1, 0.5)]]\n'
  )
  texts = ['x\nAnswer:\ny', 'x\nAnswer:\nz']
  with pytest.raises(errors.InputError, match='odd_rewards:twice: it answered'):
    scored(tmp_path, texts, 'odd_rewards:twice')
  with pytest.raises(
    errors.InputError, match='1 of 2 questions have no reward, .* number 0'
  ):
    scored(tmp_path, texts, 'odd_rewards:never')


@pytest.mark.parametrize(
  'text, remedy',
  [
    ('x\nAnswer:\nred boats', 'read some in'),
    ('no marker', 'train longer'),
    ('x\nAnswer:\nIt is bad.', None),
  ],
)
def test_rewards_that_are_all_0_are_warned_of_also_when_they_are_kept(
  tmp_path, text, remedy
):
  records.write(tmp_path / 'examples.jsonl', [EXAMPLE])
  drawn = [types.Trajectory('e', j, text) for j in range(2)]
  records.write(tmp_path / 'trajectories.jsonl', drawn)
  given = artifacts.Artifact(epath.Path(tmp_path), 'given', {})
  for _ in range(2):
    store = artifacts.Store(tmp_path, layout=tiny.layout())
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always')
      store.step(
        'e_step1/score',
        score.score,
        given,
        given,
        cfg=settings(True),
        after=score.warn_if_all_zero,
      )
    messages = [
      str(w.message) for w in caught if w.category is errors.DataWarning
    ]
    if remedy:
      [message] = messages
      assert 'the reward (rouge) of all 2 outputs is 0' in message
      assert remedy in message and '\n' not in message
    else:
      assert messages == []
