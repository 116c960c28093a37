"""What a reward looks at, and the judge beside a naive reading of it."""

import dataclasses
import json

import numpy as np
import pytest

from restpg_jax import config, errors, types
from restpg_jax.io import artifacts, records
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import language, score
from restpg_jax.text import prompts

PROMPT = config.Prompt(template='prompts/tiny/policy.txt')
EXAMPLE = types.Example('e', 'topic_writing', 'Say it', 'It is good.')


def settings(reasoning, name='rouge'):
  return score.Settings(config.Reward(name=name), PROMPT, reasoning, m=8)


def asked(text, reasoning=True):
  sample = types.Trajectory('e', 0, text)
  (question,) = score.questions([sample], {'e': EXAMPLE}, settings(reasoning))
  return question and question.answer


def test_only_the_answer_behind_the_first_marker_is_rewarded():
  assert asked('Summary:\nshort texts\nAnswer:\nIt is\nAnswer:\nbad') == (
    'It is\nAnswer:\nbad'
  )


def test_without_marker_or_with_nothing_behind_it_there_is_no_answer():
  assert asked('Summary:\nshort texts') is None
  assert asked('Summary:\nshort texts\nAnswer:\n') is None


def test_a_method_without_reasoning_answers_with_the_whole_text():
  assert asked('It is.\nAnswer:\nbad', reasoning=False) == (
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
    layout=None,
  )
  found = records.read(out / 'scored.jsonl', types.Trajectory)
  return summary, [t.reward for t in found]


def test_no_answer_is_reward_0_and_counted_and_equal_answers_asked_once(
  tmp_path,
):
  texts = ['no marker', 'x\nAnswer:\nIt is good.', 'y\nAnswer:\nIt is good.']
  summary, rewards = scored(tmp_path, texts)
  assert rewards == [0.0, 1.0, 1.0]
  assert summary['without_answer'] == 1
  assert summary['distinct'] == 1


def test_rewards_of_a_killed_run_are_not_asked_again(tmp_path):
  texts = ['x\nAnswer:\nIt is good.', 'y\nAnswer:\nelse']
  out = tmp_path / 'out'
  out.mkdir()
  known = score.Question('Say it', 'It is good.', 'It is good.')
  records.Shards(out / 'rewards', score.Scored, host=0).append(
    [score.Scored(known, 0.25)]  # no reward of ours: proves it is not redone
  )
  _, rewards = scored(tmp_path, texts)
  assert rewards == [0.25, 0.0]


def test_of_two_rewards_of_a_question_the_first_counts(tmp_path):
  known = score.Question('Say it', 'It is good.', 'It is good.')
  records.Shards(tmp_path / 'out/rewards', score.Scored, host=0).append(
    [score.Scored(known, 0.25), score.Scored(known, 0.5)]
  )
  _, rewards = scored(tmp_path, ['x\nAnswer:\nIt is good.'])
  assert rewards == [0.25]


def test_samples_beyond_m_of_a_wider_store_are_not_scored(tmp_path):
  summary, rewards = scored(tmp_path, ['x\nAnswer:\ny'] * 11)
  assert len(rewards) == summary['expected'] == 8


def test_a_round_without_samples_has_no_mean(tmp_path):
  summary, rewards = scored(tmp_path, [])
  assert rewards == [] and summary['made'] == 0
  assert summary['mean_reward'] is None


def test_the_accepted_share_is_shown_and_changes_nothing(tmp_path):
  texts = ['none', *['x\nAnswer:\nIt is good.'] * 2, 'y\nAnswer:\nelse']
  summary, rewards = scored(tmp_path, texts, accept=0.7)
  assert rewards == [0.0, 1.0, 1.0, 0.0]
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


def test_an_unknown_reward_names_the_known_ones():
  with pytest.raises(errors.InputError, match='known are judge, rouge'):
    score.build(config.Reward(name='jugde'), None)
  with pytest.raises(errors.InputError, match='no_such_module'):
    score.build(config.Reward(name='no_such_module:build'), None)


def test_a_reward_of_somebody_else_is_imported(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'their_rewards.py').write_text(
    'def build(cfg, layout):\n  return lambda asked: ([0.5] for _ in asked)\n'
  )
  _, rewards = scored(tmp_path, ['x\nAnswer:\ny'], 'their_rewards:build')
  assert rewards == [0.5]


def test_the_judge_takes_the_label_a_full_forward_pass_finds_likeliest():
  cfg = config.Reward(template='prompts/tiny/judge.txt', max_input=192)
  layout = layouts.Layout.of(config.Compute(judged=4))
  instruction = (
    'Complete the text of the following email. title: small trip. text: Note '
    'for Monday.'
  )
  reference = (
    'Hello, the trip needs safety by Monday. Please note the trip demands '
    'speed too. Cheers.'
  )
  other = 'Howdy team, the trip needs silence while the trip demands privacy.'
  questions = [
    score.Question(instruction, reference, answer)
    for answer in (reference, other, 'no <eos> 10')
  ]
  found = [r for part in score.build(cfg, layout)(questions) for r in part]
  judge = language.load_named(cfg.model, layout)
  expected = [naive(judge, cfg, q) for q in questions]
  assert found == expected
  assert found[1] < found[0]


def naive(judge, cfg, question):
  """One prompt and one label at a time, whole rows, in NumPy."""
  template = language.load_template(cfg.template)
  ids = prompts.judge(
    template, judge.tokenizer, **vars(question), limit=cfg.max_input
  ).ids
  params = {'params': {k: v for k, v in weights(judge).items()}}
  scores = []
  for label in (1, 3, 5, 7, 10):
    tokens = judge.tokenizer.encode(str(label))
    logits = judge.model.apply(params, np.array([ids + tokens]))[0]
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    said = sum(logp[len(ids) - 1 + n, token] for n, token in enumerate(tokens))
    digits = np.exp(logp[-1, np.array(judge.tokenizer.digits)]).sum()
    scores.append(float(said + np.log1p(-digits)))
  return (1, 3, 5, 7, 10)[int(np.argmax(scores))] / 10


def weights(judge):
  import jax

  return jax.tree.map(lambda x: np.asarray(x)[0], judge.params)
