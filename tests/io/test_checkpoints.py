"""Model folders: written whole, written again, refused when damaged."""

import numpy as np
import pytest

from restpg_jax import errors
from restpg_jax.io import checkpoints
from tests import tiny

SIZE = tiny.size()


def test_a_model_comes_back_bit_for_bit_and_may_be_written_again(tmp_path):
  # A run killed behind the model but before DONE.json writes it once more.
  for value in (0.1, 0.2):
    checkpoints.save_model(tmp_path / 'm', {'w': np.float32([value])}, SIZE)
  params, size = checkpoints.load_model(tmp_path / 'm')
  assert size == SIZE
  assert params['w'].tolist() == [np.float32(0.2)]
  assert checkpoints.count(params) == 1


def test_a_folder_without_model_json_is_no_model(tmp_path):
  with pytest.raises(errors.InputError, match='model.json is missing'):
    checkpoints.load_model(tmp_path)
