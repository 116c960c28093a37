"""Facts about restpg_jax/sampling/engine.py."""

import functools

import jax
import numpy as np
import pytest

from restpg_jax import config
from restpg_jax.models import decoder
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import engine, keys, nucleus
from tests import tiny

SIZE = tiny.size(vocabulary=30)
MODEL = decoder.Decoder(SIZE)
PARAMS = tiny.parameters(SIZE, 0.3)
forward = jax.jit(MODEL.apply)
LAYOUT = layouts.Layout.of(config.Compute())
NEVER = 10_000  # a stop token that is no token
S, O = 12, 10  # noqa: E741
RNG = np.random.default_rng(0)
PROMPTS = [RNG.integers(4, 30, n).tolist() for n in (3, 12, 7, 1, 5)]


@functools.cache
def program(shape, stop, temperature):
  return LAYOUT.each_device(
    engine.build(MODEL, shape, stop=stop, temperature=temperature, top_p=0.95)
  )


def request(n, js):
  return engine.Request(
    PROMPTS[n],
    [
      keys.row_key(
        seed=0, purpose='draw', iteration=0, example_id=f'x/{n}', j=j
      )
      for j in js
    ],
  )


def sample(requests, *, prompts=2, samples=2, stop=NEVER, temperature=1.0):
  """The samples of each request, in the order of the requests."""
  shape = engine.Shape(prompts, samples, S, O)
  draw = program(shape, stop, temperature)
  params = LAYOUT.on_each(PARAMS)
  batches = engine.run(draw, params, requests, shape, LAYOUT.devices)
  return [found for batch in batches for found in batch]


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


def test_greedy_samples_equal_reading_everything_anew_for_each_token():
  found = sample([request(n, [0]) for n in range(5)], temperature=0)
  assert [one.tokens for (one,) in found] == [greedy(p, O) for p in PROMPTS]
  assert not any(one.ended for (one,) in found)  # the limit came first
  assert len({tuple(one.tokens) for (one,) in found}) > 1


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
  ((one,),) = sample([request(1, [0])], temperature=0, stop=stop)
  assert one == engine.Drawn(before, True)


def test_a_neighbour_that_ends_early_does_not_stop_the_others():
  outputs = [greedy(prompt, O) for prompt in PROMPTS]
  stop = outputs[0][0]
  found = sample([request(n, [0]) for n in range(5)], temperature=0, stop=stop)
  assert found[0] == [engine.Drawn([], True)]
  for (one,), tokens in zip(found, outputs, strict=True):
    end = tokens.index(stop) if stop in tokens else O
    assert one == engine.Drawn(tokens[:end], stop in tokens)
  assert any(not one.ended for (one,) in found)


def test_a_sample_is_the_same_in_any_order_and_beside_any_neighbour():
  requests = [request(n, [0, 1]) for n in range(5)]
  together = sample(requests)
  assert sample(requests[::-1]) == together[::-1]
  assert [sample([one])[0] for one in requests] == together
  assert sample([requests[3], requests[3]]) == [together[3]] * 2


def test_a_sample_is_the_same_in_a_batch_of_another_shape():
  requests = [request(n, [0, 1]) for n in range(5)]
  assert sample(requests, prompts=5) == sample(requests, prompts=1)


def test_two_samples_are_a_prefix_of_four():
  two = sample([request(n, [0, 1]) for n in range(3)], samples=4)
  four = sample([request(n, [0, 1, 2, 3]) for n in range(3)], samples=4)
  assert two == [samples[:2] for samples in four]
  # .. and drawing the rest later gives the rest.
  rest = sample([request(n, [2, 3]) for n in range(3)], samples=4)
  assert rest == [samples[2:] for samples in four]
  assert two == sample([request(n, [0, 1]) for n in range(3)], samples=2)


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_ids_beyond_the_tokenizer_are_never_drawn(temperature):
  """The embedding has rows that no piece belongs to."""
  shape = engine.Shape(5, 2, S, O)
  params = LAYOUT.on_each(PARAMS)
  seen = {}
  for words in (30, 9):
    draw = LAYOUT.each_device(
      engine.build(
        MODEL,
        shape,
        stop=NEVER,
        temperature=temperature,
        top_p=0.95,
        words=words,
      )
    )
    requests = [request(n, [0, 1]) for n in range(5)]
    batches = engine.run(draw, params, requests, shape, LAYOUT.devices)
    seen[words] = {
      token
      for batch in batches
      for row in batch
      for one in row
      for token in one.tokens
    }
  assert max(seen[30]) >= 9
  assert max(seen[9]) < 9


def test_samples_of_a_prompt_differ():
  (four,) = sample([request(2, range(4))], samples=4)
  assert len({tuple(one.tokens) for one in four}) == 4


def test_batches_come_in_order_and_the_last_one_is_short():
  shape = engine.Shape(2, 2, S, O)
  draw = program(shape, NEVER, 1.0)
  params = LAYOUT.on_each(PARAMS)
  requests = [request(n, [0]) for n in range(5)]
  batches = list(engine.run(draw, params, requests, shape, LAYOUT.devices))
  assert [len(batch) for batch in batches] == [2, 2, 1]
  assert all(len(samples) == 1 for batch in batches for samples in batch)


def test_arrays_by_hand():
  shape = engine.Shape(prompts=2, samples=2, prompt_length=4, output_length=1)
  key = np.array([8, 9], np.uint32)
  tokens, length, raw = engine.arrays(
    [engine.Request([5, 6, 7], [key])], shape, 2
  )
  np.testing.assert_array_equal(tokens, [[5, 6, 7, 0], [0, 0, 0, 0]])
  np.testing.assert_array_equal(length, [3, 0])
  np.testing.assert_array_equal(raw, [[[8, 9], [0, 0]], [[0, 0], [0, 0]]])


def test_a_prompt_over_the_compiled_length_is_refused():
  with pytest.raises(ValueError):
    engine.arrays([engine.Request([1] * 5, [])], engine.Shape(1, 1, 4, 1), 1)
