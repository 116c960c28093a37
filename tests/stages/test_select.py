"""Line 9: which outputs the next policy learns from."""

import pytest

from restpg_jax import config, errors, types
from restpg_jax.io import records
from restpg_jax.stages import select


def samples(rewards, example='e', texts=None):
  texts = texts or [f'text {j}' for j in range(len(rewards))]
  return [
    types.Trajectory(example, j, text, reward=r)
    for j, (r, text) in enumerate(zip(rewards, texts, strict=True))
  ]


def kept(found, **changed):
  settings = {
    'rule': 'threshold',
    'threshold': 1.0,
    'floor': 0.7,
    'limit': 10,
    'distinct': False,
  }
  chosen = select.choose(found, **(settings | changed))
  return [(s.example_id, s.j) for s in chosen]


def test_threshold_keeps_rewards_that_reach_it():
  assert kept(samples([0.7, 1.0, 0.3, 1.0])) == [('e', 1), ('e', 3)]
  assert kept(samples([0.7, 1.0, 0.3]), threshold=0.7) == [('e', 0), ('e', 1)]


def test_the_first_by_sample_index_are_kept_whatever_their_order():
  found = samples([1.0] * 4)[::-1]
  assert kept(found, limit=2) == [('e', 0), ('e', 1)]


def test_each_example_has_its_own_limit():
  found = samples([1.0, 1.0], 'a') + samples([1.0, 1.0], 'b')
  assert kept(found, limit=1) == [('a', 0), ('b', 0)]


def test_best_keeps_the_best_label_of_each_input_above_the_floor():
  found = samples([0.5, 0.7, 0.7], 'a') + samples([0.7, 1.0], 'b')
  assert kept(found, rule='best') == [('a', 1), ('a', 2), ('b', 1)]
  assert kept(samples([0.5, 0.5]), rule='best') == []


def test_distinct_counts_identical_texts_once_and_keeps_the_first():
  found = samples([1.0, 1.0, 1.0], texts=['x', 'x', 'y'])
  assert kept(found, distinct=True) == [('e', 0), ('e', 2)]
  assert kept(found, distinct=False) == [('e', 0), ('e', 1), ('e', 2)]


def test_a_text_counts_at_its_first_occurrence():
  found = samples([1.0, 1.0, 1.0], texts=['a', 'b', 'a'])
  assert kept(found, distinct=True, limit=1) == [('e', 0)]
  assert kept(found, distinct=True) == [('e', 0), ('e', 1)]


def test_distinct_is_applied_before_the_limit():
  found = samples([1.0, 1.0, 1.0], texts=['x', 'x', 'y'])
  assert kept(found, distinct=True, limit=2) == [('e', 0), ('e', 2)]


def test_nothing_kept_stops_with_the_best_reward_seen(tmp_path):
  records.write(tmp_path / 'scored.jsonl', samples([0.3, 0.7]))
  with pytest.raises(errors.InputError, match=r'=1; the best reward was 0\.7'):
    select.select(
      tmp_path, out=tmp_path / 'out', cfg=config.Select(), layout=None
    )


def test_rule_best_takes_the_best_there_is_where_none_reaches_the_floor(
  tmp_path,
):
  found = samples([0.3, 0.5, 0.5], 'a') + samples([0.3, 0.1], 'b')
  records.write(tmp_path / 'scored.jsonl', found)
  cfg = config.Select(rule='best', floor=0.7)
  with pytest.warns(errors.DataWarning, match=r'=0\.7; kept .* reward 0\.5'):
    select.select(tmp_path, out=tmp_path / 'out', cfg=cfg, layout=None)
  written = records.read(tmp_path / 'out/trajectories.jsonl', types.Trajectory)
  assert [(t.example_id, t.j) for t in written] == [('a', 1), ('a', 2)]


def test_the_floor_does_not_give_way_to_rewards_of_0(tmp_path):
  records.write(tmp_path / 'scored.jsonl', samples([0.0, 0.0]))
  cfg = config.Select(rule='best')
  with pytest.raises(errors.InputError, match=r'floor=0\.7; .* reward was 0\.'):
    select.select(tmp_path, out=tmp_path / 'out', cfg=cfg, layout=None)


def test_summary_counts_the_inputs_that_drop_out(tmp_path):
  found = samples([1.0, 1.0, 0.3], 'a') + samples([0.3, 0.5, 0.3], 'b')
  records.write(tmp_path / 'scored.jsonl', found)
  summary = select.select(
    tmp_path, out=tmp_path / 'out', cfg=config.Select(), layout=None
  )
  assert summary['made'] == 2
  assert summary['of_samples'] == 6
  assert summary['inputs_kept'] == 1
  assert summary['inputs_dropped'] == 1
  written = records.read(tmp_path / 'out/trajectories.jsonl', types.Trajectory)
  assert [(t.example_id, t.j) for t in written] == [('a', 0), ('a', 1)]


def test_an_unknown_rule_names_the_known_ones():
  with pytest.raises(errors.InputError, match="'threshold' or 'best'"):
    select.check(config.Select(rule='bset'))
