"""Facts about restpg_jax/sampling/labels.py: '1' is a prefix of '10'."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax import assets
from restpg_jax.models import decoder
from restpg_jax.rewards import judge
from restpg_jax.sampling import labels
from restpg_jax.text import tokenizer as tokenizers
from tests import tiny

SHARED = pathlib.Path(__file__).parents[3] / 'shared' / 'tokenizers'

END, ONE, ZERO, THREE = range(4)
DIGITS = np.array([ONE, ZERO, THREE])
AFTER = {  # what a model says, by hand: text so far -> P(END, '1', '0', '3')
  (): [0.1, 0.6, 0.1, 0.2],
  (ONE,): [0.3, 0.1, 0.6, 0.0],
  (THREE,): [0.9, 0.0, 0.05, 0.05],
  (ONE, ZERO): [0.8, 0.1, 0.1, 0.0],
}


class ByHand:
  """The methods of a decoder; a prompt's state is all it has read."""

  def apply(self, variables, *args, method):
    assert variables == {'params': 'weights'}
    return getattr(self, method)(*args)

  def prefill(self, tokens_PS):
    return jnp.zeros((*tokens_PS.shape, 1)), None

  def logits(self, hidden_PD):
    return jnp.log(jnp.array([AFTER[()]] * len(hidden_PD)))

  def cache(self, kv, samples, length):
    return [()] * samples

  def step(self, tokens_PG, cache, length_P, t):
    said = [
      (*before, int(n)) for before, n in zip(cache, tokens_PG[0], strict=True)
    ]
    rows = [AFTER.get(text, [0.25] * 4) for text in said]
    return jnp.log(jnp.array([rows] * len(tokens_PG))), said


def test_a_label_is_its_tokens_and_then_no_digit():
  score = labels.build(ByHand(), [[ONE], [THREE], [ONE, ZERO]], DIGITS)
  logp = score('weights', jnp.zeros((2, 3), int), jnp.array([3, 2]))
  np.testing.assert_allclose(
    np.exp(logp),
    [
      [
        0.6 * (1 - 0.7),  # '1', then neither '1' nor '0': .18
        0.2 * (1 - 0.1),  # .18
        0.6 * 0.6 * (1 - 0.2),  # '1', '0', no digit: .288
      ]
    ]
    * 2,
    rtol=1e-5,
  )
  # By its first token alone, '1' (.6) would have beaten '10' (.36).
  assert np.argmax(logp, axis=-1).tolist() == [2, 2]


SIZE = tiny.size(vocabulary=12)


def test_equal_to_reading_prompt_and_label_in_full():
  model = decoder.Decoder(SIZE)
  params = model.init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  params['embedding'] *= 20  # far from uniform
  rng = np.random.default_rng(0)
  wanted = [[5], [7], [5, 6], [5, 6, 7]]
  digits = np.array([5, 6, 7])
  lengths = np.array([4, 9, 0])  # the last row only pads the batch
  tokens = rng.integers(1, 12, (3, 9))
  score = jax.jit(labels.build(model, wanted, digits))
  found = score(params, tokens, lengths)

  @jax.jit
  def log_probabilities(row):
    return jax.nn.log_softmax(model.apply({'params': params}, row[None])[0])

  for p in (0, 1):
    for g, label in enumerate(wanted):
      read = [*tokens[p, : lengths[p]], *label]
      row = np.zeros(12, int)
      row[: len(read)] = read
      logp = np.float64(log_probabilities(row))
      first = lengths[p] - 1
      said = sum(logp[first + n, token] for n, token in enumerate(label))
      goes_on = np.exp(logp[first + len(label), digits]).sum()
      np.testing.assert_allclose(
        found[p, g], said + np.log(1 - goes_on), rtol=1e-4
      )
  assert np.isfinite(found).all()
  assert np.ptp(found[:2]) > 1  # not trivially alike


@functools.cache
def load(name):
  path = SHARED / f'{name}.rebuilt.spm.model'
  if name == 'tiny':
    path = assets.path('tiny.spm.model')
  elif not path.exists():
    pytest.skip(f'no {path}')
  return tokenizers.Tokenizer(path.read_bytes())


# '0' to '9' by hand; and the names of the judge's labels, 1 3 5 7 10
NUMBERS = {
  'gemma1': [235276, 235274, 235284, 235304, 235310]
  + [235308, 235318, 235324, 235321, 235315],
  'gemma3': [236771, 236770, 236778, 236800, 236812]
  + [236810, 236825, 236832, 236828, 236819],
}
every = pytest.mark.parametrize('name', ['tiny', 'gemma1', 'gemma3'])


def judged(name):
  """The label sequences of the judge, as stages/language.py makes them."""
  return [load(name).encode(str(label)) for label in judge.LABELS]


@pytest.mark.parametrize('name', ['gemma1', 'gemma3'])
def test_the_judges_labels_in_gemma_by_id(name):
  n = NUMBERS[name]
  assert judged(name) == [[n[1]], [n[3]], [n[5]], [n[7]], [n[1], n[0]]]
  assert set(n) <= set(load(name).digits)


@every
def test_a_label_reads_the_same_behind_the_turn_it_opens(name):
  tokenizer = load(name)
  for label in judge.LABELS:
    turn, said = tokenizer.encode('model\n'), tokenizer.encode(str(label))
    assert tokenizer.encode(f'model\n{label}') == turn + said


class Writes:
  """A judge that writes "1" half of the time, and then always goes on.

  P: '1' .5, '5' .3, '7' .2; after '1': '0' .9, end .1; else the end.
  """

  def __init__(self, tokenizer):
    self.size = tokenizer.vocab_size
    one, five, seven, zero = map(tokenizer.encode, '1570')
    self.one, self.end = one[0], tokenizer.end_of_turn
    self.first = {one[0]: 0.5, five[0]: 0.3, seven[0]: 0.2}
    self.after = {zero[0]: 0.9, self.end: 0.1}

  def apply(self, variables, *args, method):
    return getattr(self, method)(*args)

  def prefill(self, tokens_PS):
    return jnp.zeros((*tokens_PS.shape, 1)), None

  def logits(self, hidden_PD):
    return jnp.stack([self.row(self.first)] * len(hidden_PD))

  def cache(self, kv, samples, length):
    return None

  def step(self, tokens_PG, cache, length_P, t):
    rows = [
      self.row(self.after if token == self.one else {self.end: 1.0})
      for token in tokens_PG[0]
    ]
    return jnp.stack([jnp.stack(rows)] * len(tokens_PG)), cache

  def row(self, chances):
    logits = np.full(self.size, -1e9, np.float32)
    logits[list(chances)] = np.log(list(chances.values()))
    return jnp.asarray(logits)


@every
def test_10_is_not_taken_for_1_in_real_vocabularies(name):
  model = Writes(load(name))
  score = labels.build(model, judged(name), np.array(load(name).digits))
  (logp,) = score({}, jnp.zeros((1, 3), int), jnp.array([3]))
  # 1: .5 * (1 - .9); 3: never; 10: .5 * .9
  np.testing.assert_allclose(
    np.exp(logp), [0.05, 0.0, 0.3, 0.2, 0.45], rtol=1e-4
  )
  assert judge.rewards(logp[None]) == [1.0]
  # By its first token alone '1' would win, a reward of .1.
  assert max(model.first, key=model.first.get) == judged(name)[0][0]


@pytest.mark.parametrize('name', ['gemma1', 'gemma3'])
def test_equal_to_reading_in_full_with_a_real_vocabulary(name):
  tokenizer = load(name)
  rows = {'gemma1': 256128, 'gemma3': 262144}[name]  # some embed padding too
  size = decoder.Size(1, 16, 16, 1, 1, 16, vocabulary=rows)
  model = decoder.Decoder(size)
  init = jax.jit(model.init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  digits = np.array(tokenizer.digits)
  # The digits of this model are likely, so that the end of a label matters.
  params['embedding'] = params['embedding'].at[digits].multiply(30.0)
  prompt = tokenizer.user_turn('Score this.')
  score = jax.jit(labels.build(model, judged(name), digits))
  (found,) = score(params, jnp.array([prompt]), jnp.array([len(prompt)]))

  @jax.jit
  def log_probabilities(row):
    return jax.nn.log_softmax(model.apply({'params': params}, row[None])[0])

  expected = []
  for label in judged(name):
    row = np.zeros(len(prompt) + 2, int)
    row[: len(prompt + label)] = prompt + label
    logp = np.float64(log_probabilities(row))[len(prompt) - 1 :]
    said = sum(logp[n, token] for n, token in enumerate(label))
    goes_on = np.exp(logp[len(label), digits]).sum()
    expected.append(said + np.log(1 - goes_on))
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert goes_on > 0.01
