"""Facts about restpg_jax/report/samples.py: what the browser gets to show."""

import base64
import gzip
import json
import random

from restpg_jax.report import answers, samples
from tests import runs

HOSTILE = '</script><img src=x onerror=alert(1)>\u2028"&amp;<!--\ud800'


def run(method, examples, *, t=0, answer='red boats', reasoning='', **scores):
  return samples.Run(
    method,
    t,
    [samples.Sample(e, reasoning, answer, scores) for e in examples],
  )


def inputs(task, count, **changes):
  return [runs.example(task, row, **changes) for row in range(count)]


def texts(packed):
  """Every entry of every block."""
  return [
    entry
    for block in packed.blocks
    for entry in json.loads(gzip.decompress(base64.b64decode(block)))
  ]


def ids(packed, view=0):
  return [e['id'] for e in packed.index['views'][view]['examples']]


def test_texts_come_back_as_they_were_and_blocks_are_plain_letters():
  one = runs.example(
    runs.EMAIL, 0, input=HOSTILE, output=HOSTILE, context=(HOSTILE, 'x')
  )
  packed = samples.pack([run('A', [one], answer=HOSTILE, reward=0.5)], [])
  assert texts(packed) == [
    {
      'input': HOSTILE,
      'gold': HOSTILE,
      'context': [HOSTILE, 'x'],
      'runs': [['', HOSTILE, []]],
    }
  ]
  assert not set('<>&') & set(''.join(packed.blocks))


def test_runs_stand_side_by_side_at_each_input():
  first, second = inputs(runs.EMAIL, 2)
  packed = samples.pack(
    [
      run('A', [first, second], answer='a', reward=0.12345),
      run('B', [second], t=3, answer=None, reward=0.0, true_score=1.0),
    ],
    [],
  )
  (view,) = packed.index['views']
  a, b = view['runs']
  assert (a['method'], a['t'], b['t']) == ('A', 0, 3)
  assert a['scores'] == {'reward': [0.1235, 0.1235], 'names': [0, 0]}
  assert b['scores'] == {
    'reward': [None, 0.0],
    'true_score': [None, 1.0],
    'names': [None, 0],
  }
  assert [key for key, _ in view['measures']] == [
    *('reward', 'true_score', 'names')
  ]
  assert [entry['runs'] for entry in texts(packed)] == [
    [['', 'a', []], None],
    [['', 'a', []], ['', None, []]],
  ]


def test_each_task_has_its_part_within_the_bound(monkeypatch):
  monkeypatch.setattr(samples, 'SAMPLES', 8)
  examples = [*inputs(runs.EMAIL, 5), *inputs(runs.TOPIC, 5)]
  packed = samples.pack([run('A', examples), run('B', examples)], [])
  assert ids(packed) == [
    *(
      f'{task}/test/{row}'
      for row in (0, 1)
      for task in (runs.EMAIL, runs.TOPIC)
    )
  ]
  view = packed.index['views'][0]
  assert (view['inputs'], view['samples'], view['all_samples']) == (10, 8, 20)


def test_long_texts_are_cut_and_many_of_them_end_the_page(monkeypatch):
  monkeypatch.setattr(samples, 'PACKED', 40_000)
  letters = random.Random(0)
  noise = [
    ''.join(letters.choices('abcdefghijklmnop', k=7000)) for _ in range(100)
  ]
  examples = [runs.example(runs.EMAIL, n, input=noise[n]) for n in range(100)]
  packed = samples.pack([run('A', examples)], [])
  assert sum(map(len, packed.blocks)) <= 40_000 or len(packed.blocks) == 1
  view = packed.index['views'][0]
  assert len(view['examples']) == len(texts(packed)) == samples.BLOCK
  assert view['cut'] == samples.BLOCK
  assert texts(packed)[0]['input'].endswith(' [... 1000 more characters]')


def test_a_line_of_a_million_characters_is_short_on_the_page():
  one = runs.example(runs.EMAIL, 0, input='x' * 10**6, output='y' * 10**6)
  packed = samples.pack([run('A', [one], answer='Z' * 10**6)], [])
  assert sum(map(len, packed.blocks)) < 2000
  assert len(packed.index['views'][0]['examples'][0]['start']) == samples.START


def test_the_list_leaves_out_what_all_inputs_of_a_task_begin_with():
  examples = [
    runs.example(runs.EMAIL, 0, input='write an  e-mail\nto Ann'),
    runs.example(runs.EMAIL, 1, input='write an  e-mail\nto Andy'),
    runs.example(runs.TOPIC, 0, input='write of boats'),
  ]
  (view,) = samples.pack([run('A', examples)], []).index['views']
  starts = {e['id']: e['start'] for e in view['examples']}
  assert starts == {
    f'{runs.EMAIL}/test/0': 'Ann',
    f'{runs.EMAIL}/test/1': 'Andy',
    f'{runs.TOPIC}/test/0': 'write of boats',
  }


def test_words_of_many_golds_are_common():
  golds = ['the red boat', 'the blue boat', 'the boat', 'a car', 'a cat']
  examples = [
    runs.example(runs.EMAIL, n, output=gold) for n, gold in enumerate(golds)
  ]
  (view,) = samples.pack([run('A', examples)], []).index['views']
  assert view['common'] == ['boat', 'the']  # 'a' is in two of five


def test_the_reasoner_may_name_what_the_gold_text_names():
  one = runs.example(runs.EMAIL, 0, output='for Ann')
  wrote = run('A', [one], reasoning='he likes Ann and Bob', answer=None)
  packed = samples.pack([wrote], [wrote])
  assert [view['key'] for view in packed.index['views']] == [
    *('test', 'reasoner')
  ]
  names = [entry['runs'][0][2] for entry in texts(packed)]
  assert names == [['Ann', 'Bob'], ['Bob']]
  assert packed.index['views'][1]['first'] == 1


def test_one_answer_to_each_input():
  one = runs.example(runs.EMAIL, 0)
  both = [
    answers.Answer(one, j, 'r', f'{j}', True, 0.5, None, {'rouge1': 0.1 * j})
    for j in (0, 1)
  ]
  (shown,) = samples.test_runs([answers.Evaluation('sft', 2, (*both,))])
  assert (shown.method, shown.t) == ('SFT', 2)
  assert [s.answer for s in shown.samples] == ['0']
  assert shown.samples[0].scores == {'reward': 0.5, 'rouge1': 0.0}


def test_the_same_samples_give_the_same_page():
  packed = [
    samples.pack([run('A', inputs(runs.EMAIL, 3))], []) for _ in range(2)
  ]
  assert packed[0] == packed[1]
