"""The LLM judge of appendix A: which of five scores it would write."""

import numpy as np

from restpg_jax import errors

LABELS = (1, 3, 5, 7, 10)  # the criteria of figure 6; the reward is label / 10


def rewards(logp_NL: np.ndarray, rule: str = 'argmax') -> list[float]:
  """Returns a reward for each row of log-probabilities, by one of RULES."""
  return RULES[rule](logp_NL)


def argmax(logp_NL: np.ndarray) -> list[float]:
  """Returns the likeliest label of each row, over 10; ties go to the lower."""
  return [LABELS[n] / LABELS[-1] for n in np.argmax(logp_NL, axis=-1)]


def expected(logp_NL: np.ndarray) -> list[float]:
  """Returns the mean label of each row, over 10, given that it is one of five.

  P = .1 for '5' and .3 for '10', nothing else  ->  (.25 * 5 + .75 * 10) / 10
  """
  # Odds against the likeliest label: of all five, e^logp may be 0 in float.
  top_N1 = logp_NL.max(axis=-1, keepdims=True, initial=-np.inf)
  odds_NL = np.exp(np.float64(logp_NL) - top_N1)
  mean_N = odds_NL @ np.array(LABELS) / odds_NL.sum(axis=-1)
  return (mean_N / LABELS[-1]).tolist()


RULES = {'argmax': argmax, 'expected': expected}


def check_rule(rule: str) -> None:
  """Raises InputError for a rule that is none of RULES."""
  if rule not in RULES:
    known = ' or '.join(map(repr, RULES))
    raise errors.InputError(f'reward.rule is {rule!r}; it must be {known}')
