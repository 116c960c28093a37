"""Facts about the section "Goodput" of the report."""

import json

import pytest

from restpg_jax.io import records, sittings
from restpg_jax.report import build, goodput
from tests import runs


def line(seconds, compiling=0.0, waiting=0.0, redone=0.0, **changes):
  names = {'host': 0, 'hosts': 1, 'sitting': 0, 'finished': True, 'programs': 0}
  return sittings.Sitting(
    seconds=seconds,
    compiling=compiling,
    waiting=waiting,
    redone=redone,
    **names | changes,
  )


def stage(name, *inputs, lines=()):
  """DONE.json of a stage; its fingerprint is its name, as its folder."""
  return {
    'name': name,
    'folder': name,
    'fingerprint': name,
    'inputs': [{'path': i, 'fingerprint': i} for i in inputs],
    'sittings': list(lines),
  }


def method(name, *scores):
  return {'label': name, 'iterations': [{'scores': s} for s in scores]}


KILLED = line(10.0, compiling=4.0, redone=3.0, finished=False, programs=12)
WENT_ON = line(20.0, compiling=1.0, redone=2.0, sitting=1, programs=2)
STAGES = [
  stage('base', lines=[line(4.0)]),
  stage('sft/train', 'base', lines=[KILLED, WENT_ON]),
  stage('eval0/score', 'sft/train'),  # by an older version
  stage('m_step1/train', 'sft/train', lines=[line(6.0, compiling=2.0)]),
  stage('other/train', lines=[line(99.0)]),  # no method has it
]
METHODS = [method('sft', 'eval0/score'), method('rest_pg', 'm_step1/train')]


def test_sittings_of_a_stage_add_up():
  assert goodput.spent([KILLED, WENT_ON]) == {
    'sittings': 2,
    'programs': 14,
    'seconds': 30.0,
    'useful': 20.0,
    'compiling': 5.0,
    'waiting': 0.0,
    'redone': 5.0,
  }


def test_hosts_are_a_mean_also_where_their_number_changes():
  two = [
    line(10.0, waiting=2.0, hosts=2),
    line(10.0, waiting=6.0, hosts=2, host=1),
  ]
  alone = line(5.0, sitting=1)
  row = goodput.spent([*two, alone])
  assert (row['sittings'], row['seconds']) == (2, 15.0)
  assert (row['useful'], row['waiting']) == (11.0, 4.0)


def test_each_stage_once_with_the_first_method_that_has_it():
  table = goodput.account(METHODS, STAGES)
  assert [(r['method'], r['stage'], r['seconds']) for r in table['stages']] == [
    ('sft', 'base', 4.0),
    ('sft', 'sft/train', 30.0),
    ('sft', 'eval0/score', None),
    ('rest_pg', 'm_step1/train', 6.0),
  ]
  assert table['all'] == {
    'sittings': 4,
    'programs': 14,
    'seconds': 40.0,
    'useful': 28.0,
    'compiling': 7.0,
    'waiting': 0.0,
    'redone': 5.0,
  }


def test_what_people_see_of_it():
  shown = goodput.table({'goodput': goodput.account(METHODS, STAGES)})
  assert shown['columns'] == [
    *('sittings', 'programs', 'time'),
    *('useful', 'compiling', 'waiting', 'redone'),
  ]
  assert [r['method'] for r in shown['rows']] == ['SFT', '', '', 'REST-PG', '']
  assert shown['rows'][1]['cells'] == [
    *('2', '14', '30.0 s', '20.0 s, 67%', '5.0 s, 17%', '0'),
    '5.0 s, 17%',
  ]
  assert shown['rows'][2]['cells'] == ['-'] * 7
  assert shown['rows'][-1]['stage'] == 'all'
  assert shown['rows'][-1]['cells'][3] == '28.0 s, 70%'


@pytest.mark.parametrize('lines', [[], [KILLED, WENT_ON]])
def test_the_report_has_it_in_all_its_forms(tmp_path, lines):
  """With a dash where an older version has noted nothing."""
  one = runs.example(runs.EMAIL, 0)
  runs.finish(tmp_path, 'rest_pg', [([one], [runs.answer(one, 0.7)])])
  records.write(tmp_path / 'rest_pg/0/scored/goodput.jsonl', lines)
  build.build_report(tmp_path)
  out = tmp_path / 'report'
  table = json.loads((out / 'results.json').read_text())['goodput']
  seconds = {row['stage']: row['seconds'] for row in table['stages']}
  assert seconds['rest_pg/0/scored'] == table['all']['seconds']
  assert seconds['rest_pg/0/scored'] == (30.0 if lines else None)
  text, page = (
    (out / name).read_text() for name in ('report.md', 'index.html')
  )
  assert '<h2>Goodput</h2>' in page
  cells = ['2', '14', '30.0 s', '20.0 s, 67%'] if lines else ['-'] * 4
  assert f'|  | all | {" | ".join(cells)} |' in text
  assert f'>all</td><td>{"</td><td>".join(cells)}</td>' in page
