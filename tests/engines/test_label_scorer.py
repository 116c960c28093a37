"""Facts about engines/label_scorer.py: what is judged together, and how."""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from restpg_jax import assets, config
from restpg_jax.engines import generator, label_scorer
from restpg_jax.models import decoder
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import candidates
from restpg_jax.text import sentencepiece_model
from tests import tiny

SIZE = tiny.size(vocabulary=1024, hidden=48)
LABELS = ['1', '3', '10']
LIMIT = (
  120  # tokens: pairs of lengths are 32, 64 or 128 and 32, 32 or 64 and 64
)
compiled = []


@jax.monitoring.register_event_duration_secs_listener
def listen(event, *_, **__):
  if 'backend_compile' in event:
    compiled.append(event)


def model(shards=1):
  layout = layouts.Layout.of(config.Compute(judged=8, shards=shards))
  tokenizer = sentencepiece_model.SentencePiece(
    assets.path('tiny.spm.model').read_bytes()
  )
  params = layout.replicate(decoder.unstacked(tiny.parameters(SIZE, 0.3)))
  return generator.LoadedModel(
    decoder.Decoder(SIZE, stacked=False), params, tokenizer, layout
  )


def texts(seed, inputs=5, each=6):
  """Prefixes of 10 to 60 tokens, rests of 1 to 60."""
  rng = np.random.default_rng(seed)

  def draw(low):
    return rng.integers(4, 1024, rng.integers(low, 60)).tolist()

  return [
    candidates.Candidate(tuple(prefix), draw(1))
    for prefix in [draw(10) for _ in range(inputs)]
    for _ in range(each)
  ]


def logp(judged, shards=1):
  by_index = dict(
    pair
    for part in label_scorer.label_logp(
      model(shards), judged, LABELS, limit=LIMIT
    )
    for pair in part
  )
  assert sorted(by_index) == list(range(len(judged)))
  return np.array([by_index[n] for n in range(len(judged))])


@pytest.mark.slow
def test_alike_to_the_last_bit_in_any_order_and_company():
  judged = texts(0)
  whole = logp(judged)
  order = np.random.default_rng(1).permutation(len(judged))
  np.testing.assert_array_equal(logp([judged[n] for n in order]), whole[order])
  few = [29, 3, 4, 17]  # as after a kill
  np.testing.assert_array_equal(logp([judged[n] for n in few]), whole[few])
  for n in (0, 11):
    np.testing.assert_array_equal(logp([judged[n]]), whole[[n]])
  assert len(np.unique(whole)) > 80  # not trivially alike


@pytest.mark.slow
def test_nothing_is_compiled_once_the_lengths_are_known():
  logp(texts(0))
  assert compiled
  compiled.clear()
  assert np.ptp(logp(texts(2, inputs=7, each=4))) > 1
  assert compiled == []


def test_candidates_are_read_a_piece_at_a_time():
  read = []
  endless = map(
    lambda n: read.append(n) or candidates.Candidate((5, 6), [7, n % 900]),
    itertools.count(),
  )
  lists = label_scorer.label_logp(model(), endless, LABELS, limit=LIMIT)
  assert len(list(itertools.islice(lists, 3))) == 3
  assert len(read) == label_scorer.AHEAD * 8
  assert list(label_scorer.label_logp(model(), [], LABELS, limit=LIMIT)) == []


@pytest.mark.slow
def test_devices_share_the_work():
  """Four by themselves, one of which has nothing to do at times, and in pairs
  that share the weights."""
  root = pathlib.Path(__file__).parents[2]
  devices = '--xla_force_host_platform_device_count=4'
  flags = f'{os.environ["XLA_FLAGS"]} {devices}'
  env = os.environ | {'XLA_FLAGS': flags, 'PYTHONPATH': str(root)}
  out = subprocess.run(
    [sys.executable, __file__], env=env, check=True, stdout=subprocess.PIPE
  )
  devices, alone, paired = json.loads(out.stdout)
  assert devices == 4
  expected = logp(texts(0))
  np.testing.assert_allclose(alone, expected, atol=1e-5)
  np.testing.assert_allclose(paired, expected, atol=1e-5)


if __name__ == '__main__':
  both = [logp(texts(0), shards).tolist() for shards in (1, 2)]
  print(json.dumps([jax.device_count(), *both]))
