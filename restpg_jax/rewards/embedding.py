"""The similarity of two texts by their vectors."""

import numpy as np


def cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> list[float]:
  """Returns the cosine of each row of `a` with its row of `b`, in [-1, 1].

  That of a zero vector is 0.
  """
  a_ND, b_ND = np.asarray(a_ND, np.float64), np.asarray(b_ND, np.float64)
  lengths_N = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
  dots_N = np.einsum('nd,nd->n', a_ND, b_ND)
  cosines_N = np.divide(
    dots_N, lengths_N, out=np.zeros_like(dots_N), where=lengths_N > 0
  )
  # Rounding may leave a cosine just above 1.
  return np.clip(cosines_N, -1, 1).tolist()
