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


def test_the_lengths_that_are_compiled():
  assert candidates.compiled_lengths(64) == ((32, 32), (64, 32))
  assert candidates.compiled_lengths(192) == (
    *((32, 32), (64, 32)),
    *((32, 64), (96, 64), (192, 64)),
    (160, 96),
  )
  assert candidates.compiled_lengths(8190) == (
    *((512, 256), (928, 256), (2048, 256)),
    *((512, 480), (1024, 480), (2048, 480)),
    *((928, 832), (1664, 832)),
    *((1024, 1664), (3296, 1664), (8192, 1664)),
    (6560, 4096),
  )
  # A compile of the whole model each: whatever the limit, they are few.
  assert max(len(candidates.compiled_lengths(n)) for n in range(1, 9000)) == 12


def test_a_candidate_has_the_shortest_rest_that_holds_it_then_prefix():
  lengths = candidates.compiled_lengths(8190)
  for prefix, rest, expected in [
    (512, 256, (512, 256)),
    (0, 1, (512, 256)),
    (513, 256, (928, 256)),
    (700, 257, (1024, 480)),
    (2049, 256, (3296, 1664)),
    (1665, 481, (3296, 1664)),
    (100, 1547, (1024, 1664)),
    (7000, 1000, (8192, 1664)),
    (6500, 1665, (6560, 4096)),
  ]:
    candidate = candidates.Candidate((7,) * prefix, [1] * rest)
    assert candidates.fitted(candidate, lengths) is candidate
    assert candidates.shape(candidate, lengths) == expected


@pytest.mark.parametrize('limit', [32, 60, 192, 300])
def test_whatever_is_within_the_limit_fits(limit):
  lengths = candidates.compiled_lengths(limit)
  for prefix in range(limit):
    for rest in range(1, limit - prefix + 1):
      ids = tuple(range(prefix + rest))
      candidate = candidates.Candidate(ids[:prefix], ids[prefix:])
      fitted = candidates.fitted(candidate, lengths)
      S, R = candidates.shape(fitted, lengths)
      assert len(fitted.prefix) <= S
      assert 0 < len(fitted.rest) <= R
      assert (*fitted.prefix, *fitted.rest) == ids


def test_what_no_lengths_hold_is_parted_elsewhere():
  lengths = candidates.compiled_lengths(8190)
  ids = tuple(range(8000))
  one = candidates.fitted(candidates.Candidate(ids[:3000], ids[3000:]), lengths)
  assert one == candidates.Candidate(ids[:-1664], ids[-1664:])
  assert candidates.shape(one, lengths) == (8192, 1664)
  too_long = candidates.Candidate(ids, ids)
  with pytest.raises(
    ValueError, match='a prompt of 14336 [+] 1664 tokens fits'
  ):
    candidates.shape(candidates.fitted(too_long, lengths), lengths)


LENGTHS = (32, 32), (64, 32), (128, 32), (32, 64), (128, 64), (128, 128)


def texts(*lengths):
  """Candidates by (prefix, its length, length of the rest)."""
  return [candidates.Candidate((p,) * n, [1] * r) for p, n, r in lengths]


def test_a_batch_is_of_one_shape_and_those_of_a_prefix_stay_together():
  judged = texts(
    (7, 9, 40), (8, 9, 5), (7, 9, 5), (8, 9, 50), (8, 9, 6), (9, 40, 6)
  )  # fmt: skip
  assert list(
    candidates.batches(
      judged, LENGTHS, lambda _: candidates.Room(2, 4), devices=1
    )
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
      judged, LENGTHS, lambda _: candidates.Room(2, 4), devices=3
    )
  ]
  assert sizes == [[4, 4, 2]]
  sizes = [
    [len(part) for part in parts]
    for parts in candidates.batches(
      judged, LENGTHS, lambda _: candidates.Room(2, 8), devices=3
    )
  ]
  assert sizes == [[4, 4, 2]]  # not 8 and 2


def test_every_candidate_is_in_one_place_within_the_room():
  rng = np.random.default_rng(0)
  judged = texts(*rng.integers(1, (9, 90, 90), (200, 3)).tolist())
  found = []
  for parts in candidates.batches(
    judged, LENGTHS, lambda _: candidates.Room(3, 8), devices=2
  ):
    assert len(parts) <= 2
    shapes = {
      candidates.shape(judged[n], LENGTHS) for part in parts for n in part
    }
    assert len(shapes) == 1
    for part in parts:
      assert 0 < len(part) <= 8
      assert len({judged[n].prefix for n in part}) <= 3
    found += itertools.chain(*parts)
  assert sorted(found) == list(range(200))
  assert (
    list(
      candidates.batches(
        [], LENGTHS, lambda _: candidates.Room(3, 8), devices=2
      )
    )
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
