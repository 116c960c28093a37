"""The reward's scale, and the metrics against each other and the truth."""

import pytest

from restpg_jax.audit import cases, draws, matrix, scale, subjects, trials
from restpg_jax.io import records
from restpg_jax.report import answers
from tests import runs


def outcomes(*values):
  """Of two cases of a task and one of another: reward and true score."""
  keys = ('a', 'i', 'o'), ('b', 'i', 'o'), ('c', 'i', 'o')
  tasks = runs.EMAIL, runs.EMAIL, runs.TOPIC
  return {
    key: trials.Outcome(task, reward, true_score)
    for key, task, (reward, true_score) in zip(keys, tasks, values, strict=True)
  }


def answer(id, task, reward, true_score, **metrics):
  of = runs.example(task, 0, id=id, input='i', output='o')
  return answers.Answer(of, 0, '', 'x y', True, reward, true_score, metrics)


def drawn():
  return [
    cases.Case(answer(id, task, 0, 0).example, '', None, None)
    for id, task in (('a', runs.EMAIL), ('b', runs.EMAIL), ('c', runs.TOPIC))
  ]


def test_a_place_between_floor_and_ceiling():
  results = {
    trials.STRANGER: outcomes((0.1, 0.0), (0.3, 0.0), (0.2, 0.5)),
    trials.GOLD: outcomes((1.0, 1.0), (1.0, 1.0), (0.7, 0.5)),
  }
  evaluations = [
    answers.Evaluation(
      'sft',
      2,
      (
        answer('a', runs.EMAIL, 0.6, 0.5),
        answer('b', runs.EMAIL, 0.6, 0.5),
        answer('c', runs.TOPIC, 0.7, 0.5),
      ),
    ),
    answers.Evaluation('elsewhere', 0, (answer('d', runs.EMAIL, 0.6, 0.5),)),
  ]
  numbers = scale.scale_numbers(evaluations, drawn(), results)
  assert numbers['n'] == 3
  assert numbers['left_out'] == ['elsewhere']
  assert numbers['floor']['reward'] == pytest.approx(0.2)
  assert numbers['ceiling']['reward'] == pytest.approx(0.85)
  (row,) = numbers['methods']
  assert (row['method'], row['t']) == ('sft', 2)
  assert row['place'] == pytest.approx((0.65 - 0.2) / 0.65)
  assert row['true_place'] == pytest.approx((0.5 - 0.25) / 0.5)
  assert row['task_places'] == pytest.approx({runs.EMAIL: 0.5, runs.TOPIC: 1.0})


def test_a_judge_that_sees_no_difference_has_no_scale():
  assert scale.rescaled(0.4, 0.2, 0.7) == pytest.approx(0.4)
  assert scale.rescaled(0.4, 0.5, 0.5) is None
  assert scale.rescaled(0.4, 0.6, 0.5) is None
  assert scale.rescaled(None, 0.1, 0.5) is None


def test_the_matrix_is_within_tasks():
  evaluation = answers.Evaluation(
    'sft',
    0,
    (
      # In each task reward falls as the truth rises; over both it would rise.
      answer('a', runs.EMAIL, 0.2, 0.1, rouge1=0.1),
      answer('b', runs.EMAIL, 0.1, 0.2, rouge1=0.2),
      answer('c', runs.TOPIC, 0.9, 0.8, rouge1=0.8),
      answer('d', runs.TOPIC, 0.8, 0.9, rouge1=0.9, bleu=1.0),
    ),
  )
  numbers = matrix.matrix_numbers([evaluation])
  assert numbers['names'] == ['reward', 'true_score', 'rouge1', 'words']
  reward, truth, rouge, words = numbers['pearson']
  assert reward == pytest.approx([1, -1, -1, None])
  assert truth == pytest.approx([-1, 1, 1, None])
  assert rouge[0] == reward[2]
  assert words[:3] == [None] * 3  # all are of one length
  assert numbers['spearman'][0][1] == pytest.approx(-1)
  assert numbers['agreement']['reward']['pairs'] == 0  # each has its own input


def test_agreement_with_the_truth_counts_a_tie_half():
  def rows(*pairs):
    return [{'reward': r, 'true_score': t} for r, t in pairs]

  groups = [rows((0.1, 0.0), (0.7, 1.0), (0.7, 0.5)), rows((0.5, 1), (0.9, 0))]
  found = matrix.agreements(groups, ['reward', 'true_score'])
  assert found == {'reward': {'pairs': 4, 'share': 2.5 / 4, 'ties': 0.25}}
  assert matrix.agreements([[{'reward': 1.0}]], ['reward']) == {}


def store(workdir, name, examples, rewards, reward, m=2):
  """A store of scored samples, two an input, as the stage leaves it."""
  samples = [
    runs.answer(e, r, 'blue boats', j=j)
    for e, pair in zip(examples, rewards, strict=True)
    for j, r in enumerate(pair)
  ]
  records.write(workdir / name / 'scored.jsonl', samples)
  records.write_json(
    workdir / name / 'DONE.json',
    {
      'cfg': {
        'reward': reward,
        'prompt': {'template': 'prompts/tiny/policy.txt'},
        'reasoning': False,
        'm': m,
      },
      'inputs': [{'path': 'train'}, {'path': 'x'}],
    },
  )


def test_samples_of_e_steps_with_the_same_reward(tmp_path):
  one = runs.example(runs.TOPIC, 0)
  runs.finish(tmp_path, 'sft', [([one], [runs.answer(one, 0.5)])])
  train = [runs.example(t, n) for t in (runs.EMAIL, runs.TOPIC) for n in (0, 1)]
  records.write(tmp_path / 'train' / 'examples.jsonl', train)
  reward = runs.settings()['reward']
  same, other = reward | {'dtype': 'bfloat16'}, reward | {'max_input': 9}
  for name, of in (
    ('e_step1/score-a', same),
    ('e_step1/score-b', other),
    ('e_step2/score-c', same),
    ('eval0/score-d', same),
  ):
    store(tmp_path, name, train, [(0.1, 0.7, 1.0)] * 4, of)
  subject = subjects.read_subject(tmp_path)
  found = draws.read_draws(subject, count=1, seed=0)
  assert [(e.method, e.t) for e in found] == [
    ('e_step1/score-a', 1), ('e_step2/score-c', 2)
  ]  # fmt: skip
  rewards = [a.reward for a in found[0].answers]
  assert rewards == [0.1, 0.7] * 2  # j < m, one input of each task
  assert {a.example.task for a in found[0].answers} == {runs.EMAIL, runs.TOPIC}
