"""Line 9: which outputs the next policy learns from."""

import itertools
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restpg_jax import config, errors, types
from restpg_jax.io import records
from restpg_jax.rewards import selection
from restpg_jax.stages import select


def samples(rewards, example='e', texts=None):
  texts = texts or [f'text {j}' for j in range(len(rewards))]
  return [
    types.Trajectory(example, j, text, reward=r)
    for j, (r, text) in enumerate(zip(rewards, texts, strict=True))
  ]


def whole(**changed):
  """Settings of a selection from all 8 samples at once."""
  return select.SelectSettings(config.Select(**changed), (8,))


def kept(found, **changed):
  settings = {
    'rule': 'threshold',
    'threshold': 1.0,
    'floor': 0.7,
    'limit': 10,
    'distinct': False,
  }
  chosen = selection.keep_best(found, **(settings | changed))
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


def full(found, **changed):
  cfg = config.Select(**({'threshold': 0.9, 'limit': 2} | changed))
  return selection.settled_examples(found, cfg)


def test_by_threshold_an_input_is_full_with_limit_good_outputs():
  found = samples([0.4, 0.9, 1.0], 'a') + samples([0.4, 0.9, 0.8], 'b')
  assert full(found) == {'a'}
  assert full(found, threshold=0.8) == {'a', 'b'}


def test_by_best_only_outputs_of_the_highest_reward_make_full():
  found = samples([0.9, 0.9, 1.0], 'a') + samples([1.0, 0.4, 1.0], 'b')
  assert full(found, rule='best') == {'b'}


def test_copies_fill_an_input_once_where_distinct_ones_count():
  found = samples([1.0, 1.0], texts=['x', 'x'])
  assert full(found) == set()
  assert full(found, distinct=False) == {'e'}


REWARDS = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0])
SAMPLE = st.tuples(REWARDS, st.sampled_from('abcd'))
RULE = st.builds(
  config.Select,
  rule=st.sampled_from(['threshold', 'best']),
  threshold=REWARDS,
  floor=REWARDS,
  limit=st.integers(1, 4),
  distinct=st.booleans(),
)


@given(
  drawn=st.lists(st.lists(SAMPLE, min_size=8, max_size=8), min_size=1),
  ends=st.sets(st.integers(1, 7)),
  rule=RULE,
)
@example(  # a later, better one raises the bar: 0.7 twice is not full
  drawn=[[(0.7, 'a'), (0.7, 'b'), (1.0, 'c'), *[(0.0, 'd')] * 5]],
  ends={2},
  rule=config.Select(rule='best', limit=2),
)
@example(  # a copy does not count, so the third is still to come
  drawn=[[(1.0, 'a'), (1.0, 'a'), (1.0, 'b'), *[(0.0, 'd')] * 5]],
  ends={2},
  rule=config.Select(limit=2),
)
def test_rounds_keep_what_the_whole_budget_keeps(drawn, ends, rule):
  store = [
    sample
    for n, of_input in enumerate(drawn)
    for sample in samples(
      [reward for reward, _ in of_input],
      f'e{n}',
      [text for _, text in of_input],
    )
  ]
  rounds = [*sorted(ends), 8]
  found = []
  for first, end in itertools.pairwise([0, *rounds]):
    certain = selection.settled_examples(found, rule)
    found += [
      s for s in store if s.example_id not in certain and first <= s.j < end
    ]
  assert chosen(found, rule) == chosen(store, rule)


def chosen(found, rule):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', errors.DataWarning)
    floor = select.lowered(rule, max(s.reward for s in found))
  return selection.keep_best(found, **(vars(rule) | {'floor': floor}))


def test_later_rounds_are_merged_and_a_store_that_reaches_further_is_not_read(
  tmp_path,
):
  wide = samples([1.0, 0.3, 1.0, 1.0], 'a') + samples([0.3] * 4, 'b')
  records.write(tmp_path / '1' / 'scored.jsonl', wide)  # for another run: m = 4
  later = [types.Trajectory('b', 2, 'text', reward=1.0)]
  records.write(tmp_path / '2' / 'scored.jsonl', later)
  summary = select.select(
    tmp_path / '1',
    tmp_path / '2',
    out=tmp_path / 'out',
    cfg=select.SelectSettings(config.Select(limit=1), (2, 3)),
    layout=None,
  )
  written = records.read(tmp_path / 'out/trajectories.jsonl', types.Trajectory)
  assert [(t.example_id, t.j) for t in written] == [('a', 0), ('b', 2)]
  assert summary['of_samples'] == 5


def test_nothing_kept_stops_with_the_best_reward_seen(tmp_path):
  records.write(tmp_path / 'scored.jsonl', samples([0.3, 0.7]))
  with pytest.raises(errors.InputError, match=r'=1; the best reward was 0\.7'):
    select.select(tmp_path, out=tmp_path / 'out', cfg=whole(), layout=None)


def test_rule_best_takes_the_best_there_is_where_none_reaches_the_floor(
  tmp_path,
):
  found = samples([0.3, 0.5, 0.5], 'a') + samples([0.3, 0.1], 'b')
  records.write(tmp_path / 'scored.jsonl', found)
  cfg = whole(rule='best', floor=0.7)
  with pytest.warns(errors.DataWarning, match=r'=0\.7; kept .* reward 0\.5'):
    select.select(tmp_path, out=tmp_path / 'out', cfg=cfg, layout=None)
  written = records.read(tmp_path / 'out/trajectories.jsonl', types.Trajectory)
  assert [(t.example_id, t.j) for t in written] == [('a', 1), ('a', 2)]


def test_the_floor_does_not_give_way_to_rewards_of_0(tmp_path):
  records.write(tmp_path / 'scored.jsonl', samples([0.0, 0.0]))
  cfg = whole(rule='best')
  with pytest.raises(errors.InputError, match=r'floor=0\.7; .* reward was 0\.'):
    select.select(tmp_path, out=tmp_path / 'out', cfg=cfg, layout=None)


def test_summary_counts_the_inputs_that_drop_out(tmp_path):
  found = samples([1.0, 1.0, 0.3], 'a') + samples([0.3, 0.5, 0.3], 'b')
  records.write(tmp_path / 'scored.jsonl', found)
  summary = select.select(
    tmp_path, out=tmp_path / 'out', cfg=whole(), layout=None
  )
  assert summary['made'] == 2
  assert summary['of_samples'] == 6
  assert summary['inputs_kept'] == 1
  assert summary['inputs_dropped'] == 1
  written = records.read(tmp_path / 'out/trajectories.jsonl', types.Trajectory)
  assert [(t.example_id, t.j) for t in written] == [('a', 0), ('a', 1)]


def test_an_unknown_rule_names_the_known_ones():
  with pytest.raises(errors.InputError, match="'threshold' or 'best'"):
    selection.check_select(config.Select(rule='bset'))


def test_a_sample_that_is_read_past_is_missed(tmp_path):
  first = samples([1.0, 0.3], 'a') + samples([0.3, 0.3], 'b')
  records.write(tmp_path / '1' / 'scored.jsonl', first)
  later = [types.Trajectory(e, 2, 'text', reward=1.0) for e in 'ba']
  records.write(tmp_path / '2' / 'scored.jsonl', later)  # not as in the first
  summary = select.select(
    tmp_path / '1',
    tmp_path / '2',
    out=tmp_path / 'out',
    cfg=select.SelectSettings(config.Select(), (2, 3)),
    layout=None,
  )
  assert (summary['expected'], summary['made']) == (3, 2)
