"""Facts about the section "Speed" of the report."""

import json

from restpg_jax.io import records
from restpg_jax.report import build, tables, timing
from tests import runs


def stage(name, *inputs, seconds=8.0, cfg=None, **summary):
  """DONE.json of a stage; its fingerprint is its name, as its folder."""
  return {
    'name': name,
    'folder': name,
    'fingerprint': name,
    'inputs': [{'path': i, 'fingerprint': i} for i in inputs],
    'cfg': cfg,
    'seconds': seconds,
    'summary': {'made': 64} | summary,
    'rates': {},
    'versions': {},
  }


def method(name, *scores):
  return {'label': name, 'iterations': [{'scores': s} for s in scores]}


DRAWN = dict(items_per_s=16.0, tokens_per_s=1234.5, occupancy=0.875)
STAGES = [
  stage('retrieve/train'),
  stage('retrieve/test'),
  stage('sft/train', 'retrieve/train', seconds=32.0),
  stage('eval0/answer', 'sft/train', 'retrieve/test', **DRAWN),
  stage('eval0/score', 'retrieve/test', 'eval0/answer', accepted=None),
  stage('e_step1/draw', 'sft/train', made=128, **DRAWN),
  stage(
    'e_step1/score',
    'e_step1/draw',
    cfg={'accept': 0.7},
    accepted=0.31,
    distinct=60,
  ),
  stage('e_step1/draw_2', 'e_step1/score', made=32, saved=96),
  stage('e_step1/score_2', 'e_step1/draw_2', distinct=30),
  stage('e_step1/select', 'e_step1/score', 'e_step1/score_2'),
  stage('m_step1/train', 'e_step1/select', tokens_per_s=99.6),
  stage('eval1/answer', 'm_step1/train', 'retrieve/test'),
  stage('eval1/score', 'retrieve/test', 'eval1/answer'),
  stage('old/train'),  # with other settings: no method has it
]
METHODS = [
  method('sft_reasoning', 'eval0/score'),
  method('rest_pg', 'eval0/score', 'eval1/score'),
]


def test_each_working_stage_once_with_the_first_method_that_has_it():
  rows = timing.stage_speeds(METHODS, STAGES)
  assert [(r['method'], r['stage']) for r in rows] == [
    ('sft_reasoning', 'sft/train'),
    ('sft_reasoning', 'eval0/answer'),
    ('sft_reasoning', 'eval0/score'),
    ('rest_pg', 'e_step1/draw'),
    ('rest_pg', 'e_step1/score'),
    ('rest_pg', 'e_step1/draw_2'),
    ('rest_pg', 'e_step1/score_2'),
    ('rest_pg', 'm_step1/train'),
    ('rest_pg', 'eval1/answer'),
    ('rest_pg', 'eval1/score'),
  ]
  assert rows[3] == {
    'method': 'rest_pg',
    'stage': 'e_step1/draw',
    'items': 128,
    'seconds': 8.0,
    'items_per_s': 16.0,  # what the stage measured, not items by seconds
    'tokens_per_s': 1234.5,
    'occupancy': 0.875,
    'accepted': None,
    'saved': None,
    'accept': None,
  }
  assert (rows[5]['items'], rows[5]['saved']) == (32, 96)
  assert rows[0]['items_per_s'] == 2.0  # 64 in 32 seconds: nothing measured


def test_what_people_see_of_it():
  shown = tables.speed_rows({'speed': timing.stage_speeds(METHODS, STAGES)})
  assert shown['columns'] == [
    *('items', 'time', 'items/s', 'tokens/s', 'slots busy'),
    *('accepted', 'saved'),
  ]
  assert [r['method'] for r in shown['rows'][:4]] == [
    *('SFT with reasoning', '', '', 'REST-PG')
  ]
  assert shown['rows'][3]['cells'] == [
    *('128', '8.0 s', '16', '1,234', '88%', '-', '-')
  ]
  assert shown['rows'][5]['cells'][-1] == '96'
  assert shown['rows'][4]['cells'][0] == '60'  # equal answers are scored once
  assert shown['rows'][4]['cells'][5] == '31%'
  assert 'a reward of at least 0.7, as' in shown['note']


def test_columns_without_a_number_are_left_out():
  rows = timing.stage_speeds(
    [method('sft', 'e')], [stage('e'), stage('sft/train')]
  )
  assert rows == []
  stages = [stage('sft/train'), stage('eval0/score', 'sft/train')]
  shown = tables.speed_rows(
    {'speed': timing.stage_speeds([method('sft', 'eval0/score')], stages)}
  )
  assert shown['columns'] == ['items', 'time', 'items/s']
  assert shown['note'] == ''


def test_the_report_has_it_in_all_its_forms(tmp_path):
  one = runs.example(runs.EMAIL, 0)
  runs.finish(tmp_path, 'rest_pg', [([one], [runs.answer(one, 0.7)])])
  answers = tmp_path / 'rest_pg' / '0' / 'scored' / 'DONE.json'
  done = records.read_json(answers) | {'name': 'eval0/score'}
  done['summary'] |= {'items_per_s': 3.25, 'tokens_per_s': 54321.0}
  records.write_json(answers, done)
  build.build_report(tmp_path)
  out = tmp_path / 'report'
  (row,) = json.loads((out / 'results.json').read_text())['speed']
  assert (row['stage'], row['tokens_per_s']) == ('eval0/score', 54321.0)
  line = '| REST-PG | eval0/score | 1 | 2.0 s | 3.25 | 54,321 |'
  assert line in (out / 'report.md').read_text().splitlines()
  page = (out / 'index.html').read_text()
  assert '<h2>Speed</h2>' in page
  assert '<td class="name">eval0/score</td><td>1</td><td>2.0 s</td>' in page
