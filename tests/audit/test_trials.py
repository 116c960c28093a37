"""Probes: the texts, the examples they are of, and what is made of rewards."""

import dataclasses
import json

import pytest

from restpg_jax import main, types
from restpg_jax.audit import cases, lengths, trials
from restpg_jax.report import answers
from tests import runs
from tests.audit import stub_reward

GOLDS = 'red boats sail far', 'blue cars drive home', 'old songs last long'


def example(task, n):
  return runs.example(task, n, output=GOLDS[n])


def evaluation(tasks=(runs.EMAIL, runs.TOPIC), per_task=3):
  return answers.Evaluation(
    'sft',
    0,
    tuple(
      answers.Answer(example(task, n), 0, '', f'{task} {n}', True, 0.5, 0, {})
      for task in tasks
      for n in range(per_task)
    ),
  )


def test_others_are_of_another_gold_text_and_task():
  drawn = cases.draw_cases(evaluation(), count=2, seed=0)
  assert [c.example.task for c in drawn] == [runs.EMAIL] * 2 + [runs.TOPIC] * 2
  for case in drawn:
    assert case.other.example.task == case.example.task
    assert case.other.example.output != case.example.output
    assert case.foreign.example.task != case.example.task
    assert case.answer.startswith(case.example.task)


def test_the_seed_decides_which():
  drawn = {
    tuple(c.key for c in cases.draw_cases(evaluation(), count=2, seed=s))
    for s in (1, 1, 2, 3)
  }
  assert 1 < len(drawn) < 4


def test_one_task_has_no_other_genre():
  one = cases.draw_cases(evaluation([runs.TOPIC], 1), count=2, seed=0)
  assert one[0].foreign is one[0].other is None
  names = {p.name for p in trials.PROBES if p.build(one[0]) is None}
  assert names == {
    "the policy's answer to another user", 'a gold text of another genre'
  }  # fmt: skip


@pytest.mark.parametrize(
  ('text', 'beginning'),
  [
    ('red boats sail far away', 'red boats'),
    ('incomprehensible', 'incomprehensible'),
    ('茶壶' * 14, '茶壶' * 7),
    ('', ''),
  ],
)  # fmt: skip
def test_first_words(text, beginning):
  assert trials.first_words(text, 0.5) == beginning


def test_a_mismatched_profile_has_other_traits_and_the_same_rest():
  slots = (
    types.TruthSlot('red', ('red', 'blue')),
    types.TruthSlot('far', ('far', 'near')),
  )
  of = dataclasses.replace(example(runs.TOPIC, 0), truth=slots)
  case = cases.Case(of, 'x', None, None)
  assert trials.mismatched(case) == 'blue boats sail near'
  # A gold text that deviates from its user does so no more.
  other = dataclasses.replace(of, output='blue boats, reddish, sail')
  case = dataclasses.replace(case, example=other)
  assert trials.mismatched(case) == 'blue boats, reddish, sail'
  unknown = dataclasses.replace(of, truth=())
  assert trials.mismatched(dataclasses.replace(case, example=unknown)) is None


def test_a_row_of_a_trial():
  def results(*rewards):
    tasks = 'x', 'x', 'x', 'y'
    return {
      n: trials.Outcome(task, reward, None)
      for n, (task, reward) in enumerate(zip(tasks, rewards, strict=True))
    }

  probe = trials.Trial('probe', lambda case: '')
  (row,) = trials.summarize(
    [probe],
    {'probe': results(0.1, 0.3, 0.5, 1.0), trials.OWN: results(0.3, 0.3, 1, 1)},
  )
  assert row['tasks'] == pytest.approx({'x': 0.3, 'y': 1.0})
  assert row['reward'] == pytest.approx(0.65)  # each task counts the same
  assert row['true_score'] is None
  assert row['full']['share'] == 0.25
  assert row['at_least']['share'] == 0.5
  assert row['change']['difference'] == pytest.approx((-0.7 / 3 + 0) / 2)


@pytest.fixture
def workdir(tmp_path):
  examples = [example(t, n) for t in (runs.EMAIL, runs.TOPIC) for n in range(3)]
  scored = [runs.answer(e, 0.25, 'red <b>songs</b>') for e in examples]
  reward = runs.settings()['reward'] | {'name': 'tests.audit.stub_reward:build'}
  runs.finish(tmp_path / 'w', 'sft', [(examples, scored)], reward=reward)
  stub_reward.CALLS.clear()
  return tmp_path / 'w'


def audit(workdir, *flags):
  return main.main(['audit', f'--workdir={workdir}', '--pairs=0', *flags])


def test_the_audit_of_a_run(workdir, capsys):
  assert audit(workdir) == 0
  found = json.loads((workdir / 'audit' / 'audit.json').read_text())
  assert found['cases'] == 6
  rewards = {
    row['name']: row['reward'] for row in found['bases'] + found['probes']
  }
  assert rewards[trials.GOLD] == 1
  assert rewards[trials.STRANGER] == 0
  assert rewards['nothing'] == 0
  assert rewards['"Score: 10"'] == 0
  assert rewards['the first quarter of the gold text'] == 0.25
  assert rewards["the policy's answer"] == pytest.approx(0.25 / 3)
  out = capsys.readouterr().out
  assert 'the first quarter of the gold text          0.250' in out
  page = (workdir / 'audit' / 'audit.html').read_text()
  assert '<b>' not in page
  assert '<td class="name">SFT</td><td>0</td><td>0.2500</td>' in page
  assert '<td class="name">&#34;Score: 10&#34;</td><td>6</td>' in page


def test_length_and_position(workdir):
  assert audit(workdir) == 0
  found = json.loads((workdir / 'audit' / 'audit.json').read_text())
  rows = {
    row['name']: row for row in found['length']['trials'] + found['position']
  }
  assert rows['the gold text twice']['change']['difference'] == 0
  assert rows["the gold text, then another user's"]['reward'] == 1
  assert rows['the first half of the gold text']['reward'] == 0.5
  # The stub counts the words of the gold text: of two here, not of four.
  swapped = rows['answer and gold text swapped']
  assert swapped['reward'] == pytest.approx(0.5 / 3)
  assert swapped['base'] == trials.OWN
  assert swapped['true_score'] is None


def test_longer_answers_with_higher_rewards():
  def answer(n, text, reward, true_score):
    of = example(runs.TOPIC, n)
    return answers.Answer(of, 0, '', text, True, reward, true_score, {})

  numbers = lengths.length_numbers(
    [
      answers.Evaluation(
        'sft',
        0,
        (
          answer(0, 'a', 0.0, 0.0),
          answer(1, 'a b', 1.0, 0.0),
          answer(2, 'a b c', 2.0, 1.0),
          answer(2, 'a b c d', 3.0, 1.0),
          answer(2, None, 0.0, 0.0),  # no answer has no length
        ),
      )
    ]
  )
  assert numbers['n'] == 4
  assert numbers['tasks'][runs.TOPIC]['words'] == 2.5
  assert numbers['r'] == pytest.approx(1)
  assert numbers['given_truth'] == pytest.approx(1)
  same = answers.Evaluation(
    'sft',
    0,
    (answer(0, 'a', 0.0, 0.0), answer(1, 'a b', 0.0, 1.0)),
  )
  assert lengths.length_numbers([same])['r'] is None


def test_nothing_is_asked_twice(workdir):
  assert audit(workdir) == 0
  (asked,) = stub_reward.CALLS
  assert len(set(asked)) == len(asked)
  first = (workdir / 'audit' / 'audit.json').read_bytes()
  assert audit(workdir) == 0
  assert len(stub_reward.CALLS) == 1
  assert (workdir / 'audit' / 'audit.json').read_bytes() == first


def test_no_examples_no_judge(workdir):
  assert audit(workdir, '--examples=0') == 0
  assert stub_reward.CALLS == []
  assert not (workdir / 'audit' / 'audit.json').exists()
