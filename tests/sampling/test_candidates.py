"""Facts about restpg_jax/sampling/candidates.py."""

import itertools

import numpy as np
import pytest

from restpg_jax.sampling import candidates


@pytest.mark.parametrize(
  ('ids', 'like', 'prefix', 'rest'),
  [
    ([1, 2, 3, 4], [1, 2, 5, 6, 7], (1, 2), [3, 4]),
    ([1, 2, 3], [1, 2, 3, 4], (1, 2), [3]),  # a token is left
    ([1, 2, 3], [1, 2], (1, 2), [3]),
    ([4, 2, 3], [1, 2, 3], (), [4, 2, 3]),
    ([4], [4], (), [4]),
  ],
)
def test_a_prompt_is_parted_where_it_leaves_another(ids, like, prefix, rest):
  assert candidates.parted(ids, like) == candidates.Candidate(prefix, rest)


def test_few_lengths_are_compiled_and_little_is_padded():
  lengths = {n: candidates.round_to_steps(n, 8) for n in range(8193)}
  assert [lengths[n] for n in (0, 1, 32, 33, 350, 512)] == (
    [32, 32, 32, 64, 352, 512]
  )
  assert [lengths[n] for n in (513, 650, 1024, 1025, 8192)] == (
    [576, 704, 1024, 1152, 8192]
  )
  assert len(set(lengths.values())) == 48
  assert all(n <= length for n, length in lengths.items())
  assert max(lengths[n] / n for n in range(257, 8193)) < 1.13
  lengths = [
    candidates.round_to_steps(n, 4) for n in (32, 200, 256, 257, 650, 769)
  ]
  assert lengths == [32, 224, 256, 320, 768, 896]


def texts(*lengths):
  """Candidates by (prefix, its length, length of the rest)."""
  return [candidates.Candidate((p,) * n, [1] * r) for p, n, r in lengths]


def test_a_batch_is_of_one_shape_and_those_of_a_prefix_stay_together():
  judged = texts(
    (7, 9, 40), (8, 9, 5), (7, 9, 5), (8, 9, 50), (8, 9, 6), (9, 40, 6)
  )  # fmt: skip
  assert list(
    candidates.batches(judged, lambda _: candidates.Room(2, 4), devices=1)
  ) == [
    [[2, 1, 4]],  # 32 and 32 tokens; prefix 7 was there before 8
    [[0, 3]],  # 32 and 64
    [[5]],  # 64 and 32
  ]


def test_devices_share_a_batch_evenly():
  judged = texts(*[(7, 3, 4)] * 10)
  sizes = [
    [len(part) for part in parts]
    for parts in candidates.batches(
      judged, lambda _: candidates.Room(2, 4), devices=3
    )
  ]
  assert sizes == [[4, 4, 2]]
  sizes = [
    [len(part) for part in parts]
    for parts in candidates.batches(
      judged, lambda _: candidates.Room(2, 8), devices=3
    )
  ]
  assert sizes == [[4, 4, 2]]  # not 8 and 2


def test_every_candidate_is_in_one_place_within_the_room():
  rng = np.random.default_rng(0)
  judged = texts(*rng.integers(1, (9, 90, 90), (200, 3)).tolist())
  found = []
  for parts in candidates.batches(
    judged, lambda _: candidates.Room(3, 8), devices=2
  ):
    assert len(parts) <= 2
    shapes = {candidates.shape(judged[n]) for part in parts for n in part}
    assert len(shapes) == 1
    for part in parts:
      assert 0 < len(part) <= 8
      assert len({judged[n].prefix for n in part}) <= 3
    found += itertools.chain(*parts)
  assert sorted(found) == list(range(200))
  assert (
    list(candidates.batches([], lambda _: candidates.Room(3, 8), devices=2))
    == []
  )


def test_arrays_by_hand():
  judged = [
    candidates.Candidate((5, 6), [1]),
    candidates.Candidate((), [2, 3, 4]),
    candidates.Candidate((5, 6), [7, 8]),
  ]
  prefix, prefix_length, rest, rest_length, behind = (
    candidates.candidate_arrays(judged, candidates.Room(3, 4), (3, 4))
  )
  assert prefix.tolist() == [[5, 6, 0], [0, 0, 0], [0, 0, 0]]
  assert prefix_length.tolist() == [2, 0, 0]
  assert rest.tolist() == [[1, 0, 0, 0], [2, 3, 4, 0], [7, 8, 0, 0], [0] * 4]
  assert rest_length.tolist() == [1, 3, 2, 0]
  assert behind.tolist() == [0, 1, 0, 0]
