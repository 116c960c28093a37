"""What is drawn, against exact probabilities: the whole engine, as a stage
calls it (engines/generator.generate_samples)."""

import collections
import functools

import jax
import numpy as np
import pytest
from scipy import stats

from restpg_jax import config
from restpg_jax.engines import generator
from restpg_jax.io import checkpoints
from restpg_jax.models import decoder
from restpg_jax.parallel import layout as layouts
from tests import tiny

pytestmark = pytest.mark.slow

SIZE = tiny.size(vocabulary=1024)  # room for the bundled tokenizer
PROMPT = [2, 17, 5, 900, 23, 8, 8, 901]
WORDS = 32  # of the 1024, so that each is seen often
SCALE = 0.2  # of the weights: sure of no word, yet not even
INPUTS, M = 40, 250  # 10,000 draws
TEMPERATURE, TOP_P = 0.7, 0.9
LIKELY = 300  # a first token seen so often has its second ones tested
ALPHA = 1e-4  # of one test, at a fixed seed


class Ids:
  """Texts are ids."""

  vocab_size = WORDS

  def decode(self, ids):
    return ' '.join(map(str, ids))


@pytest.fixture(scope='module')
def draws(tmp_path_factory):
  """Pairs of first and second token; a group draws 50 at a time and refills."""
  folder = tmp_path_factory.mktemp('model')
  checkpoints.save_model(folder, tiny.parameters(SIZE, SCALE), SIZE)
  layout = layouts.Layout.of(config.Compute(prompts=4, samples=50))
  loaded = generator.load(folder, 'tiny.spm.model', layout)
  drawn = {}
  for harvest in generator.generate_samples(
    generator.LoadedModel(loaded.decoder, loaded.params, Ids(), layout),
    [
      generator.SampleRequest(f'x/{n}', PROMPT, range(M)) for n in range(INPUTS)
    ],
    inputs=INPUTS,
    prompt_length=len(PROMPT),
    m=M,
    max_output=2,
    stop=[WORDS],  # never drawn
    temperature=TEMPERATURE,
    top_p=TOP_P,
    seed=0,
    purpose='draw',
  ):
    for s in harvest.samples:
      drawn[s.example_id, s.j] = tuple(map(int, s.text.split()))
  assert len(drawn) == INPUTS * M
  return list(drawn.values())


forward = jax.jit(decoder.Decoder(SIZE).apply)


@functools.cache
def exact(*after, temperature=TEMPERATURE, top_p=TOP_P):
  """Probabilities of the next word, by the definition of the nucleus."""
  row = [*PROMPT, *after]
  tokens = np.zeros((1, len(PROMPT) + 1), int)
  tokens[0, : len(row)] = row
  params = tiny.parameters(SIZE, SCALE)
  logits_BLV = forward({'params': params}, tokens)
  logits = np.float64(logits_BLV[0, len(row) - 1, :WORDS]) / temperature
  probs = np.exp(logits - logits.max())
  probs /= probs.sum()
  order = np.argsort(-probs)
  before = np.cumsum(probs[order]) - probs[order]
  kept = np.zeros(WORDS)
  kept[order[before < top_p]] = probs[order[before < top_p]]
  return kept / kept.sum()


def p_value(tokens, probs):
  """Of the chi-square test; words that are hardly expected count as one."""
  seen = np.bincount(tokens, minlength=WORDS)
  assert not seen[probs == 0].any()
  often = probs * len(tokens) >= 5
  seen = np.append(seen[often], seen[~often].sum())
  expected = np.append(probs[often], probs[~often].sum()) * len(tokens)
  some = expected > 0
  if some.sum() == 1:
    return 1.0  # nothing to choose
  return stats.chisquare(seen[some], expected[some]).pvalue


def test_first_tokens_come_with_their_exact_probabilities(draws):
  probs = exact()
  assert 5 < np.sum(probs > 0) < WORDS  # the nucleus leaves some words out
  assert p_value([first for first, _ in draws], probs) > ALPHA


def test_second_tokens_come_with_theirs_after_each_first_one(draws):
  after = collections.defaultdict(list)
  for first, second in draws:
    after[first].append(second)
  often = {first: s for first, s in after.items() if len(s) >= LIKELY}
  assert sum(np.sum(exact(first) > 0) > 2 for first in often) >= 5
  p = {first: p_value(s, exact(first)) for first, s in often.items()}
  assert min(p.values()) > ALPHA, p


def test_other_settings_would_have_been_noticed(draws):
  firsts = [first for first, _ in draws]
  assert p_value(firsts, exact(temperature=0.75)) < ALPHA
  assert p_value(firsts, exact(top_p=1.0)) < ALPHA
