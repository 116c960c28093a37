"""Facts about restpg_jax/stages/report.py and what it is made of."""

import dataclasses
import html.parser
import json
import math
import pathlib
import warnings

import pytest

from restpg_jax import config, errors, types
from restpg_jax.io import records
from restpg_jax.stages import page, report

HOSTILE = '</script><img src=x onerror=alert(1)>\u2028"&amp;<!--'
OUTPUT = {'opening': 'Summary:', 'marker': 'Answer:'}
EMAIL, TOPIC = 'email_generation', 'topic_writing'


@pytest.fixture(autouse=True)
def no_warnings():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    yield


def example(task: str, row: int, **changes) -> types.Example:
  made = types.Example(
    id=f'{task}/test/{row}',
    task=task,
    input=f'write {row}',
    output='red boats',
    context=('an old text',),
    truth=(types.Slot('red', ('red', 'blue')),),
  )
  return dataclasses.replace(made, **changes)


def answer(of: types.Example, reward: float, text='red boats', **changes):
  made = types.Trajectory(
    of.id, 0, f'Summary:\nlikes red\nAnswer:\n{text}', reward=reward
  )
  return dataclasses.replace(made, **changes)


def evaluate(workdir, method: str, t: int, examples, scored) -> dict:
  """Writes the folders of one evaluation, as the stages do."""
  here = {'t': t}
  for kind, items in (
    ('examples', examples),
    ('answers', scored),
    ('scored', scored),
  ):
    name = f'{method}/{t}/{kind}'
    fingerprint = f'{method}{t}{kind}'
    file = 'trajectories' if kind == 'answers' else kind
    made = records.write(workdir / name / f'{file}.jsonl', items)
    records.write_json(
      workdir / name / 'DONE.json',
      {
        'name': name,
        'fingerprint': fingerprint,
        'cfg': None,
        'inputs': []
        if kind == 'examples'
        else [{'path': 'x', 'fingerprint': f'{method}{t}examples'}],
        'summary': {'expected': made, 'made': made},
        'seconds': 2.0,
        'versions': {'jax': '1.2'},
      },
    )
    here['scores' if kind == 'scored' else kind] = name
  return here


def finish(workdir, method: str, runs: list, *, output=OUTPUT, **changes):
  """A finished method; runs: (examples, scored) of iterations 0, 1, .."""
  settings = dataclasses.asdict(config.Config())
  records.write_json(
    workdir / 'methods' / f'{method}.json',
    {
      'method': method,
      'config': {**settings, **changes},
      'seconds': 9.5,
      'output': output,
      'iterations': [
        evaluate(workdir, method, t, *run) for t, run in enumerate(runs)
      ],
    },
  )


def two_methods(workdir) -> dict:
  """SFT and two iterations of REST-PG on 3 e-mails and 1 topic."""
  examples = [*(example(EMAIL, row) for row in range(3)), example(TOPIC, 0)]

  def scored(*rewards):
    return [answer(*pair) for pair in zip(examples, rewards, strict=True)]

  finish(
    workdir,
    'rest_pg',
    [
      (examples, scored(0.1, 0.1, 0.4, 0.2)),
      (examples, scored(0.3, 0.5, 1.0, 1.0)),
    ],
  )
  finish(workdir, 'sft', [(examples, scored(0.2, 0.2, 0.2, 0.6))])
  return report.build(workdir)


def walk(value):
  if isinstance(value, dict):
    for inner in value.values():
      yield from walk(inner)
  elif isinstance(value, list):
    for inner in value:
      yield from walk(inner)
  else:
    yield value


def test_means_by_task_and_macro(tmp_path):
  results = two_methods(tmp_path)
  assert list(results['methods']) == ['sft', 'rest_pg']  # Table 1's order
  numbers = results['methods']['rest_pg']
  assert list(numbers['tasks']) == [EMAIL, TOPIC]
  assert numbers['tasks'][EMAIL] == pytest.approx(
    {
      'n': 3,
      'reward': 0.6,  # of 0.3, 0.5, 1.0
      'reward_stderr': math.sqrt((0.09 + 0.01 + 0.16) / 2 / 3),
      'rouge1': 1.0,
      'rougeL': 1.0,
      'true_score': 1.0,
      'no_answer': 0,
      'cut': 0,
    }
  )
  assert numbers['tasks'][TOPIC]['reward_stderr'] is None  # n = 1
  assert numbers['macro']['reward'] == pytest.approx((0.6 + 1.0) / 2)
  assert numbers['macro']['reward_stderr'] is None
  first, last = numbers['iterations']
  assert first['t'] == 0
  assert first['macro']['reward'] == pytest.approx((0.2 + 0.2) / 2)
  assert last == {'t': 1, 'tasks': numbers['tasks'], 'macro': numbers['macro']}


def test_differences_between_methods_and_iterations(tmp_path):
  tests = two_methods(tmp_path)['significance']
  (pair,) = tests['methods']
  assert (pair['a'], pair['b']) == ('rest_pg', 'sft')
  assert (pair['examples'], pair['left_out']) == (4, 0)
  # E-mail: 0.1, 0.3, 0.8, mean 0.4, stderr sqrt(0.26 / 2 / 3) = 0.2082.
  email = pair['reward'][EMAIL]
  assert email['difference'] == pytest.approx(0.4)
  assert email['t'] == pytest.approx(0.4 / math.sqrt(0.26 / 6))
  assert 0.15 < email['p'] < 0.25  # t = 1.92, 2 degrees of freedom
  assert pair['reward'][TOPIC] == {
    'n': 1,
    'difference': 0.4,
    'stderr': None,
    't': None,
    'p': None,
  }
  assert pair['reward']['macro']['difference'] == pytest.approx(0.4)
  assert pair['true_score']['macro']['p'] is None  # all equal: no spread
  (gain,) = tests['iterations']
  assert (gain['method'], gain['from'], gain['to']) == ('rest_pg', 0, 1)
  assert gain['reward']['macro']['difference'] == pytest.approx(0.8 - 0.2)


def test_files_are_strict_json_and_hold_a_line_an_answer(tmp_path):
  results = two_methods(tmp_path)
  out = tmp_path / 'report'
  assert sorted(p.name for p in out.iterdir()) == [
    'index.html',
    'report.md',
    'results.json',
    'scores.jsonl',
  ]

  def refuse(constant):
    raise AssertionError(constant)

  text = (out / 'results.json').read_text()
  assert json.loads(text, parse_constant=refuse) == results
  lines = (out / 'scores.jsonl').read_text().splitlines()
  assert len(lines) == 4 + 2 * 4
  assert json.loads(lines[0]) == {
    'method': 'sft',
    't': 0,
    'task': EMAIL,
    'example_id': f'{EMAIL}/test/0',
    'j': 0,
    'reward': 0.2,
    'rouge1': 1.0,
    'rougeL': 1.0,
    'true_score': 1.0,
    'answer': 'red boats',
  }


def test_methods_hold_no_times_and_no_paths(tmp_path):
  one = two_methods(tmp_path / 'one')
  two = two_methods(tmp_path / 'elsewhere')
  assert one['methods'] == two['methods']
  assert not any(isinstance(v, str) for v in walk(one['methods']))
  assert 'seconds' not in json.dumps(one['methods'])


def test_stages_come_after_their_inputs_with_rates(tmp_path):
  results = two_methods(tmp_path)
  names = [stage['name'] for stage in results['stages']]
  assert len(names) == 9
  assert names.index('sft/0/examples') < names.index('rest_pg/1/answers')
  assert results['stages'][0]['rates'] == {'made_per_second': 2.0}
  assert results['versions'] == {'jax': '1.2'}
  assert results['seconds'] == {'sft': 9.5, 'rest_pg': 9.5}
  assert results['config']['sft']['draw']['m'] == 32


def test_an_output_without_marker_has_no_answer(tmp_path):
  examples = [example(EMAIL, 0), example(EMAIL, 1)]
  scored = [
    answer(examples[0], 0.0, text='x', ended=False),
    types.Trajectory(examples[1].id, 0, 'Summary:\nred boats', reward=0.0),
  ]
  finish(tmp_path, 'rest_pg', [(examples, scored)])
  results = report.build(tmp_path)
  task = results['methods']['rest_pg']['tasks'][EMAIL]
  assert (task['no_answer'], task['cut']) == (1, 1)
  assert (task['rouge1'], task['true_score']) == (0.0, 0.0)
  line = (tmp_path / 'report' / 'scores.jsonl').read_text().splitlines()[1]
  assert json.loads(line)['answer'] is None
  assert 'rest_pg: 1 outputs never reached' in report.table(results)


def test_without_reasoning_all_that_is_written_is_the_answer(tmp_path):
  one = example(EMAIL, 0)
  text = types.Trajectory(one.id, 0, ' red\nAnswer:\nboats ', reward=0.7)
  finish(tmp_path, 'sft', [([one], [text])], output=None)
  report.build(tmp_path)
  line = (tmp_path / 'report' / 'scores.jsonl').read_text()
  assert json.loads(line)['answer'] == 'red\nAnswer:\nboats'


def test_one_method_one_example_unknown_truth(tmp_path):
  one = example(TOPIC, 0, truth=())
  finish(tmp_path, 'sft_reasoning', [([one], [answer(one, 0.7)])])
  results = report.build(tmp_path)
  macro = results['methods']['sft_reasoning']['macro']
  assert macro['reward'] == 0.7
  assert macro['reward_stderr'] is None and macro['true_score'] is None
  assert results['significance']['methods'] == []
  assert results['significance']['iterations'] == []
  text = report.table(results)
  assert '0.700' in text and 'true' not in text and 'Letters' not in text


def test_several_draws_of_an_example_count_once(tmp_path):
  one, two = example(EMAIL, 0), example(EMAIL, 1)
  scored = [
    answer(one, 1.0),
    answer(one, 0.0, j=1),
    answer(two, 0.1),
    answer(two, 0.3, j=1),
  ]
  finish(tmp_path, 'sft', [([one, two], scored)])
  task = report.build(tmp_path)['methods']['sft']['tasks'][EMAIL]
  assert task['n'] == 2
  assert task['reward'] == pytest.approx(0.35)  # of 0.5 and 0.2
  assert task['reward_stderr'] == pytest.approx(0.15)


def test_other_examples_are_not_compared(tmp_path):
  """Ids repeat between data sets: the texts decide what is common."""
  shared, here = example(EMAIL, 0), example(EMAIL, 1)
  other = example(EMAIL, 1, input='something else')
  finish(
    tmp_path,
    'sft',
    [([shared, here], [answer(shared, 0.2), answer(here, 0.3)])],
  )
  finish(
    tmp_path,
    'rest_pg',
    [([shared, other], [answer(shared, 0.7), answer(other, 1.0)])],
  )
  finish(tmp_path, 'rest_em', [([other], [answer(other, 0.5)])])
  results = report.build(tmp_path)
  pairs = {(p['a'], p['b']): p for p in results['significance']['methods']}
  common = pairs['rest_pg', 'sft']
  assert (common['examples'], common['left_out']) == (1, 2)
  assert common['reward']['macro']['difference'] == pytest.approx(0.5)
  none = pairs['rest_em', 'sft']
  assert (none['examples'], none['left_out']) == (0, 3)
  assert none['reward'] is None and none['true_score'] is None
  assert 'share 1 test examples' in ' '.join(results['notes'])


def test_different_rewards_are_not_compared_and_settings_are_named(tmp_path):
  one = example(EMAIL, 0)
  finish(tmp_path, 'sft', [([one], [answer(one, 0.7)])])
  reward = {**dataclasses.asdict(config.Reward()), 'name': 'rouge'}
  finish(tmp_path, 'rest_pg', [([one], [answer(one, 0.9)])], reward=reward)
  results = report.build(tmp_path)
  (pair,) = results['significance']['methods']
  assert pair['reward'] is None
  assert pair['true_score']['macro']['difference'] == 0.0
  assert 'different settings: reward.name.' in ' '.join(results['notes'])


def test_table_marks_only_what_is_significant(tmp_path):
  examples = [example(EMAIL, row) for row in range(8)]
  low = [0.3, 0.1, 0.3, 0.1, 0.3, 0.1, 0.3, 0.1]
  high = [0.7, 1.0, 0.7, 1.0, 0.7, 0.7, 1.0, 0.7]
  near = [0.3, 0.1, 0.3, 0.1, 0.3, 0.1, 0.3, 0.3]

  def scored(rewards):
    return [answer(*pair) for pair in zip(examples, rewards, strict=True)]

  finish(tmp_path, 'sft', [(examples, scored(low))])
  finish(tmp_path, 'rest_em', [(examples, scored(near))])
  finish(
    tmp_path, 'rest_pg', [(examples, scored(low)), (examples, scored(high))]
  )
  lines = report.table(report.build(tmp_path)).splitlines()
  assert [line.split()[:4] for line in lines[:4]] == [
    ['method', 'email', 'macro', 'ROUGE-1'],
    ['a', 'sft', '0.200', '0.200'],
    ['b', 'rest_em', '0.225', '0.225'],
    ['c', 'rest_pg', '0.812ab', '0.812ab'],
  ]
  gain = next(line for line in lines if line.startswith('rest_pg, reward'))
  assert gain.startswith('rest_pg, reward, iteration 0 -> 1: +0.612 +- 0.0')
  assert 'n=8, p' in gain
  assert max(map(len, lines[:4])) <= 80
  text = ' '.join(lines)
  assert "the judge's score (model tiny_it;" in text
  assert 'synthetic users' in text


class Page(html.parser.HTMLParser):
  """Counts elements and keeps the samples' JSON."""

  def __init__(self, text: str):
    super().__init__()
    self.tags, self.attributes, self.scripts = [], set(), []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes.update(name for name, _ in attrs)
    if tag == 'script':
      self.scripts.append('')

  def handle_data(self, data):
    if self.scripts and self.cdata_elem == 'script':
      self.scripts[-1] += data


def test_hostile_texts_stay_text(tmp_path):
  one = example(
    EMAIL, 0, input=HOSTILE, output=HOSTILE, context=(HOSTILE, HOSTILE)
  )
  finish(
    tmp_path,
    'rest_pg',
    [
      ([one], [answer(one, 0.7, text=HOSTILE)]),
      (
        [one],
        [
          types.Trajectory(
            one.id, 0, f'Summary:\n{HOSTILE}\nAnswer:\nx', reward=1.0
          )
        ],
      ),
    ],
    data={'path': HOSTILE},
    policy={'checkpoint': HOSTILE},
  )
  report.build(tmp_path)
  found = Page((tmp_path / 'report' / 'index.html').read_text())
  assert 'img' not in found.tags and 'onerror' not in found.attributes
  assert found.tags.count('script') == 2  # the data and the browser
  data = json.loads(found.scripts[0])
  shown = data['examples'][0]
  assert shown['input'] == shown['gold'] == HOSTILE
  assert shown['context'] == [HOSTILE, HOSTILE]
  assert data['runs'][0]['samples'][0]['answer'] == HOSTILE
  assert data['runs'][1]['samples'][0]['reasoning'] == HOSTILE


def test_script_json_is_ascii_without_markup():
  text = page.script_json(HOSTILE + '猫')
  assert text.isascii() and not set('<>&') & set(text)
  assert json.loads(text) == HOSTILE + '猫'


def test_page_loads_nothing_and_embeds_only_some_samples(tmp_path):
  examples = [example(EMAIL, row) for row in range(40)]
  examples[3] = example(EMAIL, 3, input='long ' * 5000)
  finish(tmp_path, 'sft', [(examples, [answer(e, 0.1) for e in examples])])
  report.build(tmp_path)
  text = (tmp_path / 'report' / 'index.html').read_text()
  found = Page(text)
  assert not {'src', 'href', 'srcset'} & found.attributes
  assert not {'link', 'iframe', 'object'} & set(found.tags)
  assert 'url(' not in text and '@import' not in text
  data = json.loads(found.scripts[0])
  assert len(data['examples']) == len(data['runs'][0]['samples']) == 25
  assert data['examples'][3]['input'].endswith('[... 19000 more characters]')
  assert 'first 25 test examples' in ' '.join(text.split())


def test_chart_places_points_between_round_ticks(tmp_path):
  chart = page.chart(two_methods(tmp_path), 'reward', 'Reward')
  sft, rest_pg = chart['lines']
  assert [tick['label'] for tick in chart['ys']] == [
    '0.20',
    '0.40',
    '0.60',
    '0.80',
  ]
  assert sft['level'] and not rest_pg['level']
  assert [point['y'] for point in rest_pg['points']] == [206, 16]
  assert [point['x'] for point in rest_pg['points']] == [46, 500]
  assert sft['points'][0]['y'] == pytest.approx(206 - 190 / 3, abs=0.1)


def test_no_iterations_no_chart(tmp_path):
  one = example(EMAIL, 0)
  finish(tmp_path, 'sft', [([one], [answer(one, 0.7)])])
  results = report.build(tmp_path)
  assert page.chart(results, 'reward', 'Reward') is None


def test_the_papers_numbers_average_to_its_macro():
  for split in ('test', 'validation'):
    for numbers in report.compare.PAPER[split].values():
      tasks = [numbers[task] for task in types.TASKS]
      assert numbers['macro'] == pytest.approx(sum(tasks) / 4, abs=1.5e-4)


def test_markdown_has_a_row_a_method(tmp_path):
  two_methods(tmp_path)
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| a | SFT | 0 | 0.2000' in text
  assert '| b | REST-PG | 1 | 0.6000' in text
  assert 'Gemma 2B trained on LongLaMP' in text
  assert '| REST-PG | test | 0.3059 |' in text


def test_nothing_finished_is_bad_input(tmp_path):
  with pytest.raises(errors.InputError, match='no finished method'):
    report.build(tmp_path / 'missing')


def test_answers_that_are_missing_are_an_error(tmp_path):
  one, two = example(EMAIL, 0), example(EMAIL, 1)
  finish(tmp_path, 'sft', [([one, two], [answer(one, 0.7)])])
  with pytest.raises(ValueError, match='1 of 2 examples have no answer'):
    report.build(tmp_path)
  unscored = dataclasses.replace(answer(two, 0.0), reward=None)
  finish(tmp_path, 'sft', [([one, two], [answer(one, 0.7), unscored])])
  with pytest.raises(ValueError, match='has no reward'):
    report.build(tmp_path)


def test_built_again_it_is_the_same(tmp_path):
  two_methods(tmp_path)
  files = list((tmp_path / 'report').iterdir())
  before = {p.name: pathlib.Path(p).read_bytes() for p in files}
  report.build(tmp_path)
  assert before == {p.name: pathlib.Path(p).read_bytes() for p in files}
