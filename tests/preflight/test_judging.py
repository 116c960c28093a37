"""Facts about restpg_jax/preflight/judging.py: few lengths, and their price."""

import pathlib

import numpy as np
import pytest

from restpg_jax import cli
from restpg_jax.preflight import judging
from restpg_jax.sampling import candidates

ROOT = pathlib.Path(__file__).parents[2]


def test_tokens_by_hand():
  judged = judging.JudgedLengths(
    np.array([50, 20]), np.array([[10, 30, 50], [32, 40, 100]])
  )
  lengths = (32, 32), (64, 32), (128, 32), (64, 64)
  found = judging.computed_tokens(judged, lengths)
  # 50 behind 10 and 30, once more behind 50; 20 behind 32, 20 behind 40, and
  # 20 + 100 read whole: 88 + 32.
  assert found.prefixes == (64 + 64 + 32 + 64 + 128) / 2
  assert found.rests == (32 + 32 + 64 + 32 + 64 + 32) / 2
  assert found.needed == (50 + 90 + 20 + 172) / 2
  assert found.lengths == lengths
  assert found.padding == pytest.approx(1 - 166 / 304)


def test_the_papers_answers_need_at_most_24_programs():
  """12 of the E-step's judge and as many of the test set's, in float32."""
  cfg = cli.load_config(str(ROOT / 'configs/paper.py'))
  judged = judging.judged_lengths(cfg, 500, cfg.draw.m)
  assert judged.rest_NA.max() == 1536 + 11
  lengths = candidates.compiled_lengths(cfg.reward.max_input)
  found = judging.computed_tokens(judged, lengths)
  assert 8 <= len(found.lengths) <= 12
  assert found.padding < 0.43
  # The fewest would pad more, and many would read prefixes again and again.
  assert found.padding < judging.computed_tokens(judged, [(8192, 1664)]).padding
  fine = [(S, R) for R in range(64, 1664, 64) for S in (512, 1024, 2048, 8192)]
  assert judging.computed_tokens(judged, fine).padding > found.padding


def test_lengths_are_those_of_the_settings():
  cfg = cli.load_config(str(ROOT / 'configs/paper.py'))
  cfg.reward.max_input, cfg.prompt.max_output = 1000, 300
  judged = judging.judged_lengths(cfg, 200, 4)
  assert judged.rest_NA.max() == 311
  assert (judged.prefix_N[:, None] + judged.rest_NA).max() == 1000
