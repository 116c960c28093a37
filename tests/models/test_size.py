"""Facts about restpg_jax/models/size.py."""

import dataclasses

import pytest

from restpg_jax import errors
from restpg_jax.models import size as sizes
from tests import tiny
from tests.models import families


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'activation': 'relu'}, "activation 'relu' is not known; known: gelu"),
    ({'kv_heads': 3}, '4 heads cannot share 3 kv_heads'),
    ({'head_size': 7}, 'head_size 7 must be even'),
    ({'pattern': 'lx'}, "pattern 'lx' must be made of l and g"),
    ({'pattern': ''}, "pattern '' must be made of l and g"),
    ({'pattern': 'lg'}, "pattern 'lg' has local layers: set window"),
    ({'global_head_size': 8}, "pattern 'g' has one type of layers"),
    ({'rope_share': 0.0}, 'rope_share 0.0 must be above 0'),
    (
      {'pattern': 'lg', 'window': 3, 'global_kv_heads': 3},
      '4 heads cannot share 3 global_kv_heads',
    ),
    (
      {'layers': 3, 'pattern': 'lg', 'window': 3, 'global_head_size': 24},
      "3 layers are no whole repeats of pattern 'lg'",
    ),
  ],
)
def test_sizes_that_no_model_has_are_refused(changes, message):
  with pytest.raises(errors.InputError, match=f'model size: {message}'):
    tiny.size(**{'heads': 4, **changes})


def test_layers_take_turns():
  size = tiny.size(layers=8, pattern='lllllg', window=4)
  assert size.local_layers() == [*[True] * 5, False, True, True]


def test_a_model_from_before_gemma_4_is_described_as_it_was():
  """The hash of a model.json decides which results are found again."""
  described = tiny.size(heads=4).described()
  assert list(described)[-3:] == [
    'local_rope_base',
    'rope_scale',
    'rope_context',
  ]
  size = families.ALL['gemma4']
  assert sizes.Size(**size.described()) == size


def test_new_fields_are_left_out_at_their_defaults():
  fields = {f.name: f.default for f in dataclasses.fields(sizes.Size)}
  assert sizes.GEMMA4.items() <= fields.items()


def test_layers_of_gemma_4_have_heads_of_their_own():
  size = families.ALL['gemma4']
  local, far = size.blocks()
  assert (local.kv_heads, local.head_size, local.rope_base) == (2, 16, 1e4)
  assert (far.kv_heads, far.head_size, far.rope_base) == (1, 32, 1e6)
  assert (local.rope_share, far.rope_share) == (1.0, 0.25)
  assert (local.keys_are_values(), far.keys_are_values()) == (False, True)
  assert size.cached() == 2 * 2 * (2 * 16 + 1 * 32)  # two layers of each
