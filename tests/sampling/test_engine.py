"""Facts about restpg_jax/sampling/engine.py."""

import functools

import jax
import numpy as np
import pytest

from restpg_jax import config
from restpg_jax.models import decoder
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import engine, keys, nucleus, slots
from tests import tiny

SIZE = tiny.size(vocabulary=30)
MODEL = decoder.Decoder(SIZE)
APART = decoder.Decoder(SIZE, stacked=False)
PARAMS = tiny.parameters(SIZE, 0.3)
forward = jax.jit(MODEL.apply)
LAYOUT = layouts.Layout.of(config.Compute())
NEVER = 10_000  # a stop token that is no token
S, O = 12, 10  # noqa: E741
RNG = np.random.default_rng(0)
PROMPTS = [RNG.integers(4, 30, n).tolist() for n in (3, 12, 7, 1, 5)]


@functools.cache
def compiled(shape, **how):
  program = slots.DecodeProgram(APART, shape, top_p=0.95, **how)
  return slots.Programs(
    LAYOUT.each_device(program.empty_state),
    LAYOUT.each_device(program.prefill, donate=[1]),
    LAYOUT.each_device(program.decode_chunk, donate=[1]),
  )


def shape_of(groups=2, slots_=2, samples=2, steps=4):
  return slots.DecodeShape(groups, slots_, samples, S, O, steps)


def harvests(requests, shape, *, stop=(NEVER,), temperature=1.0, **how):
  programs = compiled(shape, stop=stop, temperature=temperature, **how)
  params = LAYOUT.replicate(decoder.unstacked(PARAMS))
  return engine.decode(programs, params, requests, shape, LAYOUT.devices)


def request(n, js):
  return engine.DecodeRequest(
    PROMPTS[n],
    [
      keys.row_key(
        seed=0, purpose='draw', iteration=0, example_id=f'x/{n}', j=j
      )
      for j in js
    ],
  )


def few(js):
  """Prompts of the shortest and the longest compiled length only: a length
  is a program more, for each way to sample."""
  return [request(n, js) for n in (0, 1, 3)]


def sample(requests, shape=None, **how):
  """The samples of each request, in the order of the requests."""
  found = [[None] * len(request.keys) for request in requests]
  for harvest in harvests(requests, shape or shape_of(), **how):
    for one in harvest.samples:
      assert found[one.request][one.sample] is None
      found[one.request][one.sample] = one
  return found


def texts(found):
  return [[(one.tokens, one.ended) for one in row] for row in found]


def naive(prompt, count, choose):
  """Next tokens, again and again, each chosen by reading everything anew."""
  row = list(prompt)
  for t in range(count):
    padded = np.zeros((1, S + O), int)
    padded[0, : len(row)] = row
    logits_BLV = forward({'params': PARAMS}, padded)
    row.append(int(choose(t, logits_BLV[0, len(row) - 1])))
  return row[len(prompt) :]


def greedy(prompt, count):
  return naive(prompt, count, lambda t, logits_V: np.argmax(logits_V))


@pytest.mark.slow
def test_greedy_samples_equal_reading_everything_anew_for_each_token():
  found = sample([request(n, [0]) for n in range(5)], temperature=0)
  assert [one.tokens for (one,) in found] == [greedy(p, O) for p in PROMPTS]
  assert not any(one.ended for (one,) in found)  # the limit came first
  assert len({tuple(one.tokens) for (one,) in found}) > 1


@pytest.mark.slow
def test_token_t_is_drawn_with_the_rows_key_folded_with_t():
  one = request(1, [0])
  key = jax.random.wrap_key_data(one.keys[0], impl='threefry2x32')
  pick = jax.jit(functools.partial(nucleus.sample, temperature=1, top_p=0.95))

  def choose(t, logits_V):
    return pick(jax.random.fold_in(key, t)[None], logits_V[None])[0]

  ((found,),) = sample([one])
  assert found.tokens == naive(PROMPTS[1], O, choose)


def test_the_stop_token_ends_a_sample_and_is_not_returned():
  tokens = greedy(PROMPTS[1], O)
  stop = next(t for t in tokens if t != tokens[0])
  before = tokens[: tokens.index(stop)]
  assert 0 < len(before) < O
  found = sample([request(1, [0])], temperature=0, stop=(stop,))
  assert texts(found) == [[(before, True)]]


@pytest.mark.slow
def test_any_of_several_stop_tokens_ends_a_sample():
  tokens = greedy(PROMPTS[1], O)
  second = next(t for t in tokens if t != tokens[0])
  found = sample([request(1, [0])], temperature=0, stop=(NEVER, second))
  assert texts(found) == [[(tokens[: tokens.index(second)], True)]]
  found = sample([request(1, [0])], temperature=0, stop=(second, tokens[0]))
  assert texts(found) == [[([], True)]]


@pytest.mark.slow
def test_a_neighbour_that_ends_early_does_not_stop_the_others():
  outputs = [greedy(prompt, O) for prompt in PROMPTS]
  stop = outputs[0][0]
  found = sample(
    [request(n, [0]) for n in range(5)], temperature=0, stop=(stop,)
  )
  assert texts(found)[0] == [([], True)]
  for (one,), tokens in zip(found, outputs, strict=True):
    end = tokens.index(stop) if stop in tokens else O
    assert (one.tokens, one.ended) == (tokens[:end], stop in tokens)
  assert any(not one.ended for (one,) in found)


@pytest.mark.slow
def test_a_sample_may_have_a_limit_of_its_own():
  tokens = greedy(PROMPTS[1], O)
  one = engine.DecodeRequest(PROMPTS[1], request(1, range(3)).keys, [1, 4, 6])
  found = sample([one], shape_of(samples=3), temperature=0)
  assert texts(found) == [[(tokens[:n], False) for n in (1, 4, 6)]]


@pytest.mark.slow
def test_the_log_probability_is_the_models_own():
  """At temperature 1, whatever it was drawn with; the stop token counts."""
  requests = few(range(2))
  outputs = sample(requests, temperature=0.7)
  stop = outputs[0][0].tokens[3]
  found = sample(requests, temperature=0.7, stop=(stop,))
  for prompt, row in zip([r.prompt for r in requests], found, strict=True):
    for one in row:
      tokens = one.tokens + [stop] * one.ended
      padded = np.zeros((1, S + O), int)
      padded[0, : len(prompt) + len(tokens)] = [*prompt, *tokens]
      logp = jax.nn.log_softmax(forward({'params': PARAMS}, padded)[0])
      said = [logp[len(prompt) - 1 + n, t] for n, t in enumerate(tokens)]
      np.testing.assert_allclose(one.logp, sum(said), rtol=1e-4)
  assert {one.ended for row in found for one in row} == {True, False}


@pytest.mark.slow
def test_a_sample_is_the_same_in_any_order_and_beside_any_neighbour():
  requests = [request(n, [0, 1]) for n in range(5)]
  together = sample(requests)

  def bits(found):
    return [[(d.tokens, d.ended, d.logp) for d in row] for row in found]

  assert bits(sample(requests[::-1])) == bits(together)[::-1]
  assert [bits(sample([one]))[0] for one in requests] == bits(together)
  assert bits(sample([requests[3]] * 2)) == [bits(together)[3]] * 2


@pytest.mark.slow
def test_a_sample_is_the_same_on_slots_of_another_shape():
  requests = [*few([0, 1]), *few([2, 3])]
  expected = texts(sample(requests))
  for shape in (
    # All but the samples, which must suffice, once larger and once smaller.
    shape_of(groups=5, slots_=1, steps=3),
    shape_of(groups=1, slots_=3, samples=7, steps=O),
  ):
    assert texts(sample(requests, shape)) == expected


def test_two_samples_are_a_prefix_of_four():
  four = shape_of(slots_=1, samples=4)
  two = sample([request(n, [0, 1]) for n in range(3)], four)
  all_four = sample([request(n, [0, 1, 2, 3]) for n in range(3)], four)
  assert texts(two) == [row[:2] for row in texts(all_four)]
  # .. and drawing the rest later gives the rest.
  rest = sample([request(n, [2, 3]) for n in range(3)], four)
  assert texts(rest) == [row[2:] for row in texts(all_four)]


@pytest.mark.slow
def test_slots_are_refilled():
  """Ten samples of one token and one of ten: the ten wait for nobody."""
  one = engine.DecodeRequest(
    PROMPTS[2], request(2, range(11)).keys, [O] + [1] * 10
  )
  shape = shape_of(groups=1, slots_=2, samples=11, steps=1)
  found = list(harvests([one], shape, temperature=0))
  assert sum(len(harvest.samples) for harvest in found) == 11
  assert [harvest.busy for harvest in found] == [2] * 10
  assert [harvest.slots for harvest in found] == [2] * 10


@pytest.mark.slow
def test_groups_go_on_to_the_next_request():
  limits = [[8], [1], [2], [1], [3], [1]]
  requests = [
    engine.DecodeRequest(PROMPTS[n % 5], request(n % 5, [n]).keys, limit)
    for n, limit in enumerate(limits)
  ]
  shape = shape_of(groups=2, slots_=1, samples=1, steps=1)
  found = list(harvests(requests, shape, temperature=0))
  assert len(found) == 8  # steps: one group does 8, the other 1 + 2 + 1 + 3 + 1
  assert sum(harvest.busy for harvest in found) == 16


@pytest.mark.slow
def test_requests_are_read_when_there_is_a_group_for_them():
  read = []

  def requests():
    for n in range(50):
      read.append(n)
      yield engine.DecodeRequest(PROMPTS[n % 5], request(n % 5, [n]).keys, [2])

  found = harvests(requests(), shape_of(groups=2, slots_=1, steps=2))
  next(found)
  # Two that are done, two in work, and two to come.
  assert len(read) <= 6 * LAYOUT.devices
  assert sum(len(harvest.samples) for harvest in found) + len(read) >= 50


@pytest.mark.slow
def test_nothing_is_compiled_again_after_the_first_round(caplog):
  def compiles(requests):
    caplog.clear()
    with jax.log_compiles():
      sample(requests)
    return sum('Compiling' in r.getMessage() for r in caplog.records)

  jax.clear_caches()
  compiled.cache_clear()
  # One program makes room, one goes on, and one reads each length of prompt.
  assert compiles([request(n, [0, 1]) for n in range(5)]) >= 2 + 4
  assert compiles([request(n, [1]) for n in (4, 0, 2, 1, 3, 3)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_ids_beyond_the_tokenizer_are_never_drawn(temperature):
  """The embedding has rows that no piece belongs to."""
  seen = {}
  for words in (30, 9):
    found = sample(few([0, 1]), temperature=temperature, vocab_size=words)
    seen[words] = {t for row in found for one in row for t in one.tokens}
  assert max(seen[30]) >= 9
  assert max(seen[9]) < 9


@pytest.mark.slow
def test_samples_of_a_prompt_differ():
  (four,) = sample([request(2, range(4))], shape_of(samples=4))
  assert len({tuple(one.tokens) for one in four}) == 4


@pytest.mark.slow
def test_nothing_asked_is_nothing_drawn():
  assert list(harvests([], shape_of())) == []


@pytest.mark.parametrize(
  ('length', 'found'),
  [(1, 3), (3, 3), (4, 6), (9, 9), (10, 10), (0, 3)],
)
def test_a_prompt_is_read_at_one_of_four_lengths(length, found):
  assert engine.bucket(length, 10) == found


def test_a_call_starts_one_request_on_each_device():
  """Those of one compiled length together, whatever device they are for."""
  shape = shape_of()
  spots = [engine.SlotGroup(d, a) for a in range(2) for d in range(2)]
  asked = [
    (n, engine.DecodeRequest([1] * size, []))
    for n, size in enumerate((2, 9, 3))
  ]
  found = list(engine.prefill_calls(spots, asked, shape, 2))
  numbers = [[item and item[1] for item in work] for work in found]
  assert numbers == [[0, None], [2, None], [None, 1]]


def test_the_arguments_of_start_by_hand():
  shape = slots.DecodeShape(2, 2, 2, prompt_length=4, output_length=9)
  key = np.array([8, 9], np.uint32)
  one = engine.DecodeRequest([5, 6, 7], [key], [4])
  group, tokens, length, raw, limit, count = engine.prefill_arrays(
    [(engine.SlotGroup(0, 1), 7, one), None], shape
  )
  np.testing.assert_array_equal(group, [1, 2])  # 2: of no group
  np.testing.assert_array_equal(tokens, [[5, 6, 7], [0, 0, 0]])
  np.testing.assert_array_equal(length, [3, 0])
  np.testing.assert_array_equal(raw[0], [[8, 9], [0, 0]])
  np.testing.assert_array_equal(limit, [[4, 9], [9, 9]])
  np.testing.assert_array_equal(count, [1, 0])


@pytest.mark.slow
def test_a_prompt_over_the_compiled_length_is_refused():
  one = engine.DecodeRequest([1] * (S + 1), request(0, [0]).keys)
  with pytest.raises(ValueError, match='13 tokens, but the longest is 12'):
    sample([one])
