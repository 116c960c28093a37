"""Facts about restpg_jax/sampling/labels.py: '1' is a prefix of '10'."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax import assets
from restpg_jax.models import decoder
from restpg_jax.models import size as sizes
from restpg_jax.rewards import judge
from restpg_jax.sampling import candidates, labels
from restpg_jax.text import fast_tokenizer, sentencepiece_model, turns
from tests import tiny
from tests.text import tokenizer_families

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
  """The methods of a decoder; a token's state: the digits it sees, counted.

  A prompt here has none of them.
  """

  def apply(self, variables, *args, method):
    assert variables == {'params': 'weights'}
    return getattr(self, method)(*args)

  def prefill(self, tokens_PS):
    return None, ()

  def extend(self, tokens_CR, kv, prefix_C, length_C, position_CR, seen_CRR):
    said_CRd = (tokens_CR[..., None] == DIGITS).astype(int)
    return seen_CRR.astype(int) @ said_CRd

  def logits(self, seen_CMd):
    P_CMV = jnp.full((*seen_CMd.shape[:2], 4), 0.25)
    for text, chances in AFTER.items():
      here = seen_CMd == jnp.array([text.count(d) for d in DIGITS])
      P_CMV = jnp.where(here.all(-1, keepdims=True), jnp.array(chances), P_CMV)
    return jnp.log(P_CMV)


def split(prompts, at, room=None):
  """What `score` takes, for prompts whose first `at` tokens are a prefix."""
  parts = [
    candidates.Candidate(tuple(p[:n]), tuple(p[n:]))
    for p, n in zip(prompts, at, strict=True)
  ]
  room = room or candidates.Room(len(parts), len(parts) + 1)  # one is padding
  return [
    jnp.asarray(x) for x in candidates.candidate_arrays(parts, room, (64, 64))
  ]


def test_a_label_is_its_tokens_and_then_no_digit():
  score = labels.build_label_program(
    ByHand(), [[ONE], [THREE], [ONE, ZERO]], DIGITS
  )
  logp = score('weights', *split([[END] * 3, [END] * 2], at=[1, 0]))[:2]
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


PROMPTS = np.random.default_rng(0).integers(1, 12, (4, 40)).tolist()
LENGTHS = 40, 7, 23, 1  # of which so many are a prefix:
SPLITS = (0, 0, 0, 0), (39, 6, 22, 0), (20, 3, 0, 0), (5, 5, 19, 0)
WANTED = [[5], [7], [5, 6], [5, 6, 7], [6, 5]]
FAMILIES = {
  'gemma': SIZE,
  'gemma2': tiny.size(
    vocabulary=12, pattern='lg', window=9, attention_softcap=4.0,
    final_softcap=8.0, post_norms=True, kv_heads=2, layers=3,
  ),
  'gemma3': tiny.size(
    vocabulary=12, pattern='llg', window=6, qk_norm=True, layers=3,
    local_rope_base=100.0, rope_scale=8.0, post_norms=True,
  ),
  'gemma4': tiny.size(
    vocabulary=12, pattern='lg', window=6, qk_norm=True, heads=2,
    global_head_size=24, global_keys_are_values=True, rope_share=0.25,
    v_norm=True, layer_scalar=True, post_norms=True, local_rope_base=100.0,
  ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize('size', FAMILIES.values(), ids=FAMILIES)
def test_equal_to_reading_prompt_and_label_in_full(size):
  model, params = decoder.Decoder(size), tiny.parameters(size, 0.3)
  digits = np.array([5, 6, 7])
  score = jax.jit(labels.build_label_program(model, WANTED, digits))
  prompts = [p[:n] for p, n in zip(PROMPTS, LENGTHS, strict=True)]
  expected = [
    [in_full(model, params, prompt, label, digits) for label in WANTED]
    for prompt in prompts
  ]
  assert np.ptp(expected) > 1  # not trivially alike
  for at in SPLITS:
    found = score(params, *split(prompts, at))
    np.testing.assert_allclose(found[:4], expected, atol=1e-4)
    assert np.isfinite(found).all()  # the last row only pads the batch


def in_full(model, params, prompt, label, digits):
  """log P(label, then no digit), whole rows through Decoder.__call__."""
  row = np.zeros(48, int)
  row[: len(prompt) + len(label)] = [*prompt, *label]
  logp = np.float64(log_probabilities(model, params, row))[len(prompt) - 1 :]
  said = sum(logp[n, token] for n, token in enumerate(label))
  return said + np.log(1 - np.exp(logp[len(label), digits]).sum())


@functools.partial(jax.jit, static_argnums=0)
def log_probabilities(model, params, row):
  return jax.nn.log_softmax(model.apply({'params': params}, row[None])[0])


def test_candidates_of_one_input_read_the_same_prefix():
  model, params = decoder.Decoder(SIZE), tiny.parameters(SIZE, 0.3)
  digits = np.array([5, 6, 7])
  score = jax.jit(labels.build_label_program(model, WANTED, digits))
  shared, *own = PROMPTS
  prompts = [shared[:30] + rest[:n] for n, rest in enumerate(own, start=3)]
  arrays = split(prompts, [30] * 3, candidates.Room(2, 4))
  assert arrays[1].tolist() == [30, 0] and arrays[4].tolist() == [0] * 4
  expected = [
    [in_full(model, params, prompt, label, digits) for label in WANTED]
    for prompt in prompts
  ]
  found = score(params, *arrays)[:3]
  np.testing.assert_allclose(found, expected, atol=1e-4)
  # Where there is no prefix in use, what stands in its room is not seen.
  arrays[0] = arrays[0].at[1].set(11)
  np.testing.assert_array_equal(score(params, *arrays)[:3], found)


def test_the_beginnings_of_labels_are_a_tree():
  tree = labels.LabelTree.of([[1], [3], [1, 0], [3, 0, 0]])
  assert tree.token_N.tolist() == [1, 3, 0, 0, 0]  # 1 3 10 30 300
  assert tree.parent_N.tolist() == [-1, -1, 0, 1, 3]
  assert tree.path_NN.astype(int).tolist() == [
    [1, 0, 0, 0, 0],
    [0, 1, 0, 0, 0],
    [1, 0, 1, 0, 0],
    [0, 1, 0, 1, 0],
    [0, 1, 0, 1, 1],
  ]
  assert tree.leaf_G.tolist() == [0, 1, 2, 4]


def test_the_end_of_a_label_is_not_lost_to_rounding():
  class GoesOn(ByHand):
    def logits(self, seen_CMd):  # a digit follows with 1 - 2e-22
      logits = jnp.array([-50.0, 0.0, 0.0, 0.0])
      return jnp.broadcast_to(logits, (*seen_CMd.shape[:2], 4))

  score = labels.build_label_program(GoesOn(), [[ONE], [ONE, ZERO]], DIGITS)
  (logp, *_) = score('weights', *split([[END]], at=[0]))
  # 1/3 and then e^-50 / 3; 1/9 and then e^-50 / 3
  np.testing.assert_allclose(logp, [-52.197225, -53.295837], rtol=1e-6)


@functools.cache
def load(name):
  path = SHARED / f'{name}.rebuilt.spm.model'
  if name == 'tiny':
    path = assets.path('tiny.spm.model')
  elif not path.exists():
    pytest.skip(f'no {path}')
  return sentencepiece_model.SentencePiece(path.read_bytes())


# '0' to '9' by hand; and the names of the judge's labels, 1 3 5 7 10
NUMBERS = {
  'gemma1': [235276, 235274, 235284, 235304, 235310]
  + [235308, 235318, 235324, 235321, 235315],
  'gemma3': [236771, 236770, 236778, 236800, 236812]
  + [236810, 236825, 236832, 236828, 236819],
}
every = pytest.mark.parametrize('name', ['tiny', 'gemma1', 'gemma3'])


def judged(name):
  """The label sequences of the judge, as engines/generator.py makes them."""
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
    self.one, self.end = one[0], tokenizer.control_ids['<end_of_turn>']
    self.first = {one[0]: 0.5, five[0]: 0.3, seven[0]: 0.2}
    self.after = {zero[0]: 0.9, self.end: 0.1}

  def apply(self, variables, *args, method):
    return getattr(self, method)(*args)

  def prefill(self, tokens_PS):
    return None, ()

  def extend(self, tokens_CR, *_):
    return tokens_CR  # 0 in a prompt

  def logits(self, tokens_CM):
    tokens_CM1 = tokens_CM[..., None]
    behind = jnp.where(
      tokens_CM1 == self.one, self.row(self.after), self.row({self.end: 1.0})
    )
    return jnp.where(tokens_CM1 == 0, self.row(self.first), behind)

  def row(self, chances):
    logits = np.full(self.size, -1e9, np.float32)
    logits[list(chances)] = np.log(list(chances.values()))
    return jnp.asarray(logits)


@pytest.mark.slow
@every
def test_10_is_not_taken_for_1_in_real_vocabularies(name):
  model = Writes(load(name))
  score = labels.build_label_program(
    model, judged(name), np.array(load(name).digits)
  )
  logp = score({}, *split([[0] * 3], at=[1]))[0]
  # 1: .5 * (1 - .9); 3: never; 10: .5 * .9
  np.testing.assert_allclose(
    np.exp(logp), [0.05, 0.0, 0.3, 0.2, 0.45], rtol=1e-4
  )
  assert judge.rewards(logp[None]) == [1.0]
  # By its first token alone '1' would win, a reward of .1.
  assert max(model.first, key=model.first.get) == judged(name)[0][0]


class WritesNumbers(Writes):
  """P: '10' .5, '5' .3, '1' .2; after '1': '0' .75, end .25; else the end.

  Here '10' is one token, as in Llama 3.
  """

  def __init__(self, tokenizer):
    self.size = tokenizer.vocab_size
    (self.one,), (five,), (zero,), (ten,) = map(
      tokenizer.encode, ('1', '5', '0', '10')
    )
    self.first = {ten: 0.5, five: 0.3, self.one: 0.2}
    self.after = {zero: 0.75, tokenizer.eos: 0.25}
    self.end = tokenizer.eos


def test_a_vocabulary_in_which_10_is_one_token():
  content, notes = tokenizer_families.made('llama3')
  tokenizer = fast_tokenizer.FastTokenizer(content, notes)
  sequences = [tokenizer.encode(str(label)) for label in judge.LABELS]
  assert [len(ids) for ids in sequences] == [1, 1, 1, 1, 1]
  score = labels.build_label_program(
    WritesNumbers(tokenizer), sequences, np.array(tokenizer.digits)
  )
  logp = score({}, *split([[0] * 3], at=[1]))[0]
  # 1: .2 * (1 - .75); 3 and 7: never
  np.testing.assert_allclose(
    np.exp(logp), [0.05, 0.0, 0.3, 0.0, 0.5], rtol=1e-4
  )


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gemma1', 'gemma3'])
def test_equal_to_reading_in_full_with_a_real_vocabulary(name):
  tokenizer = load(name)
  rows = {'gemma1': 256128, 'gemma3': 262144}[name]  # some embed padding too
  size = sizes.Size(1, 16, 16, 1, 1, 16, vocabulary=rows)
  model = decoder.Decoder(size)
  init = jax.jit(model.init)
  params = init(jax.random.key(0), jnp.zeros((1, 4), int))['params']
  digits = np.array(tokenizer.digits)
  # The digits of this model are likely, so that the end of a label matters.
  params['embedding'] = params['embedding'].at[digits].multiply(30.0)
  prompt = turns.of_form(tokenizer, 'gemma').prompt(tokenizer, 'Score this.')
  score = jax.jit(labels.build_label_program(model, judged(name), digits))
  found = score(params, *split([prompt], at=[5]))[0]

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
