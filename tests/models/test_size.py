"""Facts about restpg_jax/models/size.py."""

import pytest

from restpg_jax import errors
from tests import tiny


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'activation': 'relu'}, "activation 'relu' is not known; known: gelu"),
    ({'kv_heads': 3}, '4 heads cannot share 3 kv_heads'),
    ({'head_size': 7}, 'head_size 7 must be even'),
    ({'pattern': 'lx'}, "pattern 'lx' must be made of l and g"),
    ({'pattern': ''}, "pattern '' must be made of l and g"),
    ({'pattern': 'lg'}, "pattern 'lg' has local layers: set window"),
  ],
)
def test_sizes_that_no_model_has_are_refused(changes, message):
  with pytest.raises(errors.InputError, match=f'model size: {message}'):
    tiny.size(**{'heads': 4, **changes})


def test_layers_take_turns():
  size = tiny.size(layers=8, pattern='lllllg', window=4)
  assert size.local_layers() == [*[True] * 5, False, True, True]
