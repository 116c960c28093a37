"""Facts about restpg_jax/report/build.py and compare.py."""

import dataclasses
import json
import math
import pathlib
import shutil

import pytest

from restpg_jax import config, errors, types
from restpg_jax.report import build
from tests import runs

pytestmark = pytest.mark.usefixtures('no_warnings')


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
  results = runs.two_methods(tmp_path)
  assert list(results['methods']) == ['sft', 'rest_pg']  # Table 1's order
  numbers = results['methods']['rest_pg']
  assert list(numbers['tasks']) == [runs.EMAIL, runs.TOPIC]
  assert numbers['tasks'][runs.EMAIL] == pytest.approx(
    {
      'n': 3,
      'reward': 0.6,  # of 0.3, 0.5, 1.0
      'reward_stderr': math.sqrt((0.09 + 0.01 + 0.16) / 2 / 3),
      'true_score': 1.0,
      'true_score_stderr': 0.0,
      'rouge1': 0.3,
      'rouge1_stderr': math.sqrt((0.09 + 0.01 + 0.16) / 2 / 3) / 2,
      'corpus_bleu': math.exp(1 - 8 / 4),  # all that is written, but half
      'no_answer': 0,
      'cut': 0,
    }
  )
  assert numbers['tasks'][runs.TOPIC]['reward_stderr'] is None  # n = 1
  assert numbers['macro']['reward'] == pytest.approx((0.6 + 1.0) / 2)
  assert numbers['macro']['reward_stderr'] is None
  first, last = numbers['iterations']
  assert first['t'] == 0
  assert first['macro']['reward'] == pytest.approx((0.2 + 0.2) / 2)
  assert last == {'t': 1, 'validation': None} | {
    key: numbers[key] for key in ('tasks', 'macro', 'macro_public')
  }


def test_the_macro_without_email_stands_beside_the_macro(tmp_path):
  results = runs.two_methods(tmp_path)
  numbers = results['methods']['rest_pg']
  assert numbers['macro']['rouge1'] == pytest.approx((0.3 + 0.5) / 2)
  assert numbers['macro_public'] == {
    key: value
    for key, value in numbers['tasks'][runs.TOPIC].items()
    if key not in ('n', 'no_answer', 'cut')
  }
  (pair,) = results['significance']['methods']
  assert list(pair['reward']) == [
    runs.EMAIL, runs.TOPIC, 'macro', 'macro_public'
  ]  # fmt: skip
  assert pair['reward']['macro_public'] == pair['reward'][runs.TOPIC]
  lines = build.results_text(results).splitlines()
  head = 'method email topic macro 2 macro 1 true'
  assert lines[0].split() == head.split()
  assert lines[4].split() == 'method over ROUGE-1 BLEU/corpus'.split()
  assert lines[8].split() == '2 rest_pg macro 1 0.500 0.368'.split()
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| REST-PG | macro 1 | 0.5000 | 0.3679 |' in text
  assert '| REST-PG | topic | 0.5000 | 0.3679 |' in text
  assert 'without e-mail' in ' '.join(results['about'])


def test_without_email_there_is_one_macro(tmp_path):
  one = runs.example(runs.TOPIC, 0)
  runs.finish(tmp_path, 'sft', [([one], [runs.answer(one, 0.7)])])
  results = build.build_report(tmp_path)
  assert results['methods']['sft']['macro_public']['reward'] == 0.7
  head = build.results_text(results).splitlines()[0]
  assert head.split() == 'method topic macro 1 true'.split()
  assert 'e-mail' not in ' '.join(results['about'])


def test_the_macro_has_the_error_of_a_mean_of_means(tmp_path):
  examples = [
    *(runs.example(runs.EMAIL, row) for row in range(2)),
    *(runs.example(runs.TOPIC, row) for row in range(2)),
  ]
  scored = [
    runs.answer(*pair)
    for pair in zip(examples, (0.0, 0.6, 0.0, 0.8), strict=True)
  ]
  runs.finish(tmp_path, 'sft', [(examples, scored)])
  macro = build.build_report(tmp_path)['methods']['sft']['macro']
  # Of two tasks 0.3 and 0.4, of half of it for a metric half the reward.
  assert macro['reward_stderr'] == pytest.approx(0.5 / 2)
  assert macro['rouge1_stderr'] == pytest.approx(0.5 / 4)
  assert 'corpus_bleu_stderr' not in macro


def test_an_older_run_without_metrics_has_dashes(tmp_path):
  one = runs.example(runs.TOPIC, 0)
  scored = [runs.answer(one, 0.7)]
  runs.finish(tmp_path, 'sft', [([one], scored)], measured=False)
  results = build.build_report(tmp_path)
  assert 'ROUGE' not in build.results_text(results)
  runs.finish(tmp_path, 'rest_pg', [([one], scored), ([one], scored)])
  results = build.build_report(tmp_path)
  lines = build.results_text(results).splitlines()
  assert lines[5].split() == '1 sft macro 1 - -'.split()
  assert lines[6].split() == '2 rest_pg macro 1 0.350 0.368'.split()
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| SFT | macro 1 | - | - |' in text
  assert '| SFT | 0 | macro 1 | 0.7000 | 1.0000 | - | - |' in text
  (note,) = (n for n in results['notes'] if 'before there were' in n)
  assert note.startswith('sft: finished before')


def test_metrics_that_are_not_there_for_an_answer_are_an_error(tmp_path):
  one, two = runs.example(runs.EMAIL, 0), runs.example(runs.EMAIL, 1)
  scored = [runs.answer(one, 0.7), runs.answer(two, 0.7)]
  runs.finish(tmp_path, 'sft', [([one, two], scored)])
  path = tmp_path / 'sft' / '0' / 'measured' / 'measured.jsonl'
  path.write_text(path.read_text().splitlines(keepends=True)[0])
  with pytest.raises(ValueError, match='test/1, j=0 is missing'):
    build.build_report(tmp_path)


def test_methods_with_fewer_tasks_are_named(tmp_path):
  one, two = runs.example(runs.EMAIL, 0), runs.example(runs.TOPIC, 0)
  both = [runs.answer(one, 0.1), runs.answer(two, 0.2)]
  runs.finish(tmp_path, 'sft', [([one, two], both)])
  runs.finish(tmp_path, 'rest_pg', [([two], [runs.answer(two, 0.3)])])
  results = build.build_report(tmp_path)
  said = 'rest_pg: it has 1 of 2 tasks, its macros are over these.'
  assert said in results['notes']


def test_files_are_strict_json_and_hold_a_line_an_answer(tmp_path):
  results = runs.two_methods(tmp_path)
  out = tmp_path / 'report'
  assert sorted(p.name for p in out.iterdir()) == [
    'figures',
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
    'task': runs.EMAIL,
    'example_id': f'{runs.EMAIL}/test/0',
    'j': 0,
    'reward': 0.2,
    'true_score': 1.0,
    'rouge1': 0.1,
    'answer': 'red boats',
  }


def test_methods_hold_no_times_and_no_paths(tmp_path):
  one = runs.two_methods(tmp_path / 'one')
  two = runs.two_methods(tmp_path / 'elsewhere')
  assert one['methods'] == two['methods']
  assert not any(isinstance(v, str) for v in walk(one['methods']))
  assert 'seconds' not in json.dumps(one['methods'])


def test_stages_come_after_their_inputs_with_rates(tmp_path):
  results = runs.two_methods(tmp_path)
  names = [stage['name'] for stage in results['stages']]
  assert len(names) == 12
  assert names.index('sft/0/examples') < names.index('rest_pg/1/answers')
  assert results['stages'][0]['rates'] == {'made_per_second': 2.0}
  assert results['versions'] == {'jax': '1.2'}
  assert results['seconds'] == {'sft': 9.5, 'rest_pg': 9.5}
  assert results['config']['sft']['draw']['m'] == 32


def test_an_output_without_marker_has_no_answer(tmp_path):
  examples = [runs.example(runs.EMAIL, 0), runs.example(runs.EMAIL, 1)]
  scored = [
    runs.answer(examples[0], 0.0, text='x', ended=False),
    types.Trajectory(examples[1].id, 0, 'Summary:\nred boats', reward=0.0),
  ]
  runs.finish(tmp_path, 'rest_pg', [(examples, scored)])
  results = build.build_report(tmp_path)
  task = results['methods']['rest_pg']['tasks'][runs.EMAIL]
  assert (task['no_answer'], task['cut']) == (1, 1)
  assert task['true_score'] == 0.0
  line = (tmp_path / 'report' / 'scores.jsonl').read_text().splitlines()[1]
  assert json.loads(line)['answer'] is None
  assert 'rest_pg: 1 outputs never reached' in build.results_text(results)


def test_without_reasoning_all_that_is_written_is_the_answer(tmp_path):
  one = runs.example(runs.EMAIL, 0)
  text = types.Trajectory(one.id, 0, ' red\nAnswer:\nboats ', reward=0.7)
  runs.finish(tmp_path, 'sft', [([one], [text])], output=None)
  build.build_report(tmp_path)
  line = (tmp_path / 'report' / 'scores.jsonl').read_text()
  assert json.loads(line)['answer'] == 'red\nAnswer:\nboats'


def test_one_method_one_example_unknown_truth(tmp_path):
  one = runs.example(runs.TOPIC, 0, truth=())
  runs.finish(tmp_path, 'sft_reasoning', [([one], [runs.answer(one, 0.7)])])
  results = build.build_report(tmp_path)
  macro = results['methods']['sft_reasoning']['macro']
  assert macro['reward'] == 0.7
  assert macro['reward_stderr'] is None and macro['true_score'] is None
  assert results['significance']['methods'] == []
  assert results['significance']['iterations'] == []
  text = build.results_text(results)
  assert '0.700' in text and 'true' not in text and 'Superscripts' not in text


def test_answers_that_another_run_drew_further_do_not_count(tmp_path):
  one = runs.example(runs.EMAIL, 0)
  scored = [runs.answer(one, 1.0), runs.answer(one, 0.0, j=1)]
  answer = {'m': 1, 'temperature': 0.1, 'top_p': 0.95}
  runs.finish(tmp_path, 'sft', [([one], scored)], answer=answer)
  task = build.build_report(tmp_path)['methods']['sft']['tasks'][runs.EMAIL]
  assert task['reward'] == 1.0


def test_several_draws_of_an_example_count_once(tmp_path):
  one, two = runs.example(runs.EMAIL, 0), runs.example(runs.EMAIL, 1)
  scored = [
    runs.answer(one, 1.0),
    runs.answer(one, 0.0, j=1),
    runs.answer(two, 0.1),
    runs.answer(two, 0.3, j=1),
  ]
  runs.finish(tmp_path, 'sft', [([one, two], scored)])
  task = build.build_report(tmp_path)['methods']['sft']['tasks'][runs.EMAIL]
  assert task['n'] == 2
  assert task['reward'] == pytest.approx(0.35)  # of 0.5 and 0.2
  assert task['reward_stderr'] == pytest.approx(0.15)


def variants(workdir) -> dict:
  """SFT, and REST-PG with two seeds."""
  one = runs.example(runs.TOPIC, 0)
  runs.finish(workdir, 'sft', [([one], [runs.answer(one, 0.2)])])
  for seed, end in ((0, 0.4), (1, 0.6)):
    scored = [([one], [runs.answer(one, r)]) for r in (0.1, end)]
    runs.finish(workdir, 'rest_pg', scored, stem=f'seed{seed}', seed=seed)
  return build.build_report(workdir)


def test_every_variant_of_a_method_is_in_every_file(tmp_path):
  results = variants(tmp_path)
  names = ['sft', 'rest_pg (seed 0)', 'rest_pg (seed 1)']
  rewards = [m['macro']['reward'] for m in results['methods'].values()]
  assert list(results['methods']) == names and rewards == [0.2, 0.4, 0.6]
  for kind in ('seconds', 'config', 'experiments'):
    assert list(results[kind]) == names
  lines = (tmp_path / 'report' / 'scores.jsonl').read_text().splitlines()
  assert list(dict.fromkeys(json.loads(x)['method'] for x in lines)) == names
  pairs = [(p['a'], p['b']) for p in results['significance']['methods']]
  assert pairs == [(names[1], 'sft'), (names[2], 'sft'), (names[2], names[1])]
  gains = [gain['method'] for gain in results['significance']['iterations']]
  assert gains == names[1:]
  said = 'The methods were run with different settings: seed.'
  assert said in results['notes']
  text = (tmp_path / 'report' / 'report.md').read_text()
  assert '| 3 | REST-PG (seed 1) | 1 | 0.6000' in text
  assert '| REST-PG (seed 1) - REST-PG (seed 0) | 1 |' in text
  assert '| REST-PG (seed 0) | 1 | macro 1 | 0.4000' in text
  page = (tmp_path / 'report' / 'index.html').read_text()
  assert '<td class="name">REST-PG (seed 0)</td>' in page
  assert '"method": "REST-PG (seed 1)"' in page
  assert '3 rest_pg (seed 1)' in build.results_text(results)


def test_a_method_whose_stages_were_removed_is_left_out(tmp_path):
  variants(tmp_path)
  shutil.rmtree(tmp_path / 'seed1')
  with pytest.warns(errors.DataWarning, match=r'\(seed 1\) is left out'):
    results = build.build_report(tmp_path)
  assert list(results['methods']) == ['sft', 'rest_pg (seed 0)']


def test_a_torn_record_is_no_crash(tmp_path):
  runs.two_methods(tmp_path)
  (tmp_path / 'methods' / 'rest_em.json').write_text('{"method": "rest_em"')
  with pytest.warns(errors.DataWarning, match='rest_em.json is no whole'):
    results = build.build_report(tmp_path)
  assert list(results['methods']) == ['sft', 'rest_pg']


def test_what_is_said_of_all_holds_of_all(tmp_path):
  one = runs.example(runs.TOPIC, 0)
  rouge = {**dataclasses.asdict(config.Reward()), 'name': 'rouge'}
  for method, changes in (
    ('sft', {'data': {'path': 'mine'}}),
    ('rest_pg', {'reward': rouge, 'policy': {'checkpoint': 'b'}}),
  ):
    runs.finish(tmp_path, method, [([one], [runs.answer(one, 0.7)])], **changes)
  about = ' '.join(build.build_report(tmp_path)['about'])
  assert 'divided by 10) or the mean of ROUGE-1 and ROUGE-L F, on' in about
  assert 'policy tiny_pt or b.' in about
  assert 'Data: mine. Data: synthetic users' in about


def test_nothing_finished_is_bad_input(tmp_path):
  with pytest.raises(errors.InputError, match='no finished method'):
    build.build_report(tmp_path / 'missing')


def test_answers_that_are_missing_are_an_error(tmp_path):
  one, two = runs.example(runs.EMAIL, 0), runs.example(runs.EMAIL, 1)
  runs.finish(tmp_path, 'sft', [([one, two], [runs.answer(one, 0.7)])])
  with pytest.raises(ValueError, match='1 of 2 examples have no answer'):
    build.build_report(tmp_path)
  unscored = dataclasses.replace(runs.answer(two, 0.0), reward=None)
  runs.finish(
    tmp_path, 'sft', [([one, two], [runs.answer(one, 0.7), unscored])]
  )
  with pytest.raises(ValueError, match='has no reward'):
    build.build_report(tmp_path)


def test_built_again_it_is_the_same(tmp_path):
  runs.two_methods(tmp_path)
  files = [p for p in (tmp_path / 'report').rglob('*') if p.is_file()]
  before = {p.name: pathlib.Path(p).read_bytes() for p in files}
  build.build_report(tmp_path)
  assert before == {p.name: pathlib.Path(p).read_bytes() for p in files}
  assert 'figure3_iterations.svg' in before


def test_rows_of_ones_own_users_have_a_column(tmp_path):
  of_two = [runs.example(runs.TOPIC, 0), runs.example(types.CUSTOM, 0)]
  for method, rewards in (('sft', (0.2, 0.4)), ('rest_pg', (0.4, 1.0))):
    scored = [runs.answer(*p) for p in zip(of_two, rewards, strict=True)]
    runs.finish(tmp_path, method, [(of_two, scored)])
  results = build.build_report(tmp_path)
  tasks = results['methods']['rest_pg']['tasks']
  assert list(tasks) == [runs.TOPIC, 'custom']
  assert tasks['custom']['reward'] == 1.0
  assert results['methods']['rest_pg']['macro']['reward'] == pytest.approx(0.7)
  assert 'custom' in build.results_text(results).splitlines()[0]
