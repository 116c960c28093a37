"""Facts about restpg_jax/sampling/labels.py: '1' is a prefix of '10'."""

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax.models import decoder
from restpg_jax.sampling import labels

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


SIZE = decoder.Size(
  layers=2,
  width=32,
  hidden=32,
  heads=2,
  kv_heads=1,
  head_size=16,
  vocabulary=12,
)


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
