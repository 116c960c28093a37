"""Facts about restpg_jax/sampling/budget.py."""

import dataclasses

import pytest

from restpg_jax import errors
from restpg_jax.models import catalog
from restpg_jax.sampling import budget, candidates, slots

GIB = 2**30
SHAPE = slots.DecodeShape(
  1, 8, 32, prompt_length=5120, output_length=1536, steps=16
)


def gemma_2b(weights=5 * GIB):
  return budget.Bytes.of(
    catalog.catalog_size('gemma_2b'), weights=weights, itemsize=2, prompt=5120
  )


def test_the_formula_by_hand():
  need = gemma_2b()
  assert need.token == 18 * 2 * 256 * 2  # layers, keys and values, bfloat16
  scores = 8 * 640 * 5120 * 4  # 8 heads, an eighth of the queries
  assert need.reading == 2 * scores + 5120 * need.token
  assert need.choosing == 2 * 256_128 * 4
  slot = (1536 + 16) * need.token + need.choosing
  assert need.group(SHAPE) == 5120 * need.token + 8 * slot
  two = dataclasses.replace(SHAPE, groups=2)
  once = 5 * GIB + need.reading + 32 * need.choosing
  assert need.total(two) == once + 2 * need.group(SHAPE)


def test_layers_of_two_shapes_count_as_what_they_are():
  """Of 12B's 48 layers 40 have 8 heads of 256, 8 have one of 512."""
  size = catalog.catalog_size('gemma4_12b')
  judging = budget.Judging.of(size, weights=0, itemsize=2, num_logits=1)
  assert judging.token == 2 * 2 * (40 * 8 * 256 + 8 * 512)
  assert judging.layer == 2 * 2 * 8 * 256
  need = budget.Bytes.of(size, weights=0, itemsize=2, prompt=5120)
  assert need.token == judging.token


def test_outputs_are_kept_in_whole_chunks():
  assert slots.DecodeShape(1, 1, 1, 1, output_length=17, steps=16).suffix == 32


@pytest.mark.parametrize(
  ('m', 'group'), [(1, 1), (3, 1), (8, 2), (32, 8), (128, 32), (1000, 32)]
)
def test_a_group_has_a_quarter_of_the_samples(m, group):
  assert budget.group_of(m) == group


def test_as_many_groups_as_fit():
  need = gemma_2b()
  for groups in (1, 2, 12):
    memory = need.total(dataclasses.replace(SHAPE, groups=groups))
    assert (
      budget.fit(SHAPE, need, memory=memory, max_slots=999).groups == groups
    )
    less = budget.fit(
      SHAPE, need, memory=memory + need.group(SHAPE) - 1, max_slots=999
    )
    assert less.groups == groups


def test_not_more_slots_than_allowed():
  found = budget.fit(SHAPE, gemma_2b(), memory=10**15, max_slots=100)
  assert found == dataclasses.replace(SHAPE, groups=12)


def test_too_little_memory_is_the_users_error():
  need = gemma_2b()
  with pytest.raises(errors.InputError, match=r'5.66 GiB.* there are 5.50 GiB'):
    budget.fit(SHAPE, need, memory=int(5.5 * GIB), max_slots=512)


def test_a_v4_chip_holds_twelve_prompts_of_32_slots():
  shape = dataclasses.replace(SHAPE, slots=32)
  found = budget.fit(
    shape, gemma_2b(), memory=int(0.9 * 30.75 * GIB), max_slots=999
  )
  assert found.groups >= 12


def judge(weights=16 * GIB):
  return budget.Judging.of(
    catalog.catalog_size('gemma_7b'), weights=weights, itemsize=2, num_logits=6
  )


def test_judging_by_hand():
  need = judge()
  assert need.layer == 2 * 16 * 256 * 2  # keys and values, heads, bfloat16
  S, R = 6144, 256
  room = candidates.Room(8, 64)
  kept = 8 * S * 28 * need.layer
  # 8 rests of 256 tokens at a time are 2,048 tokens.
  rests = 8 * ((S + R) * (need.layer + R * 8 * 16) + 6 * 8 * 256_128)
  assert rests < 8 * 16 * S * S  # reading a prefix needs more
  assert need.total(room, (S, R)) == 16 * GIB + kept + 8 * 16 * S * S
  assert need.total(room, (512, 1024)) == (
    16 * GIB
    + 8 * 512 * 28 * need.layer
    + 2 * (1536 * (need.layer + 1024 * 8 * 16) + 6 * 8 * 256_128)
  )


def test_fewer_are_judged_at_once_where_they_are_long():
  need, memory = judge(), int(0.9 * 30.75 * GIB)
  assert need.room(
    (1024, 512), memory=memory, max_candidates=64
  ) == candidates.Room(8, 64)
  long = need.room((7168, 1024), memory=memory, max_candidates=64)
  assert long == candidates.Room(1, 64)  # they can all share a prefix
  assert need.total(long, (7168, 1024)) <= memory
  assert need.total(candidates.Room(2, 64), (7168, 1024)) > memory


def test_a_judge_without_room_for_one_text_is_the_users_error():
  with pytest.raises(errors.InputError, match='for one text of 8192 tokens'):
    judge().room((7168, 1024), memory=20 * GIB, max_candidates=64)
