"""The LLM judge of section 2.5: which of five scores it would write."""

import numpy as np

LABELS = (1, 3, 5, 7, 10)  # the criteria of figure 9; the reward is label / 10


def rewards(logp_NL: np.ndarray) -> list[float]:
  """The likeliest label of each row, as a reward; ties go to the lower."""
  return [LABELS[n] / LABELS[-1] for n in np.argmax(logp_NL, axis=-1)]
